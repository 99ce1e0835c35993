"""Looking through images: the filters, the pages, and that a page costs what it shows however many images there are."""

import base64
import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
import sqlalchemy as sa

from ml.catalog.annotations import label_of
from ml.catalog.database import Catalog
from ml.catalog.images.image_queries import ImageFilter, query_images
from ml.catalog.tables import items
from ml.errors import CursorError

AddImages = Callable[..., list[str]]
BEGIN = datetime(2026, 1, 1, tzinfo=UTC)

# 100,000 images over 28 hours: most in the pool, 500 in the evaluation set, 20 confirmed, 10 in doubt.
FILL = """
INSERT INTO training.images (sha256, media_type, width, height, byte_count)
SELECT encode(sha256(n::text::bytea), 'hex'), 'image/png', 32, 32, 100 FROM generate_series(1, 100000) AS n;
INSERT INTO training.items (id, image_sha256, group_key, source, received_at,
                            split, evaluation_part, class_names, label_origin, held_back, entered_pool_at)
SELECT sha256, sha256, n::text, 'test',
       timestamptz '2026-01-01 00:00+00' + n * interval '1 second',
       CASE WHEN n <= 500 THEN 'evaluation' WHEN n % 5 > 0 THEN 'pool' END,
       CASE WHEN n <= 500 THEN 'anchor' END,
       CASE WHEN n <= 500 OR n % 5 > 0 THEN ARRAY['class ' || n % 20] END,
       CASE WHEN n <= 500 THEN 'curated' WHEN n % 5 = 0 THEN NULL WHEN n <= 525 THEN 'confirmed' ELSE 'harvested' END,
       CASE WHEN n BETWEEN 601 AND 610 THEN 'suspended' END,
       CASE WHEN n > 500 AND n % 5 > 0 AND n NOT BETWEEN 601 AND 610 THEN timestamptz '2026-01-02' END
FROM generate_series(1, 100000) AS n, encode(sha256(n::text::bytea), 'hex') AS sha256
"""


@pytest.fixture
def many_images(catalog: Catalog) -> Catalog:
    with catalog.begin() as connection:
        connection.execute(sa.text(FILL))
    with catalog.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(sa.text("VACUUM ANALYZE training.items, training.images, training.item_classes"))
    return catalog


def rows_read(plan: dict[str, object]) -> int:
    """The most rows that any step of a plan produced or threw away."""
    own = int(str(plan["Actual Rows"]).partition(".")[0]) + int(str(plan.get("Rows Removed by Filter", 0)))
    below = plan.get("Plans", [])
    assert isinstance(below, list)
    return max([own, *map(rows_read, below)])


USUAL = {  # with the most rows that a page of 100 may read
    "all": (ImageFilter(), 101),
    "time": (ImageFilter(received_from=BEGIN + timedelta(hours=1), received_before=BEGIN + timedelta(hours=2)), 101),
    "label": (ImageFilter(class_name="class 7"), 101),
    "no such label": (ImageFilter(class_name="unheard of"), 101),
    "origin": (ImageFilter(origin="harvested"), 150),
    "rare origin": (ImageFilter(origin="confirmed"), 101),
    "pool": (ImageFilter(split="pool"), 150),
    "evaluation": (ImageFilter(split="evaluation"), 500),
    "only predicted": (ImageFilter(split="none"), 600),
    "in doubt": (ImageFilter(held_back="suspended"), 101),
    "several": (ImageFilter(class_name="class 7", origin="harvested", split="pool"), 101),
}


def plan_of(catalog: Catalog, wanted: ImageFilter, cursor: str | None) -> dict[str, object]:
    sent: list[tuple[str, object]] = []

    def note(_connection: object, _cursor: object, statement: str, parameters: object, *_: object) -> None:
        sent.append((statement, parameters))

    with catalog.engine.connect() as connection:
        sa.event.listen(catalog.engine, "before_cursor_execute", note)
        query_images(connection, wanted, 100, cursor)
        sa.event.remove(catalog.engine, "before_cursor_execute", note)
        ((statement, parameters),) = sent
        explained = connection.exec_driver_sql(f"EXPLAIN (ANALYZE, FORMAT JSON) {statement}", parameters)  # type: ignore[arg-type]
        plan: dict[str, object] = explained.scalar_one()[0]["Plan"]
        return plan


