"""The perceptual hash of each image that belongs somewhere: computed once, from the bytes as stored."""

from collections.abc import Mapping

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert

from ml.catalog.images.image_records import is_only_predicted
from ml.catalog.tables import images, perceptual_hashes

_TWO_64 = 1 << 64  # PostgreSQL's integers have a sign


def find_unhashed(connection: sa.Connection, after: str, limit: int) -> list[str]:
    """Images in a split, waiting or taken out, that have no perceptual hash yet, in order; those after a SHA-256."""
    has_hash = sa.exists().where(perceptual_hashes.c.image_sha256 == images.c.sha256)
    query = sa.select(images.c.sha256).where(images.c.sha256 > after, ~is_only_predicted(), ~has_hash)
    return list(connection.scalars(query.order_by(images.c.sha256).limit(limit)))


def save_hashes(connection: sa.Connection, hashes: Mapping[str, int]) -> None:
    """Keep perceptual hashes, 64 bits without a sign, by the SHA-256 of their image."""
    if not hashes:
        return
    rows = [{"image_sha256": sha256, "phash": _signed(phash)} for sha256, phash in hashes.items()]
    connection.execute(insert(perceptual_hashes).on_conflict_do_nothing(), rows)


def load_hashes(connection: sa.Connection) -> list[tuple[str, int, bool]]:
    """SHA-256, perceptual hash, and whether the image is in the evaluation set, of every image that has one."""
    is_evaluated = (images.c.split == "evaluation").is_(True)
    query = sa.select(images.c.sha256, perceptual_hashes.c.phash, is_evaluated).join_from(perceptual_hashes, images)
    return [(sha256, phash % _TWO_64, evaluated) for sha256, phash, evaluated in connection.execute(query)]


def _signed(phash: int) -> int:
    return phash - _TWO_64 if phash >= _TWO_64 // 2 else phash
