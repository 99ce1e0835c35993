"""The workspace that every step of a night gets: settings, catalog and model registry."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import sqlalchemy as sa

from ml.backbones.registered import find_backbone
from ml.catalog.database import Catalog, open_catalog
from ml.catalog.embedded import embedded_url
from ml.catalog.models.model_versions import ModelVersion, find_model_version, run_ids, save_model_version
from ml.errors import ModelLoadError, UnknownVersionError
from ml.registry import local_copies
from ml.registry.mlflow_registry import Registry
from ml.registry.moved_files import follow_moved_files
from ml.settings import Settings, load_settings
from ml.tasks.card import load_card
from ml.tasks.registered_tasks import find_task, load_model
from ml.tasks.task import Model, Task


@dataclass(frozen=True)
class Workspace:
    """One open deployment."""

    settings: Settings
    catalog: Catalog
    registry: Registry

    @property
    def task(self) -> Task:
        """Return the task that the models are trained for."""
        return find_task(self.settings.task)


@contextmanager
def open_workspace(settings: Settings | None = None) -> Iterator[Workspace]:
    """Open the catalog and the registry that the settings name. Without settings, read them from the environment.

    Raises: SettingsError, a setting is wrong, or the home has another task; DatabaseUnavailableError,
        SchemaVersionError.
    """
    settings = settings or load_settings()
    find_task(settings.task)
    if settings.backbone is not None:
        find_backbone(settings.backbone)  # so every command reports a wrong name, not only the nightly training
    with open_catalog(settings) as catalog:
        yield Workspace(settings, catalog, open_registry(settings))


def open_registry(settings: Settings) -> Registry:
    """Return the registry that the settings name. It connects on its first call.

    An MLflow server decides where model files are stored. A plain database does not: then the files go under
    MYCOFLOW_HOME.
    """
    root = artifact_root(settings) if is_mlflow_embedded(settings) else None
    return Registry(mlflow_uri(settings), root, settings.model_name)


def artifact_root(settings: Settings) -> str:
    """Return the file:// URI of the folder under MYCOFLOW_HOME where an embedded MLflow keeps its files."""
    return (settings.mycoflow_home / "mlflow").as_uri()


def is_mlflow_embedded(settings: Settings) -> bool:
    """Return whether MLflow is used as a database and a folder under MYCOFLOW_HOME, without a server."""
    return not (settings.mlflow_tracking_uri or "").startswith(("http://", "https://"))


def mlflow_uri(settings: Settings) -> str:
    """Return MLflow's address. If the settings name none, start the embedded database, and follow a moved home.

    Raises: DatabaseUnavailableError, the embedded server cannot be started.
    """
    if settings.mlflow_tracking_uri is not None:
        return settings.mlflow_tracking_uri
    url = embedded_url(settings.mycoflow_home, "mlflow")
    follow_moved_files(sa.make_url(url), artifact_root(settings))
    return url


def load_version(workspace: Workspace, version: int) -> Model:
    """Download a version, unless this machine has it already, load it, and run one test prediction.

    Raises: UnknownVersionError, ModelLoadError, RegistryUnavailableError, RegistryStateError.
    """
    bundle = _fetch(workspace, version)
    try:
        return load_model(workspace.task, bundle)
    except ModelLoadError:  # the files of an older release have no hashes, so that damage shows here
        local_copies.remove(bundle)
        return load_model(workspace.task, _fetch(workspace, version))


def remember_version(workspace: Workspace, version: int, snapshot_id: int | None = None) -> ModelVersion:
    """Return a version's row in the catalog. If there is none, read the facts from the registry and save them.

    Raises: UnknownVersionError, the registry has no such version; ModelLoadError, Mycoflow cannot read its files.
    """
    with workspace.catalog.begin() as connection:
        known = find_model_version(connection, version)
    if known is not None:
        return known
    mlflow_run_id = next((v.mlflow_run_id for v in workspace.registry.versions() if v.version == version), None)
    if mlflow_run_id is None:
        raise UnknownVersionError(f"Expected a version of the registry, got {version}. `mycoflow models` lists them.")
    card = load_card(_fetch(workspace, version))
    facts = ModelVersion(
        version=version,
        mlflow_run_id=mlflow_run_id,
        snapshot_id=snapshot_id,
        backbone_id=card.backbone_id,
        classes=list(card.classes),
        image_size=card.image_size,
        precision=card.precision,
    )
    with workspace.catalog.begin() as connection:
        save_model_version(connection, facts)
    return facts


def known_runs(workspace: Workspace) -> dict[int, str]:
    """Return the MLflow run of each version in the catalog."""
    with workspace.catalog.begin() as connection:
        return run_ids(connection)


def demand_registered_model(workspace: Workspace, version: int) -> None:
    """Refuse an MLflow without the registered model, although a version was in production.

    Args: version, the last one in production.
    Raises: RegistryStateError, the model was renamed or deleted, or this is another MLflow.
    """
    with workspace.catalog.begin() as connection:
        known = find_model_version(connection, version)
    workspace.registry.demand_model(version, None if known is None else known.mlflow_run_id)


def demand_same_run(workspace: Workspace, version: int) -> None:
    """Refuse a version of another MLflow run than the one that the catalog knows under this number.

    Raises: RegistryStateError; UnknownVersionError, the registry has no such version.
    """
    with workspace.catalog.begin() as connection:
        known = find_model_version(connection, version)
    if known is not None:
        workspace.registry.demand_run(version, known.mlflow_run_id)


def _fetch(workspace: Workspace, version: int) -> Path:
    demand_same_run(workspace, version)
    return workspace.registry.download(version, workspace.settings.mycoflow_home / "models")
