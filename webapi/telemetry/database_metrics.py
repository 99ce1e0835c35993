"""Export the database's figures. A scrape never waits long for them, and never fails."""

import logging
import threading
import time
from collections.abc import Iterable

from prometheus_client import CollectorRegistry
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from ml.deadlines import Deadline
from ml.errors import MycoflowError
from ml.figures import DATABASE_UP
from ml.reporting.health import read_health
from ml.serving.lazy_catalog import Database
from ml.settings import Settings
from webapi.telemetry.health_metrics import health_metrics

_REMEMBERED_SECONDS = 5.0
_STATEMENT_SECONDS = 2.0
_USABLE_SECONDS = 20.0  # a little longer than the time between two scrapes
_NEVER = float("-inf")
_logger = logging.getLogger(__name__)


class DatabaseCollector(Collector):
    """Reads the figures at a scrape, unless they were read a moment ago.

    A separate thread reads them. If the database hangs, it blocks this thread, and a scrape only for a short time.

    Args:
        remembered_seconds: minimum time between two readings.
        wait_seconds: maximum time that a scrape waits for a reading; after it, the scrape shows the former figures.
        usable_seconds: older figures are not shown, because the database is down.
    """

    def __init__(
        self,
        settings: Settings,
        database: Database,
        remembered_seconds: float = _REMEMBERED_SECONDS,
        wait_seconds: float = _STATEMENT_SECONDS + 0.5,
        usable_seconds: float = _USABLE_SECONDS,
    ) -> None:
        self._settings = settings
        self._database = database
        self._remembered_seconds = remembered_seconds
        self._wait_seconds = wait_seconds
        self._usable_seconds = usable_seconds
        self._lock = threading.Lock()
        self._reader: threading.Thread | None = None
        self._figures: list[GaugeMetricFamily] | None = None  # of the last reading; None if it failed
        self._read_at = _NEVER
        self._is_failing = False

    def collect(self) -> Iterable[Metric]:
        """Return the figures as metrics. If there are none, return only `mycoflow_database_up`. Never raise."""
        yield from self._latest() or [GaugeMetricFamily(DATABASE_UP.gauge, DATABASE_UP.meaning, value=0)]

    def _latest(self) -> list[GaugeMetricFamily] | None:
        with self._lock:
            if time.monotonic() - self._read_at < self._remembered_seconds:
                return self._figures
            if self._reader is None or not self._reader.is_alive():
                self._reader = threading.Thread(target=self._read, name="database-metrics", daemon=True)
                self._reader.start()
            reader = self._reader
        reader.join(self._wait_seconds)
        return self._figures if time.monotonic() - self._read_at < self._usable_seconds else None

    def _read(self) -> None:
        try:
            with self._database.catalog().until(Deadline(_STATEMENT_SECONDS)).begin() as connection:
                health = read_health(connection, self._settings)
            self._figures = list(health_metrics(health, self._settings))
            self._is_failing = False
        except Exception as error:  # noqa: BLE001 - after any error, the service's own figures are still exported
            self._figures = None
            self._log_failure(error)
        self._read_at = time.monotonic()

    def _log_failure(self, error: Exception) -> None:
        if not self._is_failing:
            is_expected = isinstance(error, MycoflowError)
            _logger.warning("The metrics lack the database's figures: %s", error, exc_info=not is_expected)
        self._is_failing = True


def register(registry: CollectorRegistry, settings: Settings, database: Database) -> None:
    """Add the database's figures to a registry."""
    registry.register(DatabaseCollector(settings, database))
