"""The manifest of a backup: its time, its database migration, and the hash of every file."""

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path

from ml.errors import BackupError
from ml.progress import Progress

FILE_NAME = "manifest.json"
FORMAT = 1
_FILES_NAMED = 5


@dataclass(frozen=True)
class Manifest:
    """The manifest of one backup.

    Args:
        format: version of the backup's format; this code reads only FORMAT.
        created_at: ISO time.
        schema_revision: migration of the catalog's database.
        mlflow_root: file:// URI of the folder where MLflow kept its files; None if MLflow is a separate server, which
            the backup does not contain.
        files: path in the backup -> SHA-256.
    """

    format: int
    created_at: str
    schema_revision: str
    mlflow_root: str | None
    files: dict[str, str]


def save_manifest(manifest: Manifest, folder: Path) -> None:
    """Write the manifest into a backup's folder."""
    (folder / FILE_NAME).write_text(json.dumps(asdict(manifest), indent=1))


def load_manifest(folder: Path) -> Manifest:
    """Read the manifest of a backup.

    Raises: BackupError, the folder is not a backup, or the backup has another format.
    """
    try:
        manifest = Manifest(**json.loads((folder / FILE_NAME).read_text()))
    except (OSError, ValueError, TypeError) as error:
        raise BackupError(f"Expected a folder that `mycoflow backup` made, got {folder}: {error}") from error
    if not isinstance(manifest.files, dict) or not isinstance(manifest.schema_revision, str):
        raise BackupError(f"Expected the manifest of a backup in {folder}, got another file. Use another backup.")
    if manifest.format != FORMAT:
        raise BackupError(f"Expected a backup of format {FORMAT}, got {manifest.format}. Use the release that made it.")
    return manifest


def hash_files(folder: Path, on_progress: Progress | None = None) -> dict[str, str]:
    """Return the SHA-256 of every file in a folder, except the manifest, by relative path."""
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path != folder / FILE_NAME)
    hashes = {}
    for done, path in enumerate(files, start=1):
        with path.open("rb") as file:
            hashes[path.relative_to(folder).as_posix()] = hashlib.file_digest(file, "sha256").hexdigest()
        if on_progress:
            on_progress(done, len(files))
    return hashes


def check_files(folder: Path, manifest: Manifest, on_progress: Progress | None = None) -> None:
    """Compare the files of a backup with its manifest.

    Raises: BackupError, files are missing, changed or not in the manifest.
    """
    found = hash_files(folder, on_progress)
    wrong = sorted(path for path in found.keys() | manifest.files.keys() if found.get(path) != manifest.files.get(path))
    if wrong:
        more = f" and {len(wrong) - _FILES_NAMED} more" if len(wrong) > _FILES_NAMED else ""
        raise BackupError(
            f"Expected the files that the backup's manifest names. Missing, changed or not in the manifest: "
            f"{', '.join(wrong[:_FILES_NAMED])}{more}. Nothing was restored. Take another backup."
        )
