"""The sample of photos on which a challenger and the champion differ: experts are asked about it."""

from collections.abc import Collection

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import ARRAY

from ml.catalog.locks import lock_membership
from ml.catalog.tables import review_entries, shadow_answers, shadows

_OF_SAMPLE = shadow_answers.c.sample_place.is_not(None)


def draw_sample(connection: sa.Connection, challenger: int, count: int) -> None:
    """Fill the sample of photos on which the two models differ, and let experts see it. Photos never leave the sample.

    A photo from which a model has learned is no witness, so it is not drawn. The order is that of a hash of challenger
    and photo: random, and the same in every call.

    Args: count, size of the sample.
    """
    lock_membership(connection, "pool")
    is_of_challenger = shadow_answers.c.challenger_version == challenger
    drawn = sa.select(sa.func.count()).select_from(shadow_answers).where(is_of_challenger, _OF_SAMPLE)
    taken: int = connection.execute(drawn).scalar_one()
    order = sa.func.md5(sa.func.concat(shadow_answers.c.challenger_version, ":", shadow_answers.c.item_id))
    free = (
        sa.select(shadow_answers.c.item_id, sa.func.row_number().over(order_by=order).label("place"))
        .where(is_of_challenger, ~_OF_SAMPLE, shadow_answers.c.is_different, ~shadow_answers.c.is_learned)
        .order_by(order)
        .limit(max(0, count - taken))
        .subquery()
    )
    change = sa.update(shadow_answers).where(is_of_challenger, shadow_answers.c.item_id == free.c.item_id)
    connection.execute(change.values(sample_place=taken + free.c.place))
    of_queue = connection.scalars(sa.select(review_entries.c.item_id).where(review_entries.c.queue == "disputed"))
    refresh_queue(connection, {*of_queue, *list_sample(connection, is_of_challenger)})


def load_candidates(connection: sa.Connection, item_ids: Collection[str]) -> dict[str, tuple[str, ...]]:
    """Return the classes that the models of the latest sample say, by item id, in alphabetical order."""
    classes = (shadow_answers.c.champion_class, shadow_answers.c.challenger_class)
    query = sa.select(shadow_answers.c.item_id, *classes).join(shadows).where(shadow_answers.c.item_id.in_(item_ids))
    query = query.where(_OF_SAMPLE).order_by(shadows.c.started_at, shadows.c.challenger_version)
    return {
        item_id: tuple(sorted({name for name in said if name is not None}, key=lambda name: (name.casefold(), name)))
        for item_id, *said in connection.execute(query)
    }


def list_sample(connection: sa.Connection, condition: sa.ColumnElement[bool]) -> set[str]:
    """Return the ids of the items of samples. Args: condition, on training.shadow_answers."""
    return set(connection.scalars(sa.select(shadow_answers.c.item_id).where(condition, _OF_SAMPLE)))


def refresh_queue(connection: sa.Connection, item_ids: Collection[str]) -> None:
    """Let the review queues follow a changed sample. Args: item_ids, that entered or left it."""
    changed = sa.cast(sorted(item_ids), ARRAY(sa.Text))
    connection.execute(sa.select(sa.func.training.refresh_review_entries(changed)))
