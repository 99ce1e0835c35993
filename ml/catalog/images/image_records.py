"""Images as they arrive: in no split, without a label. `ml.data.membership` makes members of them."""

from dataclasses import dataclass
from typing import Literal

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert

from ml.catalog.tables import images

Split = Literal["pool", "evaluation"]


_ADD_PREDICTED = insert(images).on_conflict_do_nothing()


@dataclass(frozen=True)
class ImageRecord:
    """An image whose bytes are in the object store.

    Args:
        sha256: of the bytes as received.
        group_key: the group's name, or the image's own hash where nothing is known.
        source: where it came from, in words.
        media_type, width, height (pixels), byte_count: of the bytes as stored.
    """

    sha256: str
    group_key: str
    source: str
    media_type: str
    width: int
    height: int
    byte_count: int


def is_only_predicted() -> sa.ColumnElement[bool]:
    """The condition on training.images that nobody has given an image a place or a label, or taken it out."""
    return images.c.split.is_(None) & images.c.label.is_(None) & images.c.held_back.is_(None)


def add_predicted(connection: sa.Connection, image: ImageRecord) -> None:
    """Note an image that someone asked a prediction for: in no split, without a label. A known image stays as it is."""
    connection.execute(_ADD_PREDICTED, vars(image))
