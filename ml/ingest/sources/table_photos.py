"""A collection that publishes tables of its observations and photos, such as Mushroom Observer's nightly ones.

Tables are gigabytes: each is asked for once a night at most, also where that fails midway, and pulled only if it
changed. They are joined into an index of the photos that are wanted, which are then taken slowly, in the order of their
numbers. The first line of the index says what it was made of.
"""

import json
import time
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from itertools import islice
from pathlib import Path

from ml.deadlines import Deadline
from ml.errors import (
    FetchError,
    InvalidImageError,
    SourceError,
    TargetMissingError,
    TargetRefusedError,
    TargetTooLargeError,
)
from ml.ingest.fetch import FETCH_SECONDS, NO_VALIDATORS, fetch_image
from ml.ingest.pictures.picture_limits import INGESTION
from ml.ingest.sources.arrivals import ArrivedFile, Rights
from ml.ingest.sources.nightly_files import (
    asked_again,
    discard_unless_comparable,
    give_up,
    is_tonights,
    pull_file,
    read_validators,
)
from ml.ingest.sources.photo_formats import Photo, PhotoFormat
from ml.ingest.sources.published_tables import read_table

PAUSE_SECONDS = 1.0  # between two requests for photos, as the sites ask of robots

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
        allowed_hosts: as in MYCOFLOW_FETCH_ALLOWED_HOSTS.
    """

    url: str
    tables_url: str
    photos_url: str
    published: PhotoFormat
    labels: Collection[str]
    folder: Path
    allowed_hosts: str

    def files(self) -> Iterator[ArrivedFile]:
        for photo in self._index():
            rights = Rights(photo.licence, photo.holder)
            yield ArrivedFile(str(photo.id), "1", photo.label, photo.group, partial(self._read, photo), rights)

    def _index(self) -> Iterator[Photo]:
        index = self.folder / "photos.jsonl"
        if not is_tonights(index):
            self._pull(index)
        with index.open(encoding="utf-8") as lines:
            for line in islice(lines, 1, None):
                yield Photo(**json.loads(line))

    def _pull(self, index: Path) -> None:
        """Write the index anew if a table or the labels changed. A table of tonight is not asked for again, also after
        a failure.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        deadline = Deadline(_DOWNLOAD_SECONDS)
        tables = {name: self.folder / name for name in self.published.tables}
        for name, path in tables.items():
            pull_file(f"{self.tables_url}/{name}", path, self.allowed_hosts, deadline)
        origin = self._describe_origin(tables.values())
        if origin is not None and _first_line(index) == origin:
            index.touch()
            return
        photos = self.published.read(lambda name, *columns: self._rows(tables[name], columns), self.labels)
        unfinished = index.with_suffix(".part")
        with unfinished.open("w", encoding="utf-8") as file:
            file.write(f"{origin or ''}\n")
            file.writelines(f"{json.dumps(asdict(photo))}\n" for photo in sorted(photos, key=lambda each: each.id))
        unfinished.replace(index)
        for path in tables.values():
            discard_unless_comparable(path)

    def _describe_origin(self, tables: Iterable[Path]) -> str | None:
        """What an index of these tables is made of; None where the site does not say which version a table has."""
        versions = [read_validators(path) for path in tables]
        if NO_VALIDATORS in versions:
            return None
        return json.dumps({"labels": sorted(self.labels), "tables": [asdict(each) for each in versions]})

    def _rows(self, path: Path, columns: Sequence[str]) -> Iterator[tuple[str, ...]]:
        try:
            yield from read_table(path, columns)
        except SourceError as error:
            give_up(path, str(error))
            raise SourceError(f"{self.url}: {error} {asked_again(path)}") from error

    def _read(self, photo: Photo) -> bytes:
        error: FetchError | None = None
        for _ in range(_TRIES):
            time.sleep(PAUSE_SECONDS)
            try:
                url = f"{self.photos_url}/{photo.path}"
                return fetch_image(url, self.allowed_hosts, Deadline(FETCH_SECONDS), INGESTION)
            except TargetMissingError as missing:
                raise InvalidImageError("missing", f"expected a photo at {photo.path}: {missing}") from missing
            except TargetTooLargeError as too_large:
                raise InvalidImageError("too_large", str(too_large)) from too_large
            except TargetRefusedError as refused:
                raise InvalidImageError("refused", f"expected a photo at {photo.path}: {refused}") from refused
            except FetchError as failed:
                error = failed
        raise InvalidImageError("unreachable", f"expected a photo at {photo.path} within {_TRIES} tries: {error}")


def _first_line(path: Path) -> str | None:
    try:
        with path.open(encoding="utf-8") as file:
            return file.readline().rstrip("\n")
    except FileNotFoundError:
        return None
