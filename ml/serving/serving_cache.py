"""Cache the production model's files on this machine, so that the service can start without MLflow.

<folder>/<version>-<mlflow run id>-<hash>/   a bundle; Registry.download creates it atomically
<folder>/current                             the name of the bundle to start with
"""

import logging
import os
import secrets
import shutil
import tempfile
import time
from pathlib import Path

from ml.registry.local_copies import is_copy_name, remove

_NAME_CHARACTERS = 200  # a bundle's name has about 100
_logger = logging.getLogger(__name__)
_LEFTOVER_SECONDS = 3600  # an older unfinished download was left by a crash; no process is writing it


class ServingCache:
    """The cached bundles, and the name of the one to start with."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def current(self) -> Path | None:
        """Return the bundle that was served last; None on a new machine, or if the name of the bundle is damaged."""
        pointer = self.folder / "current"
        try:
            if not pointer.is_file():  # a pipe would never end
                return None
            with pointer.open(encoding="utf-8") as file:
                name = file.read(_NAME_CHARACTERS).strip()
        except (OSError, UnicodeDecodeError) as error:
            _logger.warning("%s cannot be read, so the service starts without its cached model: %s", pointer, error)
            return None
        return self.folder / name if is_copy_name(name) and (self.folder / name).is_dir() else None

    def make_folder(self) -> None:
        """Create the folder. If a file is in its place, move that file aside.

        Raises: OSError.
        """
        if os.path.lexists(self.folder) and not self.folder.is_dir():
            aside = self.folder.with_name(f"{self.folder.name}.{secrets.token_hex(4)}.moved")
            self.folder.rename(aside)
            _logger.warning("Expected a folder at %s, found something else. It is now %s.", self.folder, aside)
        self.folder.mkdir(parents=True, exist_ok=True)

    def set_current(self, bundle: Path) -> None:
        """Set the bundle for the next start.

        Raises: OSError; then the old one stays.
        """
        descriptor, name = tempfile.mkstemp(prefix=".current-", dir=self.folder)
        try:
            with os.fdopen(descriptor, "w") as file:
                file.write(f"{bundle.name}\n")
                file.flush()
                os.fsync(file.fileno())
            pointer = self.folder / "current"
            if pointer.is_dir() and not pointer.is_symlink():
                shutil.rmtree(pointer)
            Path(name).replace(pointer)
        finally:
            Path(name).unlink(missing_ok=True)

    def remove(self, bundle: Path) -> None:
        """Delete a bundle."""
        remove(bundle)

    def keep_only(self, bundles: set[Path]) -> None:
        """Delete all other bundles, and downloads that a crash left unfinished."""
        for path in self.folder.iterdir():
            is_download = path.name.startswith(".")
            if path.is_dir() and path not in bundles and not (is_download and _is_recent(path)):
                self.remove(path)


def _is_recent(path: Path) -> bool:
    return time.time() - path.stat().st_mtime < _LEFTOVER_SECONDS
