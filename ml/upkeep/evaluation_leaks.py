"""Find pool items that are copies of items of the evaluation set, and remove them from the pool."""

from collections.abc import Mapping
from dataclasses import dataclass

import sqlalchemy as sa

from ml.catalog.database import Catalog
from ml.catalog.locks import lock_membership
from ml.catalog.logs.events import write_event
from ml.catalog.tables import evaluation_set_items, evaluations, items, model_versions, snapshot_items
from ml.data.copies.near_copies import copies_of, measure_all, prepare_search
from ml.data.membership import withdraw


@dataclass(frozen=True)
class LeakReport:
    """The result of a check.

    Args:
        withdrawn: ids of the pool items that were removed -> id of the copy in the evaluation set.
        marked_evaluations: number of evaluations that are marked because their version was trained on a copy.
    """

    withdrawn: Mapping[str, str]
    marked_evaluations: int


def remove_leaks(catalog: Catalog, mirrored: bool, actor: str) -> LeakReport:
    """Remove from the pool all items with a copy or a group in the evaluation set. Existing snapshots do not change.

    Args:
        mirrored: whether a mirror image is a copy.
        actor: who checks, for the audit log.
    Raises: ImageStoreError, the store cannot be read.
    """
    measure_all(catalog)
    withdrawn = {}
    for item_id, original in _find_leaks(catalog, mirrored).items():
        with catalog.begin() as connection:
            lock_membership(connection, "pool")
            if _is_in_pool(connection, item_id) and withdraw(connection, item_id, original, actor):
                withdrawn[item_id] = original
    with catalog.begin() as connection:
        _mark_evaluations(connection)
        query = sa.select(sa.func.count()).select_from(evaluations).where(evaluations.c.learned_copies > 0)
        marked: int = connection.execute(query).scalar_one()
        write_event(connection, "check.finished", actor, {"withdrawn": len(withdrawn), "marked_evaluations": marked})
    return LeakReport(withdrawn, marked)


def _find_leaks(catalog: Catalog, mirrored: bool) -> dict[str, str]:
    """Return pool item id -> id of an item of the evaluation set that is a copy of it or of the same group."""
    with catalog.begin() as connection:
        evaluated = list(connection.scalars(sa.select(items.c.id).where(items.c.split == "evaluation")))
        found = _find_divided_groups(connection)
    for item_id in evaluated:
        prepare_search(catalog, [item_id], mirrored)
        with catalog.begin() as connection:
            inside = [each for each in copies_of(connection, item_id, mirrored).of_split("pool") if not each.held_back]
        found |= {each.item_id: item_id for each in inside}
    return found


def _find_divided_groups(connection: sa.Connection) -> dict[str, str]:
    held_out = items.alias("held_out")
    is_same = (held_out.c.group_key == items.c.group_key) & (held_out.c.split == "evaluation")
    query = sa.select(items.c.id, sa.func.min(held_out.c.id)).join_from(items, held_out, is_same)
    rows = connection.execute(query.where(items.c.entered_pool_at.is_not(None)).group_by(items.c.id))
    return dict(rows.tuples().all())


def _is_in_pool(connection: sa.Connection, item_id: str) -> bool:
    query = sa.select(items.c.entered_pool_at.is_not(None)).where(items.c.id == item_id)
    return bool(connection.execute(query).scalar_one_or_none())


def _mark_evaluations(connection: sa.Connection) -> None:
    """Store in each evaluation how many of its items have a copy in the training snapshot of its version.

    This compares photos, not items, because the items in the snapshot or the evaluation set may have had another text.
    """
    withdrawn, learnt, original, measured = (
        items.alias(name) for name in ("withdrawn", "learnt", "original", "measured")
    )
    learned = (
        sa.select(evaluations.c.id, sa.func.count(sa.distinct(measured.c.id)).label("copies"))
        .join(model_versions, model_versions.c.version == evaluations.c.model_version)
        .join(snapshot_items, snapshot_items.c.snapshot_id == model_versions.c.snapshot_id)
        .join(learnt, learnt.c.id == snapshot_items.c.item_id)
        .join(withdrawn, _has_same_image(withdrawn, learnt) & (withdrawn.c.held_back == "copy"))
        .join(original, original.c.id == withdrawn.c.copy_of)
        .join(measured, _has_same_image(measured, original))
        .join(
            evaluation_set_items,
            (evaluation_set_items.c.version == evaluations.c.evaluation_set_version)
            & (evaluation_set_items.c.part == evaluations.c.part)
            & (evaluation_set_items.c.item_id == measured.c.id),
        )
        .group_by(evaluations.c.id)
        .subquery()
    )
    is_new = (evaluations.c.id == learned.c.id) & (evaluations.c.learned_copies != learned.c.copies)
    connection.execute(sa.update(evaluations).where(is_new).values(learned_copies=learned.c.copies))


def _has_same_image(one: sa.FromClause, other: sa.FromClause) -> sa.ColumnElement[bool]:
    return (one.c.id == other.c.id) | (one.c.image_sha256 == other.c.image_sha256)
