"""Images and what they are part of: the pool, the evaluation set, or neither.

Whoever makes an image a member calls `hold_membership` first, in the same transaction: what it then reads about
splits and groups stays true until it commits.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert

from ml.catalog.tables import images, labels

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


@dataclass(frozen=True)
class LabelledImage:
    """An image and the curated label it came with."""

    image: ImageRecord
    label: str


@dataclass(frozen=True)
class Membership:
    """What is known of an image: split and label are None while it is only predicted."""

    split: str | None
    label: str | None
    group_key: str
    held_back: str | None = None


def find_memberships(connection: sa.Connection, sha256s: Collection[str]) -> dict[str, Membership]:
    """What is known of these images, by hash. Unknown ones are left out."""
    query = sa.select(images.c.sha256, *(images.c[name] for name in Membership.__dataclass_fields__))
    rows = connection.execute(query.where(images.c.sha256.in_(sha256s)))
    return {sha256: Membership(*rest) for sha256, *rest in rows}


def is_only_predicted() -> sa.ColumnElement[bool]:
    """The condition on training.images that nobody has given an image a place or a label, or taken it out."""
    return images.c.split.is_(None) & images.c.label.is_(None) & images.c.held_back.is_(None)


def find_groups_in(connection: sa.Connection, split: Split, group_keys: Collection[str]) -> set[str]:
    """Which of these groups have an image in that split."""
    query = sa.select(images.c.group_key).where(images.c.split == split, images.c.group_key.in_(group_keys))
    return set(connection.scalars(query.distinct()))


def add_members(
    connection: sa.Connection, members: Sequence[LabelledImage], split: Split, received_at: datetime | None = None
) -> None:
    """Put images with a curated label into the pool, or into the evaluation set's anchor.

    An image that was only predicted so far becomes a member. Call `hold_membership` first, and leave out images that
    are members already.

    Args: received_at, when the images arrived; now, by the database's clock, when None.
    """
    if not members:
        return
    rows = [_member_row(member, split, received_at) for member in members]
    statement = insert(images).values(rows)
    becomes = ("group_key", "split", "evaluation_part", "label", "label_origin", "entered_pool_at", "held_back")
    statement = statement.on_conflict_do_update(
        index_elements=[images.c.sha256],
        set_={name: statement.excluded[name] for name in becomes},
        where=images.c.split.is_(None),
    )
    connection.execute(statement)
    connection.execute(sa.insert(labels), [_label_row(member) for member in members])


def add_waiting(connection: sa.Connection, members: Sequence[LabelledImage]) -> None:
    """Note images with the label that their source states. They wait for a person's word, in no split.

    Call `hold_membership` first, and leave out images that have a label already.
    """
    if not members:
        return
    becomes = {"label_origin": "stated", "held_back": "waiting"}
    rows = [_image_row(member.image) | {"label": member.label} | becomes for member in members]
    statement = insert(images).values(rows)
    statement = statement.on_conflict_do_update(
        index_elements=[images.c.sha256],
        set_={name: statement.excluded[name] for name in ("group_key", "label", *becomes)},
        where=is_only_predicted(),
    )
    connection.execute(statement)


def add_predicted(connection: sa.Connection, image: ImageRecord) -> None:
    """Note an image that someone asked a prediction for: in no split, without a label. A known image stays as it is."""
    connection.execute(_ADD_PREDICTED, _image_row(image))


def _image_row(image: ImageRecord) -> dict[str, Any]:
    return {
        "sha256": image.sha256,
        "group_key": image.group_key,
        "source": image.source,
        "media_type": image.media_type,
        "width": image.width,
        "height": image.height,
        "byte_count": image.byte_count,
    }


def _member_row(member: LabelledImage, split: Split, received_at: datetime | None) -> dict[str, Any]:
    now = sa.func.clock_timestamp()  # taken anew for each row: their order is kept
    return _image_row(member.image) | {
        "received_at": now if received_at is None else received_at,
        "split": split,
        "evaluation_part": "anchor" if split == "evaluation" else None,
        "label": member.label,
        "label_origin": "curated",
        "entered_pool_at": now if split == "pool" else None,
        "held_back": None,  # a person who ingests an image need not certify it too
    }


def _label_row(member: LabelledImage) -> dict[str, str]:
    return {
        "image_sha256": member.image.sha256,
        "label": member.label,
        "origin": "curated",
        "said_by": member.image.source,
    }
