"""What a backup says of itself: when it was made, of what, and the hash of every file in it."""

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path

from ml.errors import BackupError
from ml.progress import Progress

FILE_NAME = "manifest.json"
FORMAT = 1
_NAMED = 5


@dataclass(frozen=True)
class Manifest:
    """The manifest of one backup.

    Args:
        format: of the backup; this code reads FORMAT.
        created_at: ISO time.
        schema_revision: the migration that the catalog was at.
        mlflow_root: the file:// URI below which MLflow kept its files; None where MLflow is a server of its own, which
            is not in the backup.
        files: path in the backup -> SHA-256.
    """

    format: int
    created_at: str
    schema_revision: str
    mlflow_root: str | None
    files: dict[str, str]


def save_manifest(manifest: Manifest, folder: Path) -> None:
    """Write it into a backup."""
    (folder / FILE_NAME).write_text(json.dumps(asdict(manifest), indent=1))


def load_manifest(folder: Path) -> Manifest:
    """Read it back.

    Raises: BackupError, the folder holds no backup, or one of another format.
    """
    try:
        manifest = Manifest(**json.loads((folder / FILE_NAME).read_text()))
    except (OSError, ValueError, TypeError) as error:
        raise BackupError(f"Expected a folder that `mycoflow backup` made, got {folder}: {error}") from error
    if manifest.format != FORMAT:
        raise BackupError(f"Expected a backup of format {FORMAT}, got {manifest.format}. Use the release that made it.")
    return manifest


def hash_files(folder: Path, on_progress: Progress | None = None) -> dict[str, str]:
    """The SHA-256 of every file below a folder, by its path there; the manifest itself is left out."""
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path != folder / FILE_NAME)
    hashes = {}
    for done, path in enumerate(files, start=1):
        with path.open("rb") as file:
            hashes[path.relative_to(folder).as_posix()] = hashlib.file_digest(file, "sha256").hexdigest()
        if on_progress:
            on_progress(done, len(files))
    return hashes


def check_files(folder: Path, manifest: Manifest, on_progress: Progress | None = None) -> None:
    """Hold a backup against its manifest.

    Raises: BackupError, naming the files that are missing, changed or not of it.
    """
    found = hash_files(folder, on_progress)
    wrong = sorted(path for path in found.keys() | manifest.files.keys() if found.get(path) != manifest.files.get(path))
    if wrong:
        more = f" and {len(wrong) - _NAMED} more" if len(wrong) > _NAMED else ""
        raise BackupError(
            f"Expected the files that the backup's manifest names. Missing, changed or not of it: "
            f"{', '.join(wrong[:_NAMED])}{more}. Nothing was restored. Take another backup."
        )
