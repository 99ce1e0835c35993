"""A folder that people or programs put images into. Nothing in it is moved or removed: it is theirs."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from ml.ingest.class_folders import SourceFile, demand_inside, list_files, read_content
from ml.ingest.sources.arrivals import ArrivedFile


@dataclass(frozen=True)
class DropFolder:
    """One sub-folder per class, and optionally groups.csv, as `mycoflow ingest` takes it. It may be empty."""

    folder: Path

    @property
    def url(self) -> str:
        return self.folder.as_uri()

    def files(self, after: str | None) -> Iterator[ArrivedFile]:
        for file in list_files(self.folder, may_be_empty=True):
            name = file.path.relative_to(self.folder).as_posix()
            read = partial(_read, self.folder, file.path)
            yield ArrivedFile(_printable(name), _version(file), file.label, file.group, read)


def _read(folder: Path, path: Path) -> bytes:
    demand_inside(folder, path)
    return read_content(path)


def _version(file: SourceFile) -> str:
    """A file that is still being written is read damaged now, and again when it is whole."""
    try:
        found = file.path.stat()
    except OSError:  # a broken link, or gone already: reading it says so
        return "unreadable"
    return f"{found.st_size} bytes, {found.st_mtime_ns}"


def _printable(name: str) -> str:
    return name.encode(errors="backslashreplace").decode()
