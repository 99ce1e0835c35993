"""Sources that bring images, and a look at what became of them."""

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from PIL import Image

from ml.catalog.database import Catalog
from ml.catalog.images.batches import Batch, FileOutcome, load_batch, load_files
from ml.catalog.tables import items
from ml.data.data_changes import decide_batches
from ml.deadlines import Deadline
from ml.ingest.folder import ingest_folder
from ml.ingest.intake import BatchRules, ingest_source
from ml.ingest.sources.arrivals import ArrivedFile, Source
from ml.ingest.sources.drop_folder import DropFolder
from tests.ml.dropping import settle

Drop = Callable[[dict[str, list[int]]], Path]
Take = Callable[..., Image.Image]
Encode = Callable[..., bytes]

CERTIFIED = BatchRules(require_certification=True, quarantine_share=0.3)
TRUSTED = BatchRules(require_certification=False, quarantine_share=0.3)


def pull(catalog: Catalog, source: Source | Path, rules: BatchRules = CERTIFIED) -> list[int]:
    source = DropFolder(settle(source)) if isinstance(source, Path) else source
    return ingest_source(catalog, source, rules, Deadline(60))


def rows(catalog: Catalog) -> list[Any]:
    with catalog.begin() as connection:
        return list(
            connection.execute(
                sa.select(items, items.c.class_names[1].label("label")).order_by(items.c.received_at, items.c.id)
            )
        )


def files(catalog: Catalog, batch_id: int) -> list[FileOutcome]:
    with catalog.begin() as connection:
        return load_files(connection, batch_id)


def batch(catalog: Catalog, batch_id: int) -> Batch:
    with catalog.begin() as connection:
        return load_batch(connection, batch_id)


def reasons(catalog: Catalog, batch_id: int) -> Counter[tuple[str, str | None]]:
    return Counter((file.outcome, file.reason) for file in files(catalog, batch_id))


def decide(catalog: Catalog, action: Any, *batch_ids: int) -> int:
    with catalog.begin() as connection:
        return decide_batches(connection, batch_ids, action, "ada", mirrored=True)


def know_labels(catalog: Catalog, drop_folder: Drop, tmp_path: Path) -> None:
    """Images of classes a and b are in the pool already, from a person."""
    folder = drop_folder({"a": [900, 901], "b": [902, 903]})
    ingest_folder(catalog, folder.rename(tmp_path / "known"), "pool")


@dataclass(frozen=True)
class ListedSource:
    """A source whose files are named one by one, and may be taken away."""

    arrived: list[ArrivedFile]
    url: str = "list://photos"

    def files(self) -> Iterator[ArrivedFile]:
        yield from self.arrived
