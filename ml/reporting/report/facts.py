"""All facts on the page, read from the catalog in one transaction."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime

import sqlalchemy as sa

from ml.catalog.accounts.account_names import name_accounts
from ml.catalog.clock import now
from ml.catalog.images.batches import Batch, list_batches
from ml.catalog.images.daily_arrivals import DayOfArrivals, arrivals_by_day
from ml.catalog.logs.outbox import Alert, latest_alerts
from ml.catalog.models.attempt_history import PastAttempt, recent_attempts
from ml.catalog.models.journal import Move, recent_moves
from ml.reporting.health import Health, NightPoint, read_health, recent_nights
from ml.settings import Settings

NIGHTS = 30
DAYS = 30
_ATTEMPTS = 5
_ALERTS = 8
_BATCHES = 8


@dataclass(frozen=True)
class Facts:
    """The facts on the page.

    Args:
        at: the time of reading, by the database's clock.
        nights, arrivals: oldest first.
        moves, attempts, alerts: newest first.
        batches: those with waiting images.
    """

    at: datetime
    settings: Settings
    health: Health
    nights: Sequence[NightPoint]
    moves: Sequence[Move]
    arrivals: Sequence[DayOfArrivals]
    attempts: Sequence[PastAttempt]
    batches: Sequence[Batch]
    alerts: Sequence[Alert]


def read_facts(connection: sa.Connection, settings: Settings) -> Facts:
    """Read all facts of the page."""
    return Facts(
        at=now(connection),
        settings=settings,
        health=read_health(connection, settings),
        nights=recent_nights(connection, NIGHTS),
        moves=recent_moves(connection, NIGHTS),
        arrivals=arrivals_by_day(connection, DAYS),
        attempts=[
            replace(each, reason=name_accounts(connection, each.reason))
            for each in recent_attempts(connection, _ATTEMPTS)
        ],
        batches=[batch for batch in list_batches(connection, _BATCHES) if batch.waiting],
        alerts=[
            replace(each, body=name_accounts(connection, each.body)) for each in latest_alerts(connection, _ALERTS)
        ],
    )
