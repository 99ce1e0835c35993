"""The state of a deployment: the figures that metrics, pages and reports show. They all come from the catalog."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

import sqlalchemy as sa

from ml.catalog.images.batches import count_quarantined, count_waiting
from ml.catalog.images.label_origins import NewImages
from ml.catalog.models import journal
from ml.catalog.models.attempts import count_approvals_waiting, last_decided_cutoff, last_retraining
from ml.catalog.models.backbone_records import find_backbone_of_version
from ml.catalog.models.drift_checks import DriftCheck, latest_drift_check
from ml.catalog.models.evaluations import Shortfall, find_figures, read_shortfalls
from ml.catalog.models.model_versions import ModelVersion, find_model_version, knows_images_until
from ml.catalog.models.served_versions import ServingProcess, living_processes
from ml.catalog.models.training_failures import last_failure
from ml.catalog.tables import drift_checks, evaluations, monitorings
from ml.data.pool import count_by_origin
from ml.data.snapshot_rules import count_new_images, nightly_rules
from ml.settings import Settings


@dataclass(frozen=True)
class PartFigures:
    """The latest figures of the champion on one part of the evaluation set; shares between 0 and 1.

    Args:
        part: anchor or recent.
        is_deciding: whether the floor and the gate use this part.
        per_class: label -> {image_count, precision, recall, f1}.
        confusion: rows are true labels, columns predicted, in the order of the champion's classes;
            None where an item may have several classes.
        shortfalls: the figures below their floor, as decided at the time of the evaluation.
        figures: the task's own shares, by name; the main figure may be among them.
    """

    part: str
    main_figure: float
    image_count: int
    is_deciding: bool
    evaluated_at: datetime
    per_class: Mapping[str, Mapping[str, float]]
    confusion: Sequence[Sequence[int]] | None
    shortfalls: Sequence[Shortfall]
    figures: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Health:
    """The state of a deployment. A value is None if its event never happened, or is unknown for an external model.

    Args:
        champion: the version that the last completed move of the alias put into production; `promoted_at` is its time.
        serving: the running processes of the service, each with the version that it serves.
        classes: the champion's classes, in the order of its outputs.
        parts: sorted by name: anchor, recent.
        new_images: images since the champion's snapshot that a snapshot could use.
        untried_images: those of them that are newer than the snapshot of the latest attempt with a verdict, promoted or
            not. When they reach the threshold, the next night requests retraining.
        pool: label origin -> number of images.
        monitored_at: time of the last nightly check.
        retrained_at: time of the latest verdict on an attempt; `retraining_seconds` is from that attempt's start to it.
        retraining_failed_at: the latest time at which a step failed for good, among attempts that have not ended since.
        snapshot_cutoff: cutoff of the champion's snapshot.
        quarantined_batches: number of quarantined batches with waiting images; `waiting_images` counts the waiting
            images of all batches.
        figures: name -> value of ml.figures.NIGHTLY, from the champion's latest nightly check.
        drift: the champion's latest drift check; `drift_checked_at` is the time of the latest check of any version.
    """

    champion: int | None
    promoted_at: datetime | None
    pool: Mapping[str, int]
    monitored_at: datetime | None
    retrained_at: datetime | None
    retraining_seconds: float | None
    retraining_failed_at: datetime | None
    drift_checked_at: datetime | None
    quarantined_batches: int
    waiting_images: int
    approvals_waiting: int
    is_promotion_held: bool
    serving: Sequence[ServingProcess] = ()
    # About the champion:
    classes: Sequence[str] = ()
    precision: str | None = None
    backbone: str | None = None
    backbone_weights: str | None = None
    image_size: int | None = None
    parts: Sequence[PartFigures] = ()
    snapshot_cutoff: datetime | None = None
    new_images: NewImages | None = None
    untried_images: int | None = None
    figures: Mapping[str, float] = field(default_factory=dict)
    drift: DriftCheck | None = None

    @property
    def deciding(self) -> PartFigures | None:
        """The part that the floor applies to; None before the first evaluation."""
        return next((part for part in self.parts if part.is_deciding), None)


@dataclass(frozen=True)
class NightPoint:
    """The results of one nightly check.

    Args: reasons, why retraining was requested, empty if it was not; shortfalls, the figures below their floor.
    """

    monitored_at: datetime
    model_version: int
    main_figure: float
    new_images: NewImages
    reasons: Sequence[str]
    shortfalls: Sequence[Shortfall]


def read_health(connection: sa.Connection, settings: Settings) -> Health:
    """Read all figures of a deployment's state."""
    move = journal.last_move(connection)
    version = None if move is None else move.to_version
    retraining = last_retraining(connection)
    health = Health(
        champion=version,
        promoted_at=None if move is None or version is None else move.moved_at,
        pool=count_by_origin(connection),
        monitored_at=_latest(connection, monitorings.c.monitored_at),
        retrained_at=None if retraining is None else retraining.decided_at,
        retraining_seconds=None if retraining is None else retraining.seconds,
        retraining_failed_at=last_failure(connection),
        drift_checked_at=_latest(connection, drift_checks.c.checked_at),
        quarantined_batches=count_quarantined(connection),
        waiting_images=count_waiting(connection),
        approvals_waiting=count_approvals_waiting(connection),
        is_promotion_held=journal.is_held(connection),
        serving=living_processes(connection),
    )
    known = None if version is None else find_model_version(connection, version)
    return health if known is None else _with_champion(connection, health, known, settings)


