"""New items, without a split and an annotation. `ml.data.membership` assigns them to splits."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert

from ml.catalog.items.image_records import ImageRecord
from ml.catalog.items.texts import TextRecord
from ml.catalog.tables import images, items, texts
from ml.errors import MissingPartError

Split = Literal["pool", "evaluation"]

_ADD_IMAGES = insert(images).on_conflict_do_nothing()
_ADD_TEXTS = insert(texts).on_conflict_do_nothing()
_ADD_ITEM = insert(items)
# The photo of an erased item was sent again.
_ADD_PREDICTED = _ADD_ITEM.on_conflict_do_update(
    index_elements=[items.c.id],
    set_={
        **{name: _ADD_ITEM.excluded[name] for name in ("image_sha256", "text_sha256", "group_key", "source")},
        "held_back": None,
        "received_at": sa.func.clock_timestamp(),
    },
    where=items.c.held_back == "erased",
)


def item_id(image_sha256: str | None, text_sha256: str | None) -> str:
    """Return the id of an item: the hash of its only part, or the SHA-256 of the hashes of both with a NUL between.

    No text contains a NUL, so no single text has the id of an item with two parts.

    Raises: ValueError, the item has no part.
    """
    if image_sha256 is not None and text_sha256 is not None:
        return hashlib.sha256(f"{image_sha256}\0{text_sha256}".encode()).hexdigest()
    only = image_sha256 or text_sha256
    if only is None:
        raise ValueError("Expected an image, a text or both as the parts of an item. Received: neither.")
    return only


@dataclass(frozen=True)
class ItemParts:
    """A stored item and the hashes of its parts; None for a part that it does not have."""

    item_id: str
    image_sha256: str | None
    text_sha256: str | None

    def demand_image(self) -> str:
        """Return the hash of the item's image.

        Raises: MissingPartError, the item has no image.
        """
        if self.image_sha256 is None:
            raise MissingPartError(
                f"Expected an item with an image, got {self.item_id}, a text alone: this model cannot read it. Exclude "
                "it, or give it an image."
            )
        return self.image_sha256


@dataclass(frozen=True)
class ItemRecord:
    """An item to store. Its image, if it has one, must be in the object store already.

    Args:
        source: text that describes where the item came from.
        group: key of the group of items that belong together; None if it is unknown.
    """

    source: str
    image: ImageRecord | None = None
    text: TextRecord | None = None
    group: str | None = None

    @property
    def id(self) -> str:
        """The item's id."""
        return item_id(self._image_sha256, self._text_sha256)

    @property
    def _image_sha256(self) -> str | None:
        return None if self.image is None else self.image.sha256

    @property
    def _text_sha256(self) -> str | None:
        return None if self.text is None else self.text.sha256

    def row(self) -> dict[str, str | None]:
        """Return the item's columns in training.items. An item without a known group is a group of its own."""
        return {
            "id": self.id,
            "image_sha256": self._image_sha256,
            "text_sha256": self._text_sha256,
            "group_key": self.group or self.id,
            "source": self.source,
        }


def is_only_predicted() -> sa.ColumnElement[bool]:
    """Return the SQL condition for items without a split and an annotation that are not held back."""
    return items.c.split.is_(None) & items.c.class_names.is_(None) & items.c.held_back.is_(None)


def add_parts(connection: sa.Connection, records: Sequence[ItemRecord], account_id: int | None = None) -> None:
    """Store the parts of items. A part that is stored already does not change.

    Args: account_id, of the account that sent the images; None for images of people and sources of the deployment.
    """
    # All writers use one order, so they never deadlock.
    found_images = {each.image.sha256: each.image.row(account_id) for each in records if each.image is not None}
    found_texts = {each.text.sha256: vars(each.text) for each in records if each.text is not None}
    if found_images:
        connection.execute(_ADD_IMAGES, [found_images[sha256] for sha256 in sorted(found_images)])
    if found_texts:
        connection.execute(_ADD_TEXTS, [found_texts[sha256] for sha256 in sorted(found_texts)])


def is_not_erased() -> sa.ColumnElement[bool]:
    """Return the SQL condition for items whose photo nobody has erased."""
    return items.c.held_back.is_distinct_from("erased")


def keep_item(connection: sa.Connection, item_id: str) -> bool:
    """Return whether an item is stored and not erased. If so, it can be neither until this transaction ends."""
    query = sa.select(items.c.id).where(items.c.id == item_id, is_not_erased())
    return connection.execute(query.with_for_update(read=True, key_share=True)).scalar_one_or_none() is not None


def add_predicted(connection: sa.Connection, item: ItemRecord, account_id: int | None = None) -> None:
    """Store an item of a prediction, without a split and an annotation. A known item does not change.

    Args: account_id, of the account that sent it; its quota counts a new image.
    """
    if keep_item(connection, item.id):  # before the insert, which does not wait for a purge
        return
    add_parts(connection, [item], account_id)
    connection.execute(_ADD_PREDICTED, item.row())


def drop_image(connection: sa.Connection, item_id: str) -> None:
    """Take the image from an erased item, so that the image's row can be deleted."""
    change = sa.update(items).where(items.c.id == item_id, items.c.held_back == "erased")
    connection.execute(change.values(image_sha256=None))


def demand_images(connection: sa.Connection, item_ids: Sequence[str]) -> list[str]:
    """Return the hash of each item's image, in the order of the items.

    Raises: MissingPartError, one of the items has no image.
    """
    found = find_item_images(connection, item_ids)
    return [ItemParts(item_id, found.get(item_id), None).demand_image() for item_id in item_ids]


def find_item_images(connection: sa.Connection, item_ids: Sequence[str]) -> dict[str, str]:
    """Return the hash of the image of each item that has one, by item id."""
    query = sa.select(items.c.id, items.c.image_sha256).where(items.c.id.in_(item_ids))
    return dict(connection.execute(query.where(items.c.image_sha256.is_not(None))).tuples().all())
