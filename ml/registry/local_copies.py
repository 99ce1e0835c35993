"""Copies of model versions on this machine: `<version>-<mlflow run id>-<hash of SHA256SUMS>/`.

A new registry counts versions from 1 again, and run ids are unique. The hash is missing for versions of older releases.
"""

import re
import shutil
from pathlib import Path

from ml.errors import ModelLoadError
from ml.registry.file_hashes import check_files
from ml.tasks.card import load_card

_NAME = re.compile(r"([0-9]+)-(\w*?)(?:-([0-9a-f]{64}))?")


def name_copy(version: int, mlflow_run_id: str, files_sha256: str | None) -> str:
    """Return the name of the folder with the copy of a version."""
    return "-".join([str(version), mlflow_run_id, *([files_sha256] if files_sha256 else [])])


def is_copy_name(name: str) -> bool:
    """Return whether a folder with this name is a copy of a version."""
    return _NAME.fullmatch(name) is not None


def version_of(bundle: Path) -> int:
    """Return the model version from the name of a copy's folder."""
    return int(bundle.name.partition("-")[0])


def run_id_of(bundle: Path) -> str:
    """Return the id of the MLflow run from the name of a copy's folder."""
    return bundle.name.split("-")[1]


def check_copy(bundle: Path) -> None:
    """Check a copy: it has the files that serving needs, and all files are those that were logged.

    Raises: ModelLoadError.
    """
    match = _NAME.fullmatch(bundle.name)
    check_files(bundle, match[3] if match else None)
    missing = [name for name in load_card(bundle).files if not (bundle / name).is_file()]
    if missing:
        raise ModelLoadError(f"Expected {', '.join(missing)} in {bundle}. Missing. Download the version again.")


def is_whole(bundle: Path) -> bool:
    """Return whether a version is on this machine, and its files are those that were logged."""
    if not bundle.is_dir():
        return False
    try:
        check_copy(bundle)
    except ModelLoadError:
        return False
    return True


def make_folder(folder: Path) -> None:
    """Create the folder of the copies.

    Raises: ModelLoadError, there is a file in its place, or it cannot be created.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ModelLoadError(
            f"Expected a writable folder at {folder} for copies of model versions. Received: {error}. Move away what "
            "is there, or make the folder above it writable."
        ) from error


def remove(path: Path) -> None:
    """Delete a copy, or a file in its place."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)
