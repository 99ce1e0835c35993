"""Find the files that belong to one model version alone: in MLflow, versions of any models may share their files."""

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
    """The location of a version's files, and the runs that they may belong to."""

    uri: str
    run_ids: frozenset[str]

    def overlap(self, other: "_Files") -> bool:
        return bool(self.run_ids & other.run_ids) or _is_within(self.uri, other.uri) or _is_within(other.uri, self.uri)


def find_own_files(
    client: "MlflowClient", listed: Iterable["ModelVersion"], model_name: str, versions: Collection[int]
) -> dict[int, str]:
    """Return the location of the files of some versions that an attempt trained and that no other version uses.

    Args:
        client: of the registry.
        listed: all versions of all its models.
        model_name, versions: the versions to look up; they may share files with each other.
    Returns: version -> artifact URI.
    """
    trained_here: dict[int, _Files] = {}
    others: list[_Files] = []
    for each in listed:
        files = _find_files(client, each)
        is_wanted = each.name == model_name and int(each.version) in versions
        if is_wanted and TRAINED_HERE_TAG in each.tags:
            trained_here[int(each.version)] = files
        else:
            others.append(files)
    return {version: files.uri for version, files in trained_here.items() if not any(map(files.overlap, others))}


def _find_files(client: "MlflowClient", version: "ModelVersion") -> _Files:
    uri = client.get_model_version_download_uri(version.name, version.version)
    run_ids = {version.run_id} if version.run_id else set()
    if uri.startswith("runs:/"):  # MLflow did not resolve it: it may be a model that the run logged
        run_ids.add(uri.removeprefix("runs:/").partition("/")[0])
    return _Files(uri, frozenset(run_ids))


def _is_within(uri: str, folder: str) -> bool:
    """Whether a URI is in a folder. Only paths count, because one place may be written with or without its host."""
    return f"{urlsplit(uri).path}/".startswith(f"{urlsplit(folder).path.rstrip('/')}/")
