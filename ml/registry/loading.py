"""From a version's number to a classifier that answers, by way of the registry of this deployment."""

from pathlib import Path

from ml.app import Workspace
from ml.backbones.onnx_runtime import Classifier
from ml.catalog.models.model_versions import ModelVersion, find_model_version, save_model_version
from ml.errors import UnknownVersionError
from ml.tasks.classification.card import load_card


def load_classifier(workspace: Workspace, version: int) -> Classifier:
    """Fetch a version, unless this machine has it already, and let it answer once.

    Raises: UnknownVersionError, ModelLoadError, RegistryUnavailableError.
    """
    return Classifier.load(_fetch(workspace, version))


def remember_version(workspace: Workspace, version: int, snapshot_id: int | None = None) -> ModelVersion:
    """Write a version's facts into the catalog. One that was made outside is taken in the first time it is met.

    Raises: UnknownVersionError, the registry has no such version; ModelLoadError, its files are not ours.
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
        trunk_id=card.trunk_id,
        classes=list(card.classes),
        image_size=card.image_size,
        precision=card.precision,
    )
    with workspace.catalog.begin() as connection:
        save_model_version(connection, facts)
    return facts


def _fetch(workspace: Workspace, version: int) -> Path:
    return workspace.registry.download(version, workspace.settings.mycoflow_home / "models")
