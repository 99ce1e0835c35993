"""Items as they arrive: in no split, without an annotation. `ml.data.membership` makes members of them."""

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
_ADD_ITEMS = insert(items).on_conflict_do_nothing()


def item_id(image_sha256: str | None, text_sha256: str | None) -> str:
    """Name an item by its parts: by the hash of its only one, or by the SHA-256 of both hashes with a NUL between.

    No text holds a NUL, so no text alone has the id of an item with two parts.

    Raises: ValueError, there is no part.
    """
    if image_sha256 is not None and text_sha256 is not None:
        return hashlib.sha256(f"{image_sha256}\0{text_sha256}".encode()).hexdigest()
    only = image_sha256 or text_sha256
    if only is None:
        raise ValueError("Expected an image, a text or both as the parts of an item. Received: neither.")
    return only


@dataclass(frozen=True)
class ItemParts:
    """A stored item and the hashes of its parts, those that it has."""

    item_id: str
    image_sha256: str | None
    text_sha256: str | None

    def demand_image(self) -> str:
        """Return the hash of its image.

        Raises: MissingPartError, it has none.
        """
        if self.image_sha256 is None:
            raise MissingPartError(
                f"Expected an item with an image, got {self.item_id}, a text alone: this model cannot read it. Exclude "
                "it, or give it an image."
            )
        return self.image_sha256


@dataclass(frozen=True)
class ItemRecord:
    """An item whose image, if it has one, is in the object store.

    Args:
        source: where it came from, in words.
        group: of the items that belong together; None where nothing is known.
    """

    source: str
    image: ImageRecord | None = None
    text: TextRecord | None = None
    group: str | None = None

    @property
    def id(self) -> str:
        """What names it everywhere."""
        return item_id(self._image_sha256, self._text_sha256)

    @property
    def _image_sha256(self) -> str | None:
        return None if self.image is None else self.image.sha256

    @property
    def _text_sha256(self) -> str | None:
        return None if self.text is None else self.text.sha256

    def row(self) -> dict[str, str | None]:
        """Its columns in training.items. An item of which nothing is known is a group of its own."""
        return {
            "id": self.id,
            "image_sha256": self._image_sha256,
            "text_sha256": self._text_sha256,
            "group_key": self.group or self.id,
            "source": self.source,
        }


def is_only_predicted() -> sa.ColumnElement[bool]:
    """The condition on training.items that nobody has given an item a place or an annotation, or taken it out."""
    return items.c.split.is_(None) & items.c.class_names.is_(None) & items.c.held_back.is_(None)


def add_parts(connection: sa.Connection, records: Sequence[ItemRecord]) -> None:
    """Keep the parts of items; a known part stays as it is."""
    # In one order for all, so that two writers never deadlock.
    found_images = {each.image.sha256: vars(each.image) for each in records if each.image is not None}
    found_texts = {each.text.sha256: vars(each.text) for each in records if each.text is not None}
    if found_images:
        connection.execute(_ADD_IMAGES, [found_images[sha256] for sha256 in sorted(found_images)])
    if found_texts:
        connection.execute(_ADD_TEXTS, [found_texts[sha256] for sha256 in sorted(found_texts)])


def add_predicted(connection: sa.Connection, item: ItemRecord) -> None:
    """Note an item that someone asked a prediction for: in no split, not annotated. A known item stays as it is."""
    add_parts(connection, [item])
    connection.execute(_ADD_ITEMS, item.row())


def demand_images(connection: sa.Connection, item_ids: Sequence[str]) -> list[str]:
    """The hash of the image of each item, in their order.

    Raises: MissingPartError, one of them has none.
    """
    found = find_item_images(connection, item_ids)
    return [ItemParts(item_id, found.get(item_id), None).demand_image() for item_id in item_ids]


def find_item_images(connection: sa.Connection, item_ids: Sequence[str]) -> dict[str, str]:
    """The hash of the image of each of these items that has one, by the item's id."""
    query = sa.select(items.c.id, items.c.image_sha256).where(items.c.id.in_(item_ids))
    return dict(connection.execute(query.where(items.c.image_sha256.is_not(None))).tuples().all())