def test_a_page_of_the_usual_filters_reads_an_index_and_little_of_it(many_images: Catalog) -> None:
    for name, (wanted, most_rows) in USUAL.items():
        with many_images.begin() as connection:
            first = query_images(connection, wanted, 100)
        for cursor in {None, first.next_cursor}:
            plan = plan_of(many_images, wanted, cursor)
            assert "Seq Scan" not in json.dumps(plan), name
            assert "Index" in json.dumps(plan), name
            assert rows_read(plan) <= most_rows, name


def test_pages_show_every_image_once_newest_first_also_where_many_came_at_once(
    catalog: Catalog, add_images: AddImages
) -> None:
    added = [*add_images("amanita", 25), *add_images("boletus", 5, origin="harvested")]
    with catalog.begin() as connection:
        connection.execute(sa.update(items).where(items.c.class_names == ["amanita"]).values(received_at=BEGIN))
    seen, cursor, sizes = [], None, []
    with catalog.begin() as connection:
        while True:
            page = query_images(connection, ImageFilter(), 10, cursor)
            seen += page.items
            sizes.append(len(page.items))
            cursor = page.next_cursor
            if cursor is None:
                break
    assert sizes == [10, 10, 10]
    assert sorted(image.id for image in seen) == sorted(added)
    assert [image.received_at for image in seen] == sorted((image.received_at for image in seen), reverse=True)
    assert {label_of(image.annotation) for image in seen[:5]} == {"boletus"}


def test_an_image_that_arrives_between_two_pages_disturbs_neither(catalog: Catalog, add_images: AddImages) -> None:
    added = add_images("amanita", 4)
    with catalog.begin() as connection:
        first = query_images(connection, ImageFilter(), 2)
    add_images("amanita", 3)
    with catalog.begin() as connection:
        second = query_images(connection, ImageFilter(), 2, first.next_cursor)
    assert sorted(image.id for image in [*first.items, *second.items]) == sorted(added)


def test_the_filters_mean_what_they_say(catalog: Catalog, add_images: AddImages) -> None:
    (pool_image,) = add_images("amanita", 1)
    (evaluated,) = add_images("amanita", 1, split="evaluation", part="anchor")
    (harvested,) = add_images("boletus", 1, origin="harvested")

    def found(**wanted: object) -> set[str]:
        with catalog.begin() as connection:
            return {image.id for image in query_images(connection, ImageFilter(**wanted), 10).items}  # type: ignore[arg-type]

    assert found() == {pool_image, evaluated, harvested}
    assert found(class_name="amanita") == {pool_image, evaluated}
    assert found(origin="harvested") == {harvested}
    assert found(split="pool") == {pool_image, harvested}
    assert found(split="evaluation", class_name="amanita") == {evaluated}
    assert found(split="none") == set()
    assert found(held_back="excluded") == set()
    assert found(received_before=BEGIN) == set()
    assert found(received_from=BEGIN) == {pool_image, evaluated, harvested}


def encoded(content: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(content).encode()).decode().rstrip("=")


@pytest.mark.parametrize(
    "cursor",
    [
        "", "x", "%%%", "é", "A" * 400,
        encoded([]), encoded({"a": 1, "b": 2}), encoded("ab"), encoded([1, 2]), encoded(None),
        encoded(["2026-01-01T00:00:00", "ab"]), encoded(["2026-01-01T00:00:00+00:00", "a\0b"]),
        encoded(["2026-01-01T00:00:00+00:00", "é"]), encoded(["yesterday", "ab"]),
        encoded(["2026-01-01T00:00:00Z", None]),
    ],
)  # fmt: skip
def test_what_is_no_cursor_is_refused(catalog: Catalog, cursor: str) -> None:
    with catalog.begin() as connection, pytest.raises(CursorError, match="next_cursor"):
        query_images(connection, ImageFilter(), 10, cursor)
