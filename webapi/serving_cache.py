"""The production model's files on this machine, so that a start needs no MLflow.

    <folder>/current       the version to start with
    <folder>/<version>/    its bundle, and that of the version before
"""

import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

_PARTIAL_PREFIX = ".partial-"


class ServingCache:
    """A folder of model bundles in which nothing is ever half there."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def current(self) -> int | None:
        """The version that was served last; None on a new machine."""
        try:
            version = int((self._folder / "current").read_text())
        except (FileNotFoundError, ValueError):
            return None
        return version if self.path(version).is_dir() else None

    def path(self, version: int) -> Path:
        """Where a version's bundle lies, or would."""
        return self._folder / str(version)

    def fetch(self, version: int, download: Callable[[int, Path], Path]) -> Path:
        """The folder of a version's bundle, downloaded if it is not here.

        Args: download, puts a version's bundle under a folder and returns where.
        Raises: OSError, and whatever the download raises; nothing is left then.
        """
        target = self.path(version)
        if target.is_dir():
            return target
        self._folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=_PARTIAL_PREFIX, dir=self._folder) as partial:
            bundle = download(version, Path(partial) / "bundle")
            try:
                bundle.rename(target)
            except OSError:
                if not target.is_dir():  # otherwise another process of this machine was quicker
                    raise
        return target

    def set_current(self, version: int) -> None:
        """Start with this version next time."""
        descriptor, name = tempfile.mkstemp(prefix=_PARTIAL_PREFIX, dir=self._folder)
        with os.fdopen(descriptor, "w") as file:
            file.write(f"{version}\n")
            file.flush()
            os.fsync(file.fileno())
        Path(name).replace(self._folder / "current")

    def remove(self, version: int) -> None:
        """Forget a version's bundle."""
        shutil.rmtree(self.path(version), ignore_errors=True)

    def keep_only(self, versions: set[int]) -> None:
        """Forget all other bundles, and what a crash left of a download."""
        kept = {str(version) for version in versions}
        for path in self._folder.iterdir():
            if path.is_dir() and path.name not in kept:
                shutil.rmtree(path, ignore_errors=True)
