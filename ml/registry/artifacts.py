"""Measure and delete the files that MLflow stores, in any kind of artifact store."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mlflow.store.artifact.artifact_repo import ArtifactRepository


def byte_count(uri: str, tracking_uri: str) -> int:
    """Return the size of all files under an artifact URI, bytes; 0 if there are none.

    Args: tracking_uri, of the MLflow that resolves the URIs of its own artifact server.
    """
    return _byte_count(_repository(uri, tracking_uri), None)


def delete(uri: str, tracking_uri: str) -> None:
    """Delete all files under an artifact URI, if there are any."""
    _repository(uri, tracking_uri).delete_artifacts()  # type: ignore[no-untyped-call]


def _repository(uri: str, tracking_uri: str) -> "ArtifactRepository":
    from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository  # noqa: PLC0415

    return get_artifact_repository(uri, tracking_uri=tracking_uri, registry_uri=tracking_uri)


def _byte_count(repository: "ArtifactRepository", folder: str | None) -> int:
    listed = repository.list_artifacts(folder)
    return sum(_byte_count(repository, file.path) if file.is_dir else file.file_size or 0 for file in listed)
