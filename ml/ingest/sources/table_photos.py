"""A collection that publishes tables of its observations and photos, such as Mushroom Observer's nightly ones.

The tables are pulled once a night at most, whatever happens, and joined into an index of the photos that are wanted.
Photos are then taken in the order of their numbers, slowly, and from where the last run ended.
"""

import json
import time
from collections.abc import Collection, Iterator
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

from ml.deadlines import Deadline
from ml.errors import (
    FetchError,
    InvalidImageError,
    SourceError,
    SourceUnavailableError,
    TargetMissingError,
    TargetRefusedError,
    TargetTooLargeError,
)
from ml.ingest.fetch import FETCH_SECONDS, fetch_file, fetch_image
from ml.ingest.sources.arrivals import ArrivedFile, Rights
from ml.ingest.sources.photo_formats import Photo, PhotoFormat
from ml.ingest.sources.tables import read_table

PAUSE_SECONDS = 1.0  # between two requests for photos, as the sites ask of robots

_TABLE_SECONDS = 20 * 3600  # a run at three in the morning must not miss the tables of that night
_DOWNLOAD_SECONDS = 600
_TRIES = 3


@dataclass(frozen=True)
class TablePhotos:
    """One such collection.

    Args:
        url: of the collection, as the setting names it.
        tables_url, photos_url: what the files' paths are appended to.
        published: how it publishes.
        labels: whose photos to take; the collection has a hundred thousand others.
        folder: of this collection alone, for its tables and their index.
        allowed_hosts: as in FETCH_ALLOWED_HOSTS.
    """

    url: str
    tables_url: str
    photos_url: str
    published: PhotoFormat
    labels: Collection[str]
    folder: Path
    allowed_hosts: str

    def files(self, after: str | None) -> Iterator[ArrivedFile]:
        last = 0 if after is None else int(after)
        for photo in self._index():
            if photo.id > last:
                rights = Rights(photo.licence, photo.holder)
                read = partial(self._read, photo)
                yield ArrivedFile(str(photo.id), "1", photo.label, photo.group, read, rights)

    def _index(self) -> Iterator[Photo]:
        index = self.folder / "photos.jsonl"
        if not _is_tonights(index):
            self._pull(index)
        with index.open(encoding="utf-8") as lines:
            for line in lines:
                yield Photo(**json.loads(line))

    def _pull(self, index: Path) -> None:
        """Write the index anew. A table that is there already is not asked for again, also after a failure."""
        self.folder.mkdir(parents=True, exist_ok=True)
        deadline = Deadline(_DOWNLOAD_SECONDS)
        tables = {name: self.folder / name for name in self.published.tables}
        for path in tables.values():
            if not _is_tonights(path):
                self._download(path, deadline)
        photos = self.published.read(lambda name, *columns: read_table(tables[name], columns), self.labels)
        unfinished = index.with_suffix(".part")
        with unfinished.open("w", encoding="utf-8") as file:
            file.writelines(f"{json.dumps(asdict(photo))}\n" for photo in sorted(photos, key=lambda each: each.id))
        unfinished.replace(index)
        for path in tables.values():
            path.unlink()

    def _download(self, path: Path, deadline: Deadline) -> None:
        unfinished = path.with_name(f"{path.name}.part")
        try:
            fetch_file(f"{self.tables_url}/{path.name}", unfinished, self.allowed_hosts, deadline)
        except (TargetRefusedError, TargetMissingError) as error:
            raise SourceError(f"{self.url}: {path.name} cannot be had: {error}") from error
        except FetchError as error:
            raise SourceUnavailableError(f"{self.url}: {path.name} cannot be had now: {error}") from error
        unfinished.replace(path)

    def _read(self, photo: Photo) -> bytes:
        error: FetchError | None = None
        for _ in range(_TRIES):
            time.sleep(PAUSE_SECONDS)
            try:
                return fetch_image(f"{self.photos_url}/{photo.path}", self.allowed_hosts, Deadline(FETCH_SECONDS))
            except TargetMissingError as missing:
                raise InvalidImageError("missing", f"expected a photo at {photo.path}: {missing}") from missing
            except TargetTooLargeError as too_large:
                raise InvalidImageError("too_large", str(too_large)) from too_large
            except TargetRefusedError as refused:
                raise SourceError(f"{self.url}: {refused}") from refused
            except FetchError as failed:
                error = failed
        raise InvalidImageError("unreachable", f"expected a photo at {photo.path} within {_TRIES} tries: {error}")


def _is_tonights(path: Path) -> bool:
    return path.exists() and time.time() - path.stat().st_mtime < _TABLE_SECONDS
