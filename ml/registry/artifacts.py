"""Files that MLflow keeps, wherever it keeps them: how large they are, and deleting them."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mlflow.store.artifact.artifact_repo import ArtifactRepository


def byte_count(uri: str, tracking_uri: str) -> int:
    """The size of all files under an artifact URI; 0 where there are none.

    Args: tracking_uri, MLflow, which resolves the URIs that it serves itself.
    """
    return _byte_count(_repository(uri, tracking_uri), None)


def delete(uri: str, tracking_uri: str) -> None:
    """Delete all files under an artifact URI; nothing where there are none."""
    _repository(uri, tracking_uri).delete_artifacts()  # type: ignore[no-untyped-call]


def _repository(uri: str, tracking_uri: str) -> "ArtifactRepository":
    from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository  # noqa: PLC0415

    return get_artifact_repository(uri, tracking_uri=tracking_uri, registry_uri=tracking_uri)


def _byte_count(repository: "ArtifactRepository", folder: str | None) -> int:
    listed = repository.list_artifacts(folder)
    return sum(_byte_count(repository, file.path) if file.is_dir else file.file_size or 0 for file in listed)
