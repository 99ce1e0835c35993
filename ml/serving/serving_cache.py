"""The production model's files on this machine, so that a start needs no MLflow.

<folder>/<version>-<mlflow run id>/   a bundle, as Registry.download puts it there, whole or not at all
<folder>/current                      the name of the bundle to start with
"""

import os
import re
import shutil
import tempfile
import time
from pathlib import Path

_BUNDLE_NAME = re.compile(r"[0-9]+-\w+")
_LEFTOVER_SECONDS = 3600  # an unfinished download older than this is a crash's, not another process's


class ServingCache:
    """Which bundles are kept, and which one comes first after a restart."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def current(self) -> Path | None:
        """The bundle that was served last; None on a new machine."""
        try:
            bundle = self.folder / (self.folder / "current").read_text().strip()
        except FileNotFoundError:
            return None
        return bundle if bundle.is_dir() and _BUNDLE_NAME.fullmatch(bundle.name) else None

    def set_current(self, bundle: Path) -> None:
        """Start with this bundle next time.

        Raises: OSError; the old one stays then.
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
        """Forget a bundle."""
        shutil.rmtree(bundle, ignore_errors=True)

    def remove_version(self, version: int) -> None:
        """Forget all bundles of a version."""
        for bundle in self.folder.glob(f"{version}-*"):
            self.remove(bundle)

    def keep_only(self, bundles: set[Path]) -> None:
        """Forget all other bundles, and what a crash left of a download."""
        for path in self.folder.iterdir():
            is_download = path.name.startswith(".")
            if path.is_dir() and path not in bundles and not (is_download and _is_recent(path)):
                self.remove(path)


def version_of(bundle: Path) -> int:
    """The model version of a bundle's folder."""
    return int(bundle.name.partition("-")[0])


def run_id_of(bundle: Path) -> str:
    """The MLflow run that trained the model in a bundle's folder."""
    return bundle.name.partition("-")[2]


def _is_recent(path: Path) -> bool:
    return time.time() - path.stat().st_mtime < _LEFTOVER_SECONDS