def _with_champion(connection: sa.Connection, health: Health, champion: ModelVersion, settings: Settings) -> Health:
    backbone = find_backbone_of_version(connection, champion.version)
    until = knows_images_until(connection, champion.version)
    last, rules = last_decided_cutoff(connection), nightly_rules(settings)
    tried_until = until if last is None else max(until, last)
    return replace(
        health,
        classes=champion.classes,
        precision=champion.precision,
        backbone=None if backbone is None else backbone.backbone,
        backbone_weights=None if backbone is None else backbone.weights_recipe,
        image_size=champion.image_size,
        parts=latest_parts(connection, champion.version),
        snapshot_cutoff=None if champion.snapshot_id is None else until,
        new_images=count_new_images(connection, until, rules, champion.classes),
        untried_images=count_new_images(connection, tried_until, rules, champion.classes).total,
        figures=find_figures(connection, champion.version),
        drift=latest_drift_check(connection, champion.version),
    )


def recent_nights(connection: sa.Connection, count: int) -> list[NightPoint]:
    """Return the last nightly checks, oldest first."""
    query = sa.select(monitorings).order_by(monitorings.c.id.desc()).limit(count)
    nights = [
        NightPoint(
            row.monitored_at,
            row.model_version,
            row.main_figure,
            NewImages(row.new_images_human, row.new_images_harvested),
            row.reasons,
            read_shortfalls(row.shortfalls),
        )
        for row in connection.execute(query)
    ]
    return nights[::-1]


def latest_parts(connection: sa.Connection, version: int) -> list[PartFigures]:
    """Return the latest figures of a version on each part of the evaluation set, sorted by name."""
    query = (
        sa.select(*(evaluations.c[name] for name in PartFigures.__dataclass_fields__))
        .distinct(evaluations.c.part)
        .where(evaluations.c.model_version == version)
        .order_by(evaluations.c.part, evaluations.c.id.desc())
    )
    return [
        PartFigures(**{**row, "shortfalls": read_shortfalls(row["shortfalls"])})
        for row in connection.execute(query).mappings()
    ]


def _latest(connection: sa.Connection, moment: sa.Column[datetime]) -> datetime | None:
    latest: datetime | None = connection.execute(sa.select(sa.func.max(moment))).scalar_one()
    return latest
