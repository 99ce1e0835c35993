"""Change the description of an item, which creates a new version of the item."""

import sqlalchemy as sa

from ml.catalog.items.image_records import ImageRecord
from ml.catalog.items.item_records import ItemRecord
from ml.catalog.items.texts import TextRecord
from ml.catalog.locks import lock_membership
from ml.catalog.tables import images, items
from ml.data.membership import State, read_states, supersede
from ml.errors import ImageChangeError, UnknownImageError


def change_description(connection: sa.Connection, item_id: str, text: TextRecord | None, actor: str) -> str:
    """Replace or remove the text of an item. The new version takes over the item's split, annotation and group.

    The former version leaves its split, but stays in existing snapshots and versions of the evaluation set. If the item
    had the same text before, that former version becomes the current one again.

    Args: text, the new text; None removes it. actor, who changes it, for the audit log.
    Returns: the id of the version with the text; the given id if the item has this text already.
    Raises:
        UnknownImageError: no item has this id.
        ImageChangeError: the item is a former version, it would have neither image nor text, or another item with a
            split or an annotation has the same parts.
    """
    lock_membership(connection, "pool")
    state = read_states(connection, [item_id]).get(item_id)
    if state is None or state.held_back == "erased":
        raise UnknownImageError(f"Expected the id of a known item, got {item_id}. Nothing was changed.")
    record = _record(connection, item_id, state, text)
    if record.id == item_id:
        return item_id
    if state.held_back == "superseded":
        raise ImageChangeError(
            f"Expected the current version of an item, got {item_id}, a former one. Change the current one."
        )
    _demand_free(connection, record, state)
    supersede(connection, item_id, record, actor)
    return record.id


def _record(connection: sa.Connection, item_id: str, state: State, text: TextRecord | None) -> ItemRecord:
    columns = [images.c[name] for name in ImageRecord.__dataclass_fields__]
    query = sa.select(items.c.source, *columns).outerjoin_from(items, images).where(items.c.id == item_id)
    source, *image = connection.execute(query).one()
    if image[0] is None and text is None:
        raise ImageChangeError(f"Expected a text for {item_id}, which has no image, got none. Exclude it instead.")
    return ItemRecord(source, ImageRecord(*image) if image[0] is not None else None, text, state.group_key)


def _demand_free(connection: sa.Connection, record: ItemRecord, former: State) -> None:
    known = read_states(connection, [record.id]).get(record.id)
    if known is None or (known.split, known.annotation, known.held_back) == (None, None, None):
        return
    if (known.held_back, known.group_key) != ("superseded", former.group_key):
        raise ImageChangeError(
            f"Expected a text that makes a new item, got one that makes the existing item {record.id}. "
            "Exclude one of the two instead."
        )
