"""Image statistics with thumbnails, and an index of hashes that finds images which may be copies of an image."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert

from ml.catalog.items.image_records import keep_images
from ml.catalog.items.item_records import is_only_predicted
from ml.catalog.tables import copy_hashes, image_statistics, items

THUMBNAIL_SIDE = 32  # pixels


@dataclass(frozen=True)
class ImageStatistics:
    """Statistics of an image's grey values.

    Args:
        thumbnail: 32 x 32 grey values, row by row.
        brightness, contrast: mean and standard deviation of the grey values, 0 to 255.
        sharpness: variance of the Laplacian.
        aspect: longer side divided by shorter side.
    """

    thumbnail: bytes
    brightness: float
    contrast: float
    sharpness: float
    aspect: float


@dataclass(frozen=True)
class IndexedHash:
    """A 63-bit hash of an image or of a part of it, and two of its 16-bit words. kind: which part."""

    kind: int
    bits: int
    low_word: int
    high_word: int


@dataclass(frozen=True)
class Proposal:
    """An item whose image may be a copy, according to the hashes."""

    item_id: str
    thumbnail: bytes
    split: str | None
    label_origin: str | None
    held_back: str | None
    group_key: str
    copy_of: str | None


_OF_PROPOSAL = [items.c[name] for name in Proposal.__dataclass_fields__ if name not in ("item_id", "thumbnail")]
# A former version does not count, because the current one has its image and its split.
_IS_SEARCHED = ~is_only_predicted() & items.c.held_back.is_distinct_from("superseded")
_STATISTICS = [image_statistics.c[name] for name in ImageStatistics.__dataclass_fields__]
_IS_OF_ITEM = image_statistics.c.image_sha256 == items.c.image_sha256


def find_items_without_hashes(connection: sa.Connection, after: str, limit: int) -> list[str]:
    """Return the ids of items that have a split or are held back, but whose image is not in the index yet.

    Args: after, return only larger ids; limit, return at most this number, in the order of ids.
    """
    is_indexed = sa.exists().where(
        image_statistics.c.image_sha256 == items.c.image_sha256, copy_hashes.c.statistics_id == image_statistics.c.id
    )
    query = sa.select(items.c.id).where(items.c.id > after, items.c.image_sha256.is_not(None), ~is_indexed)
    return list(connection.scalars(query.where(~is_only_predicted()).order_by(items.c.id).limit(limit)))


def load_statistics(connection: sa.Connection, item_ids: Collection[str]) -> dict[str, ImageStatistics]:
    """Return the stored statistics of the images of some items, by item id."""
    query = sa.select(items.c.id, *_STATISTICS).join_from(items, image_statistics, _IS_OF_ITEM)
    rows = connection.execute(query.where(items.c.id.in_(item_ids)))
    return {item_id: ImageStatistics(*values) for item_id, *values in rows}


def save_statistics(connection: sa.Connection, statistics: Mapping[str, ImageStatistics]) -> None:
    """Store image statistics, except those of images that were erased meanwhile.

    Args: statistics, SHA-256 of an image -> its statistics.
    """
    kept = keep_images(connection, statistics)
    if kept:
        rows = [{"image_sha256": sha256, **vars(statistics[sha256])} for sha256 in kept]
        connection.execute(insert(image_statistics).on_conflict_do_nothing(), rows)


def find_unindexed(connection: sa.Connection, item_ids: Collection[str]) -> dict[str, bytes]:
    """Find the images of some items that have statistics, but no hashes in the index yet.

    Returns: SHA-256 of an image -> its thumbnail.
    """
    is_indexed = sa.exists().where(copy_hashes.c.statistics_id == image_statistics.c.id)
    query = sa.select(image_statistics.c.image_sha256, image_statistics.c.thumbnail)
    query = query.join_from(items, image_statistics, _IS_OF_ITEM).where(items.c.id.in_(item_ids), ~is_indexed)
    return dict(connection.execute(query).tuples().all())


def index_image(connection: sa.Connection, sha256: str, hashes: Sequence[IndexedHash]) -> None:
    """Add the hashes of an image to the index. Its statistics must be stored already."""
    of_image = sa.select(image_statistics.c.id).where(image_statistics.c.image_sha256 == sha256).scalar_subquery()
    rows = [vars(each) for each in hashes]
    connection.execute(sa.insert(copy_hashes).values(statistics_id=of_image), rows)


# One index scan per word, for the word itself and for each of its variants with one flipped bit. Then the query counts
# the different bits of the whole hashes.
_PROPOSE = sa.text("""
    WITH sought AS MATERIALIZED (
        SELECT DISTINCT among, bits, low_word # flip AS low_word, high_word # flip AS high_word
        FROM unnest(CAST(:among AS smallint[]), CAST(:bits AS bigint[]), CAST(:low AS integer[]),
                    CAST(:high AS integer[])) AS wanted (among, bits, low_word, high_word),
             unnest(ARRAY[0,1,2,4,8,16,32,64,128,256,512,1024,2048,4096,8192,16384,32768]) AS flip
    ), near AS (
        SELECT found.statistics_id, bit_count((found.bits # sought.bits)::bit(64)) AS distance
        FROM sought JOIN training.copy_hashes AS found ON found.low_word = sought.low_word AND found.kind = sought.among
        WHERE bit_count((found.bits # sought.bits)::bit(64)) <= :most
        UNION ALL
        SELECT found.statistics_id, bit_count((found.bits # sought.bits)::bit(64))
        FROM sought JOIN training.copy_hashes AS found
            ON found.high_word = sought.high_word AND found.kind = sought.among
        WHERE bit_count((found.bits # sought.bits)::bit(64)) <= :most
    )
    SELECT statistics_id FROM near GROUP BY statistics_id ORDER BY min(distance), statistics_id LIMIT :limit
""")


def propose_copies(
    connection: sa.Connection, sought: Sequence[tuple[int, IndexedHash]], most_bits: int, limit: int
) -> list[Proposal]:
    """Return the items whose image has a hash near one of the given hashes, nearest first.

    Two hashes are near if one of their two words differs in at most one bit, and the whole hashes differ in at most
    `most_bits` bits. The search is exact: it finds all such images, up to the limit.

    Args:
        sought: pairs of the kind of the stored hashes to compare with, and the hash.
        most_bits: number of bits of the whole hash that may differ.
        limit: number of images to find at most.
    """
    values = {
        "among": [among for among, _ in sought],
        "bits": [each.bits for _, each in sought],
        "low": [each.low_word for _, each in sought],
        "high": [each.high_word for _, each in sought],
    }
    found = list(connection.scalars(_PROPOSE, {**values, "most": most_bits, "limit": limit}))
    query = (
        sa.select(image_statistics.c.id, items.c.id, image_statistics.c.thumbnail, *_OF_PROPOSAL)
        .join_from(image_statistics, items, _IS_OF_ITEM)
        .where(image_statistics.c.id.in_(found), _IS_SEARCHED)
    )
    proposals = [(found.index(key), Proposal(*rest)) for key, *rest in connection.execute(query.order_by(items.c.id))]
    return [each for _, each in sorted(proposals, key=lambda pair: pair[0])]


def find_same_image(connection: sa.Connection, sha256: str) -> list[Proposal]:
    """Return the items with this image that have a split or are held back, ordered by id, without thumbnails."""
    query = sa.select(items.c.id, sa.literal(b""), *_OF_PROPOSAL).where(items.c.image_sha256 == sha256)
    return [Proposal(*row) for row in connection.execute(query.where(_IS_SEARCHED).order_by(items.c.id))]
