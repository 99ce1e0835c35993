"""Cache the production model's files on this machine, so that the service can start without MLflow.

<folder>/<version>-<mlflow run id>/   a bundle; Registry.download creates it atomically
<folder>/current                      the name of the bundle to start with
"""

import os
import re
import shutil
import tempfile
import time
from pathlib import Path

_BUNDLE_NAME = re.compile(r"[0-9]+-\w+")
_LEFTOVER_SECONDS = 3600  # an older unfinished download was left by a crash; no process is writing it


class ServingCache:
    """The cached bundles, and the name of the one to start with."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def current(self) -> Path | None:
        """Return the bundle that was served last; None on a new machine."""
        try:
            bundle = self.folder / (self.folder / "current").read_text().strip()
        except FileNotFoundError:
            return None
        return bundle if bundle.is_dir() and _BUNDLE_NAME.fullmatch(bundle.name) else None

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
            Path(name).replace(self.folder / "current")
        finally:
            Path(name).unlink(missing_ok=True)

    def remove(self, bundle: Path) -> None:
        """Delete a bundle."""
        shutil.rmtree(bundle, ignore_errors=True)

    def remove_version(self, version: int) -> None:
        """Delete all bundles of a version."""
        for bundle in self.folder.glob(f"{version}-*"):
            self.remove(bundle)

    def keep_only(self, bundles: set[Path]) -> None:
        """Delete all other bundles, and downloads that a crash left unfinished."""
        for path in self.folder.iterdir():
            is_download = path.name.startswith(".")
            if path.is_dir() and path not in bundles and not (is_download and _is_recent(path)):
                self.remove(path)


def version_of(bundle: Path) -> int:
    """Return the model version from the name of a bundle's folder."""
    return int(bundle.name.partition("-")[0])


def run_id_of(bundle: Path) -> str:
    """Return the id of the MLflow run from the name of a bundle's folder."""
    return bundle.name.partition("-")[2]


def _is_recent(path: Path) -> bool:
    return time.time() - path.stat().st_mtime < _LEFTOVER_SECONDS
