"""The evaluation set: versioned, in two parts (anchor and recent), and never used for training."""

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert

from ml.catalog.annotations import Annotation, read_annotation
from ml.catalog.items.item_records import ItemParts, is_not_erased
from ml.catalog.tables import evaluation_set_items, evaluation_sets, items
from ml.errors import EvaluationSetError

RECENT_IMAGES = 500  # the newest items of the recent part that a version holds
RECENT_DECIDES_FROM = 100  # items in the recent part; with fewer the anchor decides
_PARTS = (items.c.id, items.c.image_sha256, items.c.text_sha256)


@dataclass(frozen=True)
class EvaluationItem(ItemParts):
    """One item of the evaluation set. `part` is anchor or recent."""

    annotation: Annotation
    part: str


def current_evaluation_set(connection: sa.Connection) -> tuple[int, list[EvaluationItem]]:
    """Return the current evaluation set: the whole anchor, and the newest items of the recent part.

    Returns: its version (a new one if an item or an annotation changed), and its items ordered by id.
    Raises: EvaluationSetError, the set is empty.
    """
    members = current_members(connection)
    if not members:
        raise EvaluationSetError(
            "Expected images in the evaluation set, found none. "
            "Ingest some with `mycoflow ingest DIR --split evaluation`."
        )
    return _version_of(connection, members), members


def current_members(connection: sa.Connection) -> list[EvaluationItem]:
    """Return the items of the current evaluation set, ordered by id, without creating a version."""
    return sorted(
        [*_members(connection, "anchor", None), *_members(connection, "recent", RECENT_IMAGES)],
        key=lambda member: member.item_id,
    )


def deciding_part(members: Iterable[EvaluationItem]) -> str:
    """Return the part that decides about floor and gate: recent if it is large enough or the only one, else anchor."""
    parts = [member.part for member in members]
    is_recent = parts.count("recent") >= RECENT_DECIDES_FROM or "anchor" not in parts
    return "recent" if is_recent else "anchor"


def load_evaluation_set(connection: sa.Connection, version: int) -> list[EvaluationItem]:
    """Return the items of one version, ordered by id, without those whose photo was erased."""
    table = evaluation_set_items
    query = (
        sa.select(*_PARTS, table.c.class_names, table.c.annotation, table.c.part)
        .join_from(table, items)
        .where(table.c.version == version, is_not_erased())
        .order_by(items.c.id)
    )
    return [_item(row) for row in connection.execute(query)]


def group_keys(connection: sa.Connection, item_ids: list[str]) -> dict[str, str]:
    """Return the group of each item, by item id."""
    query = sa.select(items.c.id, items.c.group_key).where(items.c.id.in_(item_ids))
    return dict(connection.execute(query).tuples().all())


def _members(connection: sa.Connection, part: str, limit: int | None) -> list[EvaluationItem]:
    query = (
        sa.select(*_PARTS, items.c.class_names, items.c.annotation, items.c.evaluation_part)
        .where(items.c.split == "evaluation", items.c.evaluation_part == part, items.c.held_back.is_(None))
        .order_by(items.c.received_at.desc(), items.c.id)
        .limit(limit)
    )
    return [_item(row) for row in connection.execute(query)]


def _item(row: Any) -> EvaluationItem:
    item_id, image, text, class_names, detail, part = row
    return EvaluationItem(item_id, image, text, read_annotation(class_names, detail), part)


def _version_of(connection: sa.Connection, members: Sequence[EvaluationItem]) -> int:
    content = hashlib.sha256(repr([_content(member) for member in members]).encode()).hexdigest()
    created = connection.execute(
        insert(evaluation_sets)
        .values(content_sha256=content)
        .on_conflict_do_nothing()
        .returning(evaluation_sets.c.version)
    ).scalar_one_or_none()
    if created is None:
        found: int = connection.execute(
            sa.select(evaluation_sets.c.version).where(evaluation_sets.c.content_sha256 == content)
        ).scalar_one()
        return found
    connection.execute(
        sa.insert(evaluation_set_items),
        [
            {"version": created, "item_id": each.item_id, **each.annotation.columns(), "part": each.part}
            for each in members
        ],
    )
    return int(created)


def _content(member: EvaluationItem) -> tuple[object, ...]:
    """Return an item's contribution to the version's hash. It must not change for an item with one class: old hashes
    contain it.
    """
    names, detail = member.annotation.class_names, member.annotation.detail
    if len(names) == 1 and detail is None:
        return member.item_id, names[0], member.part
    return member.item_id, names, json.dumps(detail, sort_keys=True), member.part
