"""Labels that a person who may say so has given: how an image gets one, and which side it then belongs to for good."""

import hashlib
from typing import Literal

import sqlalchemy as sa

from ml.catalog.images.image_records import Split
from ml.catalog.images.label_origins import HUMAN_ORIGINS
from ml.catalog.locks import hold_membership
from ml.catalog.logs.events import write_event
from ml.catalog.tables import images, labels, snapshot_images

# A constant, not a setting: another share would send images of known groups to the other side.
RECENT_SHARE = 0.20

HumanOrigin = Literal["confirmed", "curated"]


def choose_split(connection: sa.Connection, sha256: str, group_key: str) -> Split:
    """The side of an arrival with a human label: pool, or the recent part of the evaluation set.

    A permanent share of groups, by their hash, is held out. A group that is known stays together where it is, and
    whatever a model may have learned from is never held out afterwards. Call `hold_membership` first.

    Args:
        sha256: the image; it may be in the pool already with a harvested label.
        group_key: its group.
    """
    if _exists(connection, images.c.split == "evaluation", images.c.group_key == group_key):
        return "evaluation"
    if _has_companions_in_pool(connection, sha256, group_key) or _was_in_a_snapshot(connection, group_key):
        return "pool"
    return "evaluation" if is_held_out(group_key) else "pool"


def is_held_out(group_key: str) -> bool:
    """Whether a group of which nothing is known yet goes to the evaluation set: a function of its hash alone."""
    return share_position(group_key) < RECENT_SHARE


def share_position(group_key: str) -> float:
    """Where a group stands in the order in which groups are held out, 0 to 1."""
    # Salted: with the plain hash, as folds use it, the groups held out would be those of the validation fold.
    digest = hashlib.sha256(f"recent:{group_key}".encode()).digest()
    return int.from_bytes(digest[:8], "big") / 2**64


def confirm_label(
    connection: sa.Connection, sha256: str, label: str, actor: str, origin: HumanOrigin = "confirmed"
) -> bool:
    """Make a label an expert's or admin's word: for an image that is in no split, harvested, suspended or mislabelled.

    An image that has a human label keeps its side; with the same label it is left as it is. An image that an admin
    has excluded stays so.

    Args:
        sha256: a known image.
        actor: `account:<id>`, or a source whose labels are taken as they come.
        origin: `curated` for the label of such a source.
    Returns: whether anything changed.
    """
    hold_membership(connection, "pool")
    image = connection.execute(sa.select(images).where(images.c.sha256 == sha256)).one()
    is_human = image.label_origin in HUMAN_ORIGINS
    if image.held_back == "excluded" or (is_human and image.label == label and image.held_back is None):
        return False
    is_member = is_human and image.split is not None
    split = image.split if is_member else choose_split(connection, sha256, image.group_key)
    connection.execute(
        sa.update(images)
        .where(images.c.sha256 == sha256)
        .values(
            split=split,
            evaluation_part=(image.evaluation_part or "recent") if split == "evaluation" else None,
            label=label,
            label_origin=origin,
            entered_pool_at=sa.func.clock_timestamp() if split == "pool" else None,
            held_back=None,
        )
    )
    add_label(connection, sha256, label, origin, actor)
    write_event(
        connection,
        "image.confirmed",
        actor,
        {"image_sha256": sha256, "label": label, "previous_label": image.label, "split": split},
    )
    return True


def add_label(connection: sa.Connection, sha256: str, label: str, origin: str, said_by: str) -> None:
    """Write a line of an image's label history."""
    connection.execute(sa.insert(labels).values(image_sha256=sha256, label=label, origin=origin, said_by=said_by))


def _has_companions_in_pool(connection: sa.Connection, sha256: str, group_key: str) -> bool:
    is_other_or_human = (images.c.sha256 != sha256) | images.c.label_origin.in_(HUMAN_ORIGINS)
    return _exists(connection, images.c.split == "pool", images.c.group_key == group_key, is_other_or_human)


def _was_in_a_snapshot(connection: sa.Connection, group_key: str) -> bool:
    is_member = snapshot_images.c.image_sha256 == images.c.sha256
    return _exists(connection, images.c.group_key == group_key, is_member)


def _exists(connection: sa.Connection, *conditions: sa.ColumnElement[bool]) -> bool:
    found: bool = connection.execute(sa.select(sa.exists().where(*conditions))).scalar_one()
    return found
