"""What the night asks again and again must stay on an index when the pool has grown."""

import json
from datetime import UTC, datetime

import pytest
import sqlalchemy as sa

from ml.catalog import pool
from ml.catalog.database import Catalog

FILL = """
INSERT INTO training.images (sha256, group_key, source, media_type, width, height, byte_count,
                             split, label, label_origin, entered_pool_at)
SELECT encode(sha256(n::text::bytea), 'hex'), n::text, 'test', 'image/png', 32, 32, 100,
       'pool', 'class ' || n % 20, CASE WHEN n % 4 = 0 THEN 'harvested' ELSE 'curated' END,
       timestamptz '2026-01-01' + n * interval '1 second'
FROM generate_series(1, 100000) AS n
"""


@pytest.fixture
def large_pool(catalog: Catalog) -> Catalog:
    with catalog.begin() as connection:
        connection.execute(sa.text(FILL))
    with catalog.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(sa.text("VACUUM ANALYZE training.images"))
    return catalog


def plans_of(catalog: Catalog, ask: object) -> list[dict[str, object]]:
    """The plan of every query that a function sends."""
    sent: list[tuple[str, object]] = []

    def note(_connection: object, _cursor: object, statement: str, parameters: object, *_: object) -> None:
        if statement.startswith("SELECT"):
            sent.append((statement, parameters))

    with catalog.engine.connect() as connection:
        sa.event.listen(catalog.engine, "before_cursor_execute", note)
        ask(connection)  # type: ignore[operator]
        sa.event.remove(catalog.engine, "before_cursor_execute", note)
        plans = []
        for statement, parameters in sent:
            text = connection.exec_driver_sql(f"EXPLAIN (FORMAT JSON) {statement}", parameters).scalar_one()  # type: ignore[arg-type]
            plans.append(text[0]["Plan"])
    return plans


@pytest.mark.parametrize(
    "ask",
    [
        lambda connection: pool.newest_images(connection, 1000),
        lambda connection: pool.newest_images(connection, 25, "class 7"),
        lambda connection: pool.count_new_images(connection, datetime(2026, 1, 2, 3, tzinfo=UTC)),
    ],
    ids=["newest N", "newest N of a class", "count since a cutoff"],
)
def test_the_query_reads_an_index_and_never_the_whole_table(large_pool: Catalog, ask: object) -> None:
    (plan,) = plans_of(large_pool, ask)
    written = json.dumps(plan)
    assert "Seq Scan" not in written
    assert "Index" in written
    assert "Sort" not in written
