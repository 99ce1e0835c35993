"""From a version's number to a classifier that answers, by way of the registry of this deployment."""

from ml.catalog.database import Catalog
from ml.catalog.embedded import embedded_url
from ml.catalog.model_versions import ModelVersion, find_model_version, save_model_version
from ml.errors import UnknownVersionError
from ml.model.card import load_card
from ml.model.registry import Registry
from ml.model.runtime import Classifier
from ml.settings import Settings


def open_registry(settings: Settings) -> Registry:
    """The registry that the settings name; nothing is connected to before it is asked.

    A database URL has no server in front that would decide where files go: they go under MYCOFLOW_HOME.
    """
    uri = settings.mlflow_tracking_uri or embedded_url(settings.mycoflow_home, "mlflow")
    is_server = uri.startswith(("http://", "https://"))
    return Registry(uri, None if is_server else (settings.mycoflow_home / "mlflow").as_uri())


def load_classifier(settings: Settings, registry: Registry, version: int) -> Classifier:
    """Fetch a version, unless this machine has it already, and let it answer once.

    Raises: UnknownVersionError, ModelLoadError, RegistryUnavailableError.
    """
    return Classifier.load(registry.download(version, settings.mycoflow_home / "models"))


def remember_version(
    catalog: Catalog, settings: Settings, registry: Registry, version: int, snapshot_id: int | None = None
) -> ModelVersion:
    """Write a version's facts into the catalog. One that was made outside is taken in the first time it is met.

    Raises: UnknownVersionError, the registry has no such version; ModelLoadError, its files are not ours.
    """
    with catalog.begin() as connection:
        known = find_model_version(connection, version)
    if known is not None:
        return known
    mlflow_run_id = next((v.mlflow_run_id for v in registry.versions() if v.version == version), None)
    if mlflow_run_id is None:
        raise UnknownVersionError(f"Expected a version of the registry, got {version}. `mycoflow models` lists them.")
    card = load_card(registry.download(version, settings.mycoflow_home / "models"))
    facts = ModelVersion(
        version=version,
        mlflow_run_id=mlflow_run_id,
        snapshot_id=snapshot_id,
        trunk_id=card.trunk_id,
        classes=list(card.classes),
        image_size=card.image_size,
        precision=card.precision,
    )
    with catalog.begin() as connection:
        save_model_version(connection, facts)
    return facts
