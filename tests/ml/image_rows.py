import hashlib
from collections.abc import Callable
from datetime import datetime

import pytest
import sqlalchemy as sa

from ml.catalog.annotations import Annotation
from ml.catalog.database import Catalog
from ml.catalog.items.image_records import ImageRecord
from ml.catalog.items.item_records import ItemRecord, add_parts
from ml.catalog.tables import items

AddImages = Callable[..., list[str]]


def add_item(connection: sa.Connection, sha256: str, **values: object) -> None:
    """Write an item with an image of 48 x 40 pixels, and these columns."""
    record = ItemRecord("test", ImageRecord(sha256, "image/png", 48, 40, 100))
    add_parts(connection, [record])
    connection.execute(sa.insert(items).values(record.row() | values))


@pytest.fixture
def add_images(catalog: Catalog) -> AddImages:
    """Writes items with an image, without files, for what only the database decides."""
    numbers = iter(range(10**9))

    def add(
        label: str | tuple[str, ...],
        count: int,
        origin: str = "curated",
        split: str = "pool",
        part: str | None = None,
        group: str | None = None,
        at: datetime | None = None,
    ) -> list[str]:
        hashes = [hashlib.sha256(str(next(numbers)).encode()).hexdigest() for _ in range(count)]
        records = [
            ItemRecord("test", ImageRecord(sha256, "image/png", 32, 32, 100), group=group or sha256)
            for sha256 in hashes
        ]
        member = {"split": split, "evaluation_part": part, "label_origin": origin}
        said = Annotation((label,) if isinstance(label, str) else label).columns()
        with catalog.begin() as connection:
            add_parts(connection, records)
            entered = (at or sa.func.clock_timestamp()) if split == "pool" else None
            rows = [record.row() | member | said for record in records]
            connection.execute(sa.insert(items).values(entered_pool_at=entered), rows)
        return hashes

    return add
