"""Write an annotation in Grafana's plots for each alert in the outbox: promotions, rollbacks and all other kinds.

Errors here are logged, and the next call tries again, as long as it would try to send an alert.
"""

import hashlib
import html
import logging
from typing import TYPE_CHECKING

from ml.catalog.database import Catalog
from ml.catalog.logs.outbox import Alert, Kind, alerts_missed_by, note_receipt
from ml.deadlines import Deadline
from ml.errors import GrafanaError, GrafanaUnavailableError
from ml.reporting.grafana_api import expect, is_configured, open_grafana, translated_errors
from ml.settings import Settings

if TYPE_CHECKING:
    from grafana_client import GrafanaApi

logger = logging.getLogger(__name__)

MOST_PER_CALL = 20
SECONDS_PER_CALL = 10.0

_MOVES: frozenset[Kind] = frozenset({"promoted", "rolled_back", "moved_externally"})


def annotate(settings: Settings, catalog: Catalog) -> None:
    """Write the annotations that Grafana lacks. The caller holds the lock on delivery.

    Without MYCOFLOW_GRAFANA_URL and MYCOFLOW_GRAFANA_TOKEN nothing is written. An annotation has the time of its alert,
    even if it is written later. If a process dies after writing it and before recording that, it is written twice.
    """
    if not is_configured(settings):
        return
    receiver = _name(settings)
    with catalog.begin() as connection:
        missing = alerts_missed_by(connection, receiver, MOST_PER_CALL)
    if not missing:
        return
    grafana, deadline = open_grafana(settings), Deadline(SECONDS_PER_CALL)
    for alert in missing:
        if deadline.remaining() == 0 or not _write(grafana, alert, catalog, receiver):
            return


def _name(settings: Settings) -> str:
    """Return this Grafana's name in the outbox. Another Grafana gets the annotations of the last days again."""
    return hashlib.sha256(f"grafana {settings.grafana_url}".encode()).hexdigest()[:16]


def _write(grafana: "GrafanaApi", alert: Alert, catalog: Catalog, receiver: str) -> bool:
    """Write one annotation. Returns: whether to continue with the next; False if Grafana is unavailable."""
    try:
        with translated_errors("to keep an annotation"):
            expect(grafana.annotations.add_annotation(**_mark(alert)), "id")
    except GrafanaError as error:
        logger.warning("Alert %s was not marked in Grafana and will be tried again: %s", alert.id, error)
        return not isinstance(error, GrafanaUnavailableError)
    with catalog.begin() as connection:  # record it at once: a later crash must not write it again
        note_receipt(connection, alert.id, receiver)
    return True


def _mark(alert: Alert) -> dict[str, object]:
    """Return an annotation in the API's format: times in milliseconds, the text as HTML."""
    group = "move" if alert.kind in _MOVES else "alert"
    return {
        "time_from": int(alert.raised_at.timestamp() * 1000),
        "tags": ["mycoflow", group, alert.kind],
        "text": html.escape(f"{alert.title}\n{alert.body}", quote=False),
    }
