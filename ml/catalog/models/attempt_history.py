"""The latest attempts at retraining, with what the gate said and whether the version ever was in production."""

from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa

from ml.catalog.tables import attempts, promotions, verdicts


@dataclass(frozen=True)
class PastAttempt:
    """One attempt; what it did not reach is None. Accuracies are shares between 0 and 1.

    Args:
        reason: why it was asked for.
        decision: promote or keep.
        reasons, warnings: the gate's.
        was_promoted: its version was in production, now or once.
    """

    started_at: datetime
    finished_at: datetime | None
    reason: str
    model_version: int | None
    decided_at: datetime | None
    decision: str | None
    reasons: list[str] | None
    warnings: list[str] | None
    challenger_figure: float | None
    champion_figure: float | None
    was_promoted: bool


def recent_attempts(connection: sa.Connection, count: int) -> list[PastAttempt]:
    """The latest attempts, newest first."""
    was_promoted = sa.exists().where(
        promotions.c.to_version == attempts.c.model_version,
        promotions.c.completed_at.is_not(None),
        promotions.c.kind != "release",
    )
    query = (
        sa.select(
            attempts.c.started_at,
            attempts.c.finished_at,
            attempts.c.reason,
            attempts.c.model_version,
            verdicts.c.decided_at,
            verdicts.c.decision,
            verdicts.c.reasons,
            verdicts.c.warnings,
            verdicts.c.challenger_figure,
            verdicts.c.champion_figure,
            was_promoted,
        )
        .select_from(attempts.outerjoin(verdicts))
        .order_by(attempts.c.id.desc())
        .limit(count)
    )
    return [PastAttempt(*row) for row in connection.execute(query)]
