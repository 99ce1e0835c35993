"""Images as parts of items."""

from collections.abc import Collection
from dataclasses import dataclass

import sqlalchemy as sa

from ml.catalog.tables import images


@dataclass(frozen=True)
class ImageRecord:
    """An image whose bytes are in the object store.

    Args:
        sha256: of the received bytes.
        media_type, width, height (pixels), byte_count: of the stored bytes.
    """

    sha256: str
    media_type: str
    width: int
    height: int
    byte_count: int

    def row(self, account_id: int | None) -> dict[str, object]:
        """Return the image's columns in training.images."""
        return {**vars(self), "account_id": account_id}


def keep_images(connection: sa.Connection, sha256s: Collection[str]) -> list[str]:
    """Return which of some images are stored, in order. Nobody erases them until this transaction ends."""
    query = sa.select(images.c.sha256).where(images.c.sha256.in_(sha256s)).order_by(images.c.sha256)
    return list(connection.scalars(query.with_for_update(read=True, key_share=True)))
