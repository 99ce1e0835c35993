"""The speed of the queries of the nightly checks and the data routes, on a catalog of a million images."""

import time
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

import numpy as np
import sqlalchemy as sa
from pydantic import SecretStr

from ml.catalog.database import migrate, open_catalog
from ml.catalog.embedded import embedded_url
from ml.catalog.images.image_queries import ImageFilter, query_images
from ml.data.pool import newest_labelled
from ml.data.selection import SnapshotRules
from ml.data.snapshot_rules import count_new_images
from ml.settings import load_settings

IMAGE_COUNT = 1_000_000
_RUNS = 100
_NEWEST = 1000
_NEW_IMAGES = 500
_PAGE = 100
_CLASSES = 7  # has no common factor with 10, so that every class has images of every origin

# The images are one second apart, the newest is from now. One in 100 is held out, one in 10 has only a prediction, and
# one in 10 is harvested.
_FILL = """
INSERT INTO training.images (sha256, media_type, width, height, byte_count)
SELECT encode(sha256(number::text::bytea), 'hex'), 'image/jpeg', 320, 240, 20000
FROM generate_series(1, :images) AS number;
INSERT INTO training.items (id, image_sha256, group_key, source, received_at,
                            split, evaluation_part, class_names, label_origin, entered_pool_at)
SELECT sha256, sha256, sha256, 'folder:bench', moment,
       split, CASE split WHEN 'evaluation' THEN 'anchor' END,
       CASE WHEN split IS NOT NULL THEN ARRAY['class ' || number % :classes] END,
       CASE WHEN split = 'evaluation' THEN 'curated' WHEN number % 10 = 2 THEN 'harvested'
            WHEN split = 'pool' THEN 'curated' END,
       CASE split WHEN 'pool' THEN moment END
FROM (SELECT number, encode(sha256(number::text::bytea), 'hex') AS sha256,
             now() - number * interval '1 second' AS moment,
             CASE WHEN number % 100 = 0 THEN 'evaluation' WHEN number % 10 <> 1 THEN 'pool' END AS split
      FROM generate_series(1, :images) AS number) AS drawn
"""


def measure_catalog(home: Path, image_count: int = IMAGE_COUNT, runs: int = _RUNS) -> dict[str, float]:
    """Fill a separate database on the embedded server, and time each query.

    Args:
        home: the folder of the embedded server.
        image_count: number of rows.
        runs: how often each query runs.
    """
    url = SecretStr(embedded_url(home, "bench_catalog"))
    settings = load_settings(mycoflow_home=home, database_url=url)
    migrate(settings)
    with open_catalog(settings) as catalog:
        with catalog.begin() as connection:
            connection.execute(sa.text(_FILL), {"images": image_count, "classes": _CLASSES})
        figures: dict[str, float] = {"catalog_images": image_count}
        with catalog.begin() as connection:
            connection.execute(sa.text("ANALYZE training.items, training.images, training.item_classes"))
        with catalog.begin() as connection:
            for name, question in _questions(connection, image_count).items():
                figures |= _time(name, question, runs)
    return figures


def _questions(connection: sa.Connection, image_count: int) -> dict[str, Callable[[], object]]:
    since = _moment(connection, _NEW_IMAGES)
    middle = _moment(connection, image_count // 2)
    rare = ImageFilter(class_name="class 2", origin="harvested", split="pool", received_before=middle)
    rules, classes = SnapshotRules(_NEWEST, 0.2, 0.3), [f"class {number}" for number in range(_CLASSES)]
    cursor = query_images(connection, ImageFilter(received_before=middle), _PAGE).next_cursor
    return {
        "newest_1000": lambda: newest_labelled(connection, _NEWEST),
        "count_since": lambda: count_new_images(connection, since, rules, classes),
        "data_query": lambda: query_images(connection, rare, _PAGE),
        "data_page": lambda: query_images(connection, ImageFilter(), _PAGE, cursor),
        "data_evaluation": lambda: query_images(connection, ImageFilter(split="evaluation"), _PAGE),
    }


def _moment(connection: sa.Connection, seconds_ago: int) -> datetime:
    moment: datetime = connection.execute(
        sa.select(sa.func.now() - sa.func.make_interval(0, 0, 0, 0, 0, 0, seconds_ago))
    ).scalar_one()
    return moment


def _time(name: str, question: Callable[[], object], runs: int) -> dict[str, float]:
    seconds = []
    for _ in range(runs):
        began = time.perf_counter()
        question()
        seconds.append(time.perf_counter() - began)
    p50, p95 = np.percentile(seconds, (50, 95)) * 1000
    return {f"{name}_p50_ms": float(p50), f"{name}_p95_ms": float(p95)}
