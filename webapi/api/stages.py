"""Which model version is meant: `model_name` and `stage`, as clients of MLflow's older registry name them."""

from ml.app import remember_version
from ml.errors import UnknownVersionError
from ml.registry.mlflow_registry import ALIAS
from webapi import application_state
from webapi.admin_workspace import current_workspace, served_model


def find_version(model_name: str, stage: str) -> int:
    """The version of a stage: `Production`, in any case, is the one that answers here; any other name is an alias.

    Raises:
        UnknownVersionError: another model, or an alias that no version carries.
        ProblemError: 503, no model is in production yet.
        RegistryUnavailableError: MLflow is down; it is asked for other stages than production.
    """
    known = application_state.current().settings.model_name
    if model_name != known:
        raise UnknownVersionError(f"model_name: expected {known}, the only model here, got another.")
    if stage.lower() == ALIAS:
        return served_model().version
    workspace = current_workspace()
    version = workspace.registry.aliased(stage)
    if version is None:
        raise UnknownVersionError(f"stage: expected Production or an alias of {known}, got a name no version has.")
    return remember_version(workspace, version).version
