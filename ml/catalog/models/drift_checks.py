"""Drift checks, one row per night and model version, and the items that a check compares."""

from dataclasses import dataclass

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert

from ml.catalog.tables import drift_checks, feedback, items, model_versions, predictions, results, snapshot_items


@dataclass(frozen=True)
class DriftCheck:
    """The drift check of one night. ml.evaluation.drift and ml.confidence.estimation explain the figures.

    A figure is None if there were too few images. `moved` names the drifted distributions: confidence, classes,
    features, novelty.
    """

    model_version: int
    reference_images: int
    recent_images: int
    reference_features: int
    recent_features: int
    calibration_images: int
    feedback_images: int
    confidence_psi: float | None
    confidence_ks: float | None
    confidence_p_value: float | None
    class_psi: float | None
    class_p_value: float | None
    feature_mmd: float | None
    feature_p_value: float | None
    novel_share: float | None
    novelty_p_value: float | None
    moved: list[str]
    estimated_accuracy: float | None
    observed_accuracy: float | None
    observed_accuracy_low: float | None
    observed_accuracy_high: float | None


_FIELDS = [drift_checks.c[name] for name in DriftCheck.__dataclass_fields__]


def save_drift_check(connection: sa.Connection, check: DriftCheck) -> None:
    """Store a check in place of an earlier one of the same version and night (a day in UTC)."""
    values = {name: getattr(check, name) for name in DriftCheck.__dataclass_fields__}
    statement = insert(drift_checks).values(**values)
    renewed = {**values, "checked_at": sa.func.clock_timestamp()}
    connection.execute(statement.on_conflict_do_update(index_elements=["model_version", "night"], set_=renewed))


def latest_drift_check(connection: sa.Connection, model_version: int) -> DriftCheck | None:
    """Return the latest check of a version, or None."""
    query = sa.select(*_FIELDS).where(drift_checks.c.model_version == model_version)
    row = connection.execute(query.order_by(drift_checks.c.night.desc()).limit(1)).one_or_none()
    return None if row is None else DriftCheck(*row)


def recent_images(connection: sa.Connection, model_version: int, count: int) -> list[str]:
    """Return the ids of the items of a version's latest uncached predictions, one item per group.

    Args: count, number of predictions to read.
    """
    query = (
        sa.select(items.c.group_key, items.c.id)
        .select_from(predictions.join(results).join(items))
        .where(results.c.model_version == model_version, predictions.c.is_cached.is_(False))
        .order_by(predictions.c.id.desc())
        .limit(count)
    )
    return _one_of_each_group(connection, query)


def reference_images(connection: sa.Connection, model_version: int) -> list[str]:
    """Return the ids of the items in the validation fold of a version's snapshot, one item per group.

    Returns: an empty list for a version that was trained elsewhere.
    """
    query = (
        sa.select(items.c.group_key, items.c.id)
        .select_from(snapshot_items.join(items))
        .join(model_versions, model_versions.c.snapshot_id == snapshot_items.c.snapshot_id)
        .where(model_versions.c.version == model_version, snapshot_items.c.fold == "validation")
        .order_by(items.c.id)
    )
    return _one_of_each_group(connection, query)


def count_feedback(connection: sa.Connection, model_version: int, count: int) -> tuple[int, int]:
    """Count the latest feedback on a version's answers. Each item counts once, with its latest feedback.

    Args: count, number of items to count at most.
    Returns: items whose answer was right, and all items with feedback.
    """
    latest = (
        sa.select(feedback.c.id, feedback.c.verdict)
        .distinct(results.c.item_id)
        .select_from(feedback.join(predictions).join(results))
        .where(results.c.model_version == model_version)
        .order_by(results.c.item_id, feedback.c.id.desc())
        .subquery()
    )
    verdicts = list(connection.scalars(sa.select(latest.c.verdict).order_by(latest.c.id.desc()).limit(count)))
    return verdicts.count("ok"), len(verdicts)


def _one_of_each_group(connection: sa.Connection, query: sa.Select[str, str]) -> list[str]:
    """Return one item id per group. The photos of a group are similar, and many of them could look like drift."""
    return list(dict(connection.execute(query).tuples().all()).values())
