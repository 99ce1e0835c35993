"""Whose files a model version is made of: MLflow lets any number of versions, of any model, point to the same ones."""

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion

TRAINED_HERE_TAG = "attempt_id"


@dataclass(frozen=True)
class _Files:
    """Where a version's files lie, and the runs that they may be part of."""

    uri: str
    run_ids: frozenset[str]

    def touch(self, other: "_Files") -> bool:
        return bool(self.run_ids & other.run_ids) or _is_within(self.uri, other.uri) or _is_within(other.uri, self.uri)


def find_own_files(
    client: "MlflowClient", listed: Iterable["ModelVersion"], model_name: str, versions: Collection[int]
) -> dict[int, str]:
    """Where the files lie of those of some versions that an attempt trained, and that no other version needs.

    Args:
        client: of the registry.
        listed: all versions of all its models.
        model_name, versions: the ones in question; they may share files with each other.
    Returns: version -> artifact URI.
    """
    ours: dict[int, _Files] = {}
    others: list[_Files] = []
    for each in listed:
        files = _find_files(client, each)
        is_meant = each.name == model_name and int(each.version) in versions
        if is_meant and TRAINED_HERE_TAG in each.tags:
            ours[int(each.version)] = files
        else:
            others.append(files)
    return {version: files.uri for version, files in ours.items() if not any(map(files.touch, others))}


def _find_files(client: "MlflowClient", version: "ModelVersion") -> _Files:
    uri = client.get_model_version_download_uri(version.name, version.version)
    run_ids = {version.run_id} if version.run_id else set()
    if uri.startswith("runs:/"):  # not resolved: it may mean a model that the run logged
        run_ids.add(uri.removeprefix("runs:/").partition("/")[0])
    return _Files(uri, frozenset(run_ids))


def _is_within(uri: str, folder: str) -> bool:
    """By their paths alone: one place may be written with a scheme or host and without."""
    return f"{urlsplit(uri).path}/".startswith(f"{urlsplit(folder).path.rstrip('/')}/")
