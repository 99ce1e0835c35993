"""The answers of a challenger in shadow to uploads, beside the champion's.

They are never in logs.results, from which users are answered and images harvested.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert

from ml.catalog.answers import Answer
from ml.catalog.items.item_records import is_not_erased
from ml.catalog.shadows.shadow_records import Shadow
from ml.catalog.tables import items, model_versions, predictions, results, shadow_answers, snapshot_items


@dataclass(frozen=True)
class Upload:
    """A photo that users asked about. Args: asked_at, the last time."""

    item_id: str
    asked_at: datetime


@dataclass(frozen=True)
class AnswerPair:
    """The answers of both models to one upload."""

    upload: Upload
    champion: Answer
    challenger: Answer


def list_uploads(connection: sa.Connection, days: int, count: int) -> list[Upload]:
    """Return the photos that users asked about in the last days, each once, the latest first.

    Args: count, the maximum number of photos.
    """
    asked_at = sa.func.max(predictions.c.requested_at).label("asked_at")
    is_recent = predictions.c.requested_at > sa.func.clock_timestamp() - timedelta(days=days)
    query = (
        sa.select(items.c.id, asked_at)
        .select_from(predictions.join(results).join(items))
        .where(is_recent, is_not_erased(), items.c.image_sha256.is_not(None))
        .group_by(items.c.id)
        .order_by(asked_at.desc(), items.c.id)
        .limit(count)
    )
    return [Upload(*row) for row in connection.execute(query)]


def list_answered(connection: sa.Connection, challenger: int) -> set[str]:
    """Return the ids of the items that both models have answered."""
    query = sa.select(shadow_answers.c.item_id).where(shadow_answers.c.challenger_version == challenger)
    return set(connection.scalars(query))


def save_pairs(connection: sa.Connection, shadow: Shadow, pairs: Sequence[AnswerPair]) -> None:
    """Store answers to uploads, except to those that were erased or deleted meanwhile."""
    ids = [pair.upload.item_id for pair in pairs]
    kept = sa.select(items.c.id).where(items.c.id.in_(ids), is_not_erased()).order_by(items.c.id)
    still = set(connection.scalars(kept.with_for_update(read=True, key_share=True)))
    learned = _find_learned(connection, shadow, still)
    rows = [
        {
            "challenger_version": shadow.challenger_version,
            "item_id": pair.upload.item_id,
            "asked_at": pair.upload.asked_at,
            "is_learned": pair.upload.item_id in learned,
            **_columns("champion", pair.champion),
            **_columns("challenger", pair.challenger),
        }
        for pair in sorted(pairs, key=lambda each: each.upload.item_id)
        if pair.upload.item_id in still
    ]
    if rows:
        connection.execute(insert(shadow_answers).on_conflict_do_nothing(), rows)


def keep_latest(connection: sa.Connection, challenger: int, uploads: Sequence[Upload]) -> None:
    """Update when users last asked about the uploads, and delete the answers to all other photos outside the sample."""
    is_of_challenger = shadow_answers.c.challenger_version == challenger
    ids = [upload.item_id for upload in uploads]
    is_past = shadow_answers.c.item_id.not_in(ids) & shadow_answers.c.sample_place.is_(None)
    connection.execute(sa.delete(shadow_answers).where(is_of_challenger, is_past))
    if uploads:
        columns = (sa.column("item_id", sa.Text), sa.column("asked_at", sa.DateTime(timezone=True)))
        latest = sa.values(*columns, name="latest").data([(each.item_id, each.asked_at) for each in uploads])
        is_later = (shadow_answers.c.item_id == latest.c.item_id) & (shadow_answers.c.asked_at < latest.c.asked_at)
        change = sa.update(shadow_answers).where(is_of_challenger, is_later)
        connection.execute(change.values(asked_at=latest.c.asked_at))


def _find_learned(connection: sa.Connection, shadow: Shadow, item_ids: Collection[str]) -> set[str]:
    """Return the items from whose group a training learned, up to the later of the trainings of the two models.

    A fine-tuned backbone, and one that a retraining keeps, learned from earlier snapshots too. It is not known what a
    model from elsewhere learned from: then all snapshots count.
    """
    versions = (shadow.challenger_version, shadow.champion_version)
    of_versions = sa.select(model_versions.c.snapshot_id).where(model_versions.c.version.in_(versions))
    snapshots = list(connection.scalars(of_versions))
    member = items.alias("member")
    is_learned = sa.exists().where(
        member.c.group_key == items.c.group_key,
        snapshot_items.c.item_id == member.c.id,
        sa.true() if None in snapshots else snapshot_items.c.snapshot_id <= max(snapshots),
    )
    return set(connection.scalars(sa.select(items.c.id).where(items.c.id.in_(item_ids), is_learned)))


def _columns(role: str, answer: Answer) -> dict[str, object]:
    return {
        f"{role}_class": answer.top_class,
        f"{role}_confidence": answer.confidence,
        f"{role}_margin": answer.margin,
        f"{role}_probabilities": answer.probabilities.tolist(),
        f"{role}_novelty": answer.novelty,
        f"{role}_answer": answer.detail,
    }
