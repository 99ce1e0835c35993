"""Find service processes that do not serve the version in production, and alert people to it."""

from collections import Counter
from collections.abc import Sequence
from datetime import datetime, timedelta

import sqlalchemy as sa

from ml.catalog.clock import now
from ml.catalog.logs.outbox import Notice, raise_alert
from ml.catalog.models import journal
from ml.catalog.models.served_versions import ServingProcess, living_processes
from ml.reporting.health import Health

LOADING = timedelta(minutes=5)  # downloading and loading a version takes less


def alert_if_unserved(connection: sa.Connection) -> None:
    """Raise one alert if a process of the service does not serve the version in production."""
    move = journal.last_move(connection)
    if move is None or move.to_version is None:
        return
    late = late_processes(living_processes(connection), move.to_version, move.moved_at, now(connection))
    if late:
        raise_alert(connection, *not_served(move.to_version, move.moved_at, late))


def late_processes(
    processes: Sequence[ServingProcess], champion: int, promoted_at: datetime, at: datetime
) -> list[ServingProcess]:
    """Return the processes that cannot load the champion, or should serve it by now and do not."""
    return [
        process
        for process in processes
        if process.version != champion
        and (process.refused_version == champion or at - _since(process, promoted_at) > LOADING)
    ]


def is_late(health: Health, at: datetime) -> bool:
    """Whether a process of the service should serve the version in production by now, and does not."""
    champion, promoted_at = health.champion, health.promoted_at
    if champion is None or promoted_at is None:
        return False
    return bool(late_processes(health.serving, champion, promoted_at, at))


def not_served(champion: int, promoted_at: datetime, late: Sequence[ServingProcess]) -> Notice:
    """Return the notice that the version in production is not served. It is one event until every process serves it."""
    since = min(_since(process, promoted_at) for process in late)
    return Notice(
        "not_served",
        f"not-served:version {champion}:since {since.isoformat()}",
        f"Version {champion} is in production and not served",
        f"{describe_serving(champion, late)} `mycoflow rollback` puts the former version into production, and holds "
        "automatic promotion.",
    )


def describe_serving(champion: int | None, processes: Sequence[ServingProcess]) -> str:
    """Describe how many processes serve which version, and why some cannot load the champion."""
    if not processes:
        return "No process of the service has reported itself."
    counts = Counter(process.version for process in processes)
    parts = [_count(version, count) for version, count in sorted(counts.items(), key=lambda pair: pair[0] or 0)]
    errors = {process.load_error or "" for process in processes if process.refused_version == champion}
    refusals = [f"Version {champion} does not load: {error}" for error in sorted(filter(None, errors))]
    return " ".join([f"Served: {', '.join(parts)}.", *refusals])


def _since(process: ServingProcess, promoted_at: datetime) -> datetime:
    return max(process.started_at, promoted_at)


def _count(version: int | None, count: int) -> str:
    name = "no version" if version is None else f"version {version}"
    return f"{name} by {count} process{'' if count == 1 else 'es'}"
