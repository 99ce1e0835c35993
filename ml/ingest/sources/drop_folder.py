"""A folder that people or programs put images into. Nothing in it is moved or removed: it is theirs."""

import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from ml.errors import InvalidImageError
from ml.ingest.layout.class_folders import SourceFile, demand_inside, list_files, read_content
from ml.ingest.layout.groups import GROUPS_FILE
from ml.ingest.layout.printable_names import printable
from ml.ingest.sources.arrivals import ArrivedFile

# A file that changed later than this may still be on its way, and half an image counts as a damaged one. Longer than
# a slow network lets a copy stand still, and nothing to a run that comes every hour.
SETTLED_SECONDS = 60


@dataclass
class DropFolder:
    """One sub-folder per class, and optionally groups.csv, as `mycoflow ingest` takes it. It may be empty.

    A file is offered once it is settled; while groups.csv is not, nothing is, since it may name more files soon.

    Args: held_back, number of files that `files` did not offer because they are not settled.
    """

    folder: Path
    held_back: int = field(default=0, init=False)

    @property
    def url(self) -> str:
        return self.folder.as_uri()

    def files(self) -> Iterator[ArrivedFile]:
        self.held_back = 0
        if not _is_settled(self.folder / GROUPS_FILE):
            self.held_back = 1
            return
        for file in list_files(self.folder, may_be_empty=True):
            name = printable(file.path.relative_to(self.folder).as_posix())
            read = partial(_read, self.folder, file.path)
            if file.problem is not None:  # its time changes with what lies in it, and it is told once
                yield ArrivedFile(name, "entry", None, None, read, problem=file.problem)
            elif _is_settled(file.path):
                yield ArrivedFile(name, _version(file), file.label, file.group, read)
            else:
                self.held_back += 1


def _read(folder: Path, path: Path) -> bytes:
    demand_inside(folder, path)
    try:
        return read_content(path)
    except InvalidImageError as error:
        if error.reason != "unreadable":
            raise
        # Its size and time stay the same when it may be read one day: it must be asked for again.
        raise InvalidImageError("refused", str(error)) from error


def _is_settled(path: Path) -> bool:
    """Whether nobody writes to a file any more. One of tomorrow, by a wrong clock, is settled too."""
    try:
        return abs(time.time() - path.stat().st_mtime) >= SETTLED_SECONDS
    except OSError:  # a broken link, or gone already: reading it says so
        return True


def _version(file: SourceFile) -> str:
    """Another one once the file changes: what was damaged is taken again when it is whole."""
    try:
        found = file.path.stat()
    except OSError:  # a broken link, or gone already: reading it says so
        return "unreadable"
    return f"{found.st_size} bytes, {found.st_mtime_ns}"
