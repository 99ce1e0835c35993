"""A description that changes makes a new version of its item."""

import sqlalchemy as sa

from ml.catalog.items.image_records import ImageRecord
from ml.catalog.items.item_records import ItemRecord
from ml.catalog.items.texts import TextRecord
from ml.catalog.locks import lock_membership
from ml.catalog.tables import images, items
from ml.data.membership import State, read_states, supersede
from ml.errors import ImageChangeError, UnknownImageError


def change_description(connection: sa.Connection, item_id: str, text: TextRecord | None, actor: str) -> str:
    """Give an item another text, or take its text away. The new version takes over its place, annotation and group.

    The former version leaves pool and evaluation set; snapshots and versions of the evaluation set that hold it keep
    it. A text that an item had before brings that version back.

    Args: actor, who changes it, for the record.
    Returns: the id of the version with that text; the same where the item has it already.
    Raises:
        UnknownImageError: there is no such item.
        ImageChangeError: the item is a former version, nothing would be left of it, or another item that has a place
            or an annotation consists of the same parts.
    """
    lock_membership(connection, "pool")
    state = read_states(connection, [item_id]).get(item_id)
    if state is None:
        raise UnknownImageError(f"Expected the id of a known item, got {item_id}. Nothing was changed.")
    record = _record(connection, item_id, state, text)
    if record.id == item_id:
        return item_id
    if state.held_back == "superseded":
        raise ImageChangeError(
            f"Expected the current version of an item, got {item_id}, a former one. Change that one."
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
            f"Expected a text that makes a new item, got one that makes {record.id}, which has its own place already. "
            "Exclude one of the two instead."
        )
