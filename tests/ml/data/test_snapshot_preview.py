"""A preview is the snapshot that would be created, and leaves nothing behind."""

from collections.abc import Callable

import sqlalchemy as sa

from ml.catalog.database import Catalog
from ml.catalog.snapshots.stored_snapshots import load_snapshot
from ml.catalog.tables import events, items, snapshots
from ml.data.selection import SnapshotRules
from ml.data.snapshot_rules import create_snapshot, preview_snapshot

RULES = SnapshotRules(size=100, validation_ratio=0.2, harvest_share=0.3)


def test_a_preview_is_the_next_snapshot_and_stores_nothing(
    catalog: Catalog, add_images: Callable[..., list[str]]
) -> None:
    for label, count in (("a", 60), ("b", 60), ("new", 60)):
        add_images(label, count)
    counted = sa.select(
        *(sa.select(sa.func.count()).select_from(table).scalar_subquery() for table in (snapshots, events)),
        sa.select(sa.func.count()).where(items.c.split == "evaluation").scalar_subquery(),
    )
    with catalog.begin() as connection:
        previewed = preview_snapshot(connection, RULES, ["a", "b"])
    with catalog.begin() as connection:
        assert tuple(connection.execute(counted).one()) == (0, 0, 0)
        created = load_snapshot(connection, create_snapshot(connection, RULES, ["a", "b"]))
        assert connection.execute(counted).one()[2] >= 10  # held out for the new class
    assert previewed.classes == created.classes == ("a", "b", "new")
    assert previewed.items == created.items
