"""The latest trainings, each with the gate's verdict and whether its version was ever in production."""

from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa

from ml.catalog.tables import attempts, promotions, verdicts


@dataclass(frozen=True)
class PastAttempt:
    """One training. A field is None if the training did not reach that step. Figures are between 0 and 1.

    Args:
        reason: why it was requested.
        decision: the gate's decision, promote or keep.
        reasons, warnings: of the gate.
        was_promoted: whether its version is or was in production.
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
    """Return the latest trainings, newest first."""
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
