"""What the routes for admins share with the command line: the catalog and the registry, opened for one request."""

from ml.app import Workspace, open_registry
from ml.catalog.models.model_versions import ModelVersion, save_model_version
from ml.serving.serving_cache import run_id_of
from webapi import application_state
from webapi.model_host import ServedModel
from webapi.problems import unavailable


def current_workspace() -> Workspace:
    """The deployment as ml.cycle sees it. MLflow is imported, and asked, when the registry is first used.

    Raises: DatabaseUnavailableError.
    """
    current = application_state.current()
    return Workspace(current.settings, current.database.catalog(), open_registry(current.settings))


def served_model() -> ServedModel:
    """The model that answers now, known to the catalog even where MLflow is down or it was registered elsewhere.

    Raises: ProblemError, 503, there is none yet; DatabaseUnavailableError.
    """
    model = application_state.current().models.current
    if model is None:
        raise unavailable("no-model", "No model version is in production yet. Train one, then try again.")
    card = model.classifier.card
    facts = ModelVersion(
        version=model.version,
        mlflow_run_id=run_id_of(model.bundle),
        snapshot_id=None,
        backbone_id=card.backbone_id,
        classes=list(card.classes),
        image_size=card.image_size,
        precision=card.precision,
    )
    with application_state.current().database.catalog().begin() as connection:
        save_model_version(connection, facts)
    return model
