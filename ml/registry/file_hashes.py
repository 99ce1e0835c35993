"""The list of a model version's files and their hashes: SHA256SUMS, which `sha256sum --check` reads too.

The list is beside the files, and its own hash is a tag of the run and the version in MLflow. The files are in the
artifact store and the tag is in the database, so a change of the files alone is noticed.
"""

import hashlib
import re
from collections.abc import Collection, Mapping
from pathlib import Path

from ml.errors import ModelLoadError

FILE_NAME = "SHA256SUMS"
FILES_SHA256_TAG = "files_sha256"
_SHA256 = re.compile(r"[0-9a-f]{64}")
_LINE = re.compile(r"([0-9a-f]{64})  (\w[\w.-]*)")
_ADVICE = "Restore the version's files from a backup, or train again."


def write_hashes(folder: Path) -> str:
    """Write SHA256SUMS for all files of a folder.

    Returns: the SHA-256 of SHA256SUMS.
    """
    names = sorted(path.name for path in folder.iterdir() if path.name != FILE_NAME)
    content = "".join(f"{hash_file(folder / name)}  {name}\n" for name in names).encode()
    (folder / FILE_NAME).write_bytes(content)
    return hashlib.sha256(content).hexdigest()


def check_tag(tag: str | None, what: str) -> str | None:
    """Return the value of the tag `files_sha256`. Older versions have none. Args: what, the version, for the message.

    Raises: ModelLoadError, it is not a hash.
    """
    if tag is not None and not _SHA256.fullmatch(tag):
        raise ModelLoadError(
            f"Expected a SHA-256 in the tag {FILES_SHA256_TAG} of {what} in MLflow. Received: {tag!r}. Restore the "
            "tag from its run, or train again."
        )
    return tag


def read_hashes(folder: Path, expected_sha256: str | None) -> dict[str, str]:
    """Read the list in a folder. Older versions have none.

    Args: expected_sha256, the hash of the list; None if it is not known.
    Returns: file name -> SHA-256; empty if the folder has no list and none is expected.
    Raises: ModelLoadError, the list is missing, damaged, or not the expected one.
    """
    path = folder / FILE_NAME
    if expected_sha256 is None and not path.exists():
        return {}
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ModelLoadError(f"Expected a list of files at {path}. It cannot be read ({error}). {_ADVICE}") from error
    received = hashlib.sha256(content).hexdigest()
    if expected_sha256 not in (None, received):
        raise ModelLoadError(
            f"Expected the list {path} to have the SHA-256 {expected_sha256}, as the tag {FILES_SHA256_TAG} in MLflow "
            f"says. Received: {received}. The files were changed after the training. {_ADVICE}"
        )
    lines = content.decode(errors="replace").splitlines()
    matches = [_LINE.fullmatch(line) for line in lines]
    if not lines or None in matches:
        raise ModelLoadError(f"Expected lines of a SHA-256 and a file name in {path}. Received other text. {_ADVICE}")
    return {match[2]: match[1] for match in matches if match is not None}


def check_names(hashes: Mapping[str, str], names: Collection[str], where: str) -> None:
    """Check that a folder has exactly the files of the list. Args: names, of the files except the list itself.

    Raises: ModelLoadError.
    """
    missing, added = sorted(hashes.keys() - set(names)), sorted(set(names) - hashes.keys())
    if missing or added:
        raise ModelLoadError(
            f"Expected the files that {FILE_NAME} lists at {where}. Missing: {', '.join(missing) or 'none'}. "
            f"Not in the list: {', '.join(map(ascii, added)) or 'none'}. {_ADVICE}"
        )


def check_files(folder: Path, expected_sha256: str | None) -> None:
    """Check all files of a folder against its list. Files of the list may be missing, because not all are downloaded.

    Args: expected_sha256, the hash of the list; None if it is not known.
    Raises: ModelLoadError, a file is changed or not in the list, or the list is not the expected one.
    """
    hashes = read_hashes(folder, expected_sha256)
    if not hashes:
        return
    for path in sorted(folder.iterdir()):
        if path.name == FILE_NAME:
            continue
        try:
            received = hash_file(path)
        except OSError as error:
            raise ModelLoadError(f"Expected a file at {path}. It cannot be read ({error}). {_ADVICE}") from error
        if received != hashes.get(path.name):
            raise ModelLoadError(
                f"Expected {str(path)!r} to have the SHA-256 {hashes.get(path.name, 'of no file')}, as {FILE_NAME} "
                f"says. Received: {received}. The file was changed or damaged. {_ADVICE}"
            )


def hash_file(path: Path) -> str:
    """Return the SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
