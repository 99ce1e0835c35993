"""Which model version is meant: a model's name and a stage, as clients of MLflow's older registry name them."""

from ml.app import Workspace, remember_version
from ml.catalog.database import Catalog
from ml.catalog.models.model_versions import ModelVersion, save_model_version
from ml.errors import UnknownVersionError
from ml.registry.mlflow_registry import ALIAS
from ml.serving.loaded_model import LoadedModel
from ml.serving.model_host import ModelHost


def find_version(workspace: Workspace, models: ModelHost, model_name: str, stage: str) -> int:
    """The version of a stage: `Production`, in any case, is the one that answers here; any other name is an alias.

    Raises:
        UnknownVersionError: another model, or an alias that no version carries.
        NoChampionError: no version answers here yet.
        RegistryUnavailableError: MLflow is down; it is asked for other stages than production.
    """
    known = workspace.settings.model_name
    if model_name != known:
        raise UnknownVersionError(f"model_name: expected {known}, the only model here, got another.")
    if stage.lower() == ALIAS:
        model = models.demand_current()
        remember_loaded(workspace.catalog, model)
        return model.version
    version = workspace.registry.aliased(stage)
    if version is None:
        raise UnknownVersionError(f"stage: expected Production or an alias of {known}, got a name no version has.")
    return remember_version(workspace, version).version


def remember_loaded(catalog: Catalog, model: LoadedModel) -> None:
    """Let the catalog know a model that answers, also where MLflow is down or it was registered elsewhere.

    Raises: DatabaseUnavailableError.
    """
    card = model.card
    facts = ModelVersion(
        version=model.version,
        mlflow_run_id=model.mlflow_run_id,
        snapshot_id=None,
        backbone_id=card.backbone_id,
        classes=list(card.classes),
        image_size=card.image_size,
        precision=card.precision,
    )
    with catalog.begin() as connection:
        save_model_version(connection, facts)
