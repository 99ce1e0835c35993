import hashlib
from collections.abc import Callable
from datetime import datetime

import pytest
import sqlalchemy as sa

from ml.catalog.database import Catalog
from ml.catalog.tables import images

AddImages = Callable[..., list[str]]


@pytest.fixture
def add_images(catalog: Catalog) -> AddImages:
    """Writes image rows without files, for what only the database decides."""
    numbers = iter(range(10**9))

    def add(
        label: str,
        count: int,
        origin: str = "curated",
        split: str = "pool",
        part: str | None = None,
        group: str | None = None,
        at: datetime | None = None,
    ) -> list[str]:
        rows = []
        for _ in range(count):
            sha256 = hashlib.sha256(str(next(numbers)).encode()).hexdigest()
            rows.append(
                {
                    "sha256": sha256,
                    "group_key": group or sha256,
                    "source": "test",
                    "media_type": "image/png",
                    "width": 32,
                    "height": 32,
                    "byte_count": 100,
                    "split": split,
                    "evaluation_part": part,
                    "label": label,
                    "label_origin": origin,
                }
            )
        with catalog.begin() as connection:
            entered = (at or sa.func.clock_timestamp()) if split == "pool" else None
            connection.execute(sa.insert(images).values(entered_pool_at=entered), rows)
        return [str(row["sha256"]) for row in rows]

    return add
