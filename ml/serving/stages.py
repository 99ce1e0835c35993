"""Find the model version for a model's name and a stage, as in MLflow's older registry."""

from ml.app import Workspace, remember_version
from ml.catalog.database import Catalog
from ml.catalog.models.model_versions import ModelVersion, save_model_version
from ml.errors import UnknownVersionError
from ml.registry.mlflow_registry import ALIAS
from ml.serving.loaded_model import LoadedModel
from ml.serving.model_host import ModelHost


def find_version(workspace: Workspace, models: ModelHost, model_name: str, stage: str) -> int:
    """Return the version of a stage. `Production`, in upper or lower case, is the version that this process serves.

    Any other stage is an alias in MLflow.

    Raises:
        UnknownVersionError: the model has another name, or no version has the alias.
        NoChampionError: this process serves no version yet.
        RegistryUnavailableError: MLflow is down, and the stage is not production.
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
    """Save the served version in the catalog. This works without MLflow, and for versions registered elsewhere.

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
