"""Recognise what people changed in MLflow: deleted or renamed models, deleted runs, versions of another server."""

import logging
from typing import TYPE_CHECKING

from ml.errors import RegistryStateError
from ml.registry.mlflow_client import without_userinfo

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import LoggedModel, Run

logger = logging.getLogger(__name__)


def demand_model(
    client: "MlflowClient", tracking_uri: str, model_name: str, version: int, mlflow_run_id: str | None
) -> None:
    """Refuse an MLflow that lacks the registered model of a version that was in production.

    Args: mlflow_run_id, the run of that version; None if the catalog does not know it.
    Raises: RegistryStateError, with what to do: the model was renamed or deleted, or this is another MLflow.
    """
    if find_registered(client, model_name) is not None:
        return
    new_name = _name_of(client, mlflow_run_id)
    has_run = mlflow_run_id is not None and find_run(client, mlflow_run_id) is not None
    if new_name is not None:
        advice = f"It has the name {new_name} now. Rename it back to {model_name} in MLflow."
    elif has_run:
        advice = (
            "It was deleted. Create it again with `mycoflow register "
            f"{mlflow_run_id}`, then put that version into production with `mycoflow promote`."
        )
    else:
        advice = (
            "The run of that version is not there either. Set MLFLOW_TRACKING_URI to the right MLflow, or restore it "
            f"from a backup. To start anew, create an empty model with the name {model_name} in MLflow, then "
            "`mycoflow retrain`."
        )
    raise RegistryStateError(
        f"Expected the registered model {model_name} in MLflow at {without_userinfo(tracking_uri)}, because version "
        f"{version} was in production. It is missing. {advice}"
    )


def demand_same_run(model_name: str, version: int, expected: str | None, found: str) -> None:
    """Refuse a version that belongs to another run than the catalog's version of this number.

    Args: expected, the run in the catalog; None if the catalog does not know the version.
    Raises: RegistryStateError.
    """
    if expected in (None, found):
        return
    raise RegistryStateError(
        f"Expected version {version} of {model_name} to be the model of the MLflow run {expected}, as the catalog "
        f"says. Received a version of the run {found or 'none'}. If this is another MLflow, correct "
        "MLFLOW_TRACKING_URI. If the model was created again there, remove the alias production from this version in "
        f"MLflow, then `mycoflow register {found or 'RUN'}` and `mycoflow promote` the new version."
    )


def find_registered(client: "MlflowClient", model_name: str) -> dict[str, int] | None:
    """Return the aliases of a registered model, alias -> version; None if there is no such model."""
    from mlflow.exceptions import MlflowException  # noqa: PLC0415

    try:
        aliases = client.get_registered_model(model_name).aliases
    except MlflowException as error:
        if error.error_code == "RESOURCE_DOES_NOT_EXIST":
            return None
        raise
    return {name: int(version) for name, version in aliases.items()}


def find_run(client: "MlflowClient", mlflow_run_id: str) -> "Run | None":
    """Return a run, also a deleted one; None if there is none, or if the id is not valid."""
    from mlflow.exceptions import MlflowException  # noqa: PLC0415

    try:
        return client.get_run(mlflow_run_id)
    except MlflowException as error:
        if error.error_code in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
            return None
        raise


def find_logged_model(client: "MlflowClient", model_id: str, mlflow_run_id: str) -> "LoggedModel":
    """Return a logged model of a run.

    Raises: RegistryStateError, it was deleted.
    """
    from mlflow.exceptions import MlflowException  # noqa: PLC0415

    try:
        return client.get_logged_model(model_id)
    except MlflowException as error:
        if error.error_code != "RESOURCE_DOES_NOT_EXIST":
            raise
        raise RegistryStateError(
            f"Expected the model {model_id} that the MLflow run {mlflow_run_id} logged. It was deleted in MLflow. "
            "Train again with `mycoflow retrain`, or restore MLflow from a backup."
        ) from error


def takes_tags(client: "MlflowClient", mlflow_run_id: str) -> bool:
    """Return whether a run can be tagged. MLflow refuses tags of deleted runs."""
    run = find_run(client, mlflow_run_id)
    is_active = run is not None and run.info.lifecycle_stage == "active"
    if not is_active:
        logger.warning("The run %s was deleted in MLflow, so only its model version is tagged.", mlflow_run_id)
    return is_active


def _name_of(client: "MlflowClient", mlflow_run_id: str | None) -> str | None:
    """Return the name of a registered model with a version of this run; None if there is none."""
    if not mlflow_run_id:
        return None
    found = client.search_model_versions(f"run_id = '{mlflow_run_id}'")
    return str(found[0].name) if found else None
