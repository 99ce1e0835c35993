"""A mark in Grafana's plots for each alert in the outbox: promotions, rollbacks, and whatever else people are told.

Whatever goes wrong here is logged and tried again next time, for as long as an unsent alert would be.
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
    """Write the marks that Grafana lacks; the caller is the only one that delivers now.

    Without MYCOFLOW_GRAFANA_URL and MYCOFLOW_GRAFANA_TOKEN nothing is written. A mark stands where its alert was
    raised, however late it is written; a process that dies between writing and noting it writes it twice.
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
    """What the outbox calls this Grafana; another one gets the marks of the last days again."""
    return hashlib.sha256(f"grafana {settings.grafana_url}".encode()).hexdigest()[:16]


def _write(grafana: "GrafanaApi", alert: Alert, catalog: Catalog, receiver: str) -> bool:
    """Returns: whether it makes sense to go on with the next."""
    try:
        with translated_errors("to keep an annotation"):
            expect(grafana.annotations.add_annotation(**_mark(alert)), "id")
    except GrafanaError as error:
        logger.warning("Alert %s was not marked in Grafana and will be tried again: %s", alert.id, error)
        return not isinstance(error, GrafanaUnavailableError)
    with catalog.begin() as connection:  # at once: a crash later does not write it again
        note_receipt(connection, alert.id, receiver)
    return True


def _mark(alert: Alert) -> dict[str, object]:
    """An annotation, as the API documents it: times in milliseconds; the text is HTML."""
    group = "move" if alert.kind in _MOVES else "alert"
    return {
        "time_from": int(alert.raised_at.timestamp() * 1000),
        "tags": ["mycoflow", group, alert.kind],
        "text": html.escape(f"{alert.title}\n{alert.body}", quote=False),
    }
