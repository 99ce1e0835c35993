"""What the routes work with, one of each per application: database, model, metrics."""

import logging
from dataclasses import dataclass
from functools import partial

from flask import Flask, current_app

from ml.app import Workspace, open_registry
from ml.catalog.annotations import AnnotationReader
from ml.catalog.database import Catalog
from ml.errors import DatabaseUnavailableError
from ml.serving.admission import Load
from ml.serving.lazy_catalog import Database
from ml.serving.model_host import ModelHost
from ml.serving.serving_cache import ServingCache
from ml.serving.serving_record import ServingRecord
from ml.settings import Settings
from ml.tasks.registered import find_task
from webapi.request_deadlines import current_deadline
from webapi.telemetry import database_metrics
from webapi.telemetry.metrics import Metrics

_EXTENSION = "mycoflow"
_logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Service:
    """The long-lived parts of one application."""

    settings: Settings
    database: Database
    models: ModelHost
    metrics: Metrics
    load: Load
    record: ServingRecord

    @property
    def reader(self) -> AnnotationReader:
        """Says what labels mean."""
        return find_task(self.settings.task)

    def start(self) -> None:
        """Open what can be opened, load the cached model and follow the alias. Call it after the fork.

        A database or MLflow that is down is no reason not to start: both are tried again later.

        Raises:
            SettingsError: a setting is wrong, or the metrics port is taken.
            SchemaVersionError: the database is at another migration.
        """
        self.metrics.serve(self.settings.metrics_host, self.settings.metrics_port)
        try:
            self.database.catalog()
        except DatabaseUnavailableError as error:
            _logger.error("Starting without the database, trying again at each request: %s", error)
        self.models.load_cached()
        self.models.start()

    def stop(self) -> None:
        """End the threads and close the connections."""
        self.models.stop()
        self.record.end()
        self.metrics.close()  # before the database, which a scrape would open again
        self.database.close()


def init_app(app: Flask, settings: Settings) -> Service:
    """Give an application its service."""
    cache = ServingCache(settings.mycoflow_home / "serving")
    database = Database(settings)
    record = ServingRecord(database, settings.alias_poll_seconds)
    models = ModelHost(
        cache,
        partial(open_registry, settings),
        settings.alias_poll_seconds,
        record.write,
        find_task(settings.task),
    )
    load = Load(settings.model_queue_size)
    metrics = Metrics(models, load)
    database_metrics.register(metrics.registry, settings, database)
    service = Service(settings, database, models, metrics, load, record)
    app.extensions[_EXTENSION] = service
    return service


def current(app: Flask | None = None) -> Service:
    """The service of an application; of the one that handles this request when None."""
    service: Service = (app or current_app).extensions[_EXTENSION]
    return service


def current_catalog() -> Catalog:
    """The catalog, whose transactions end with the request in progress.

    Raises: DatabaseUnavailableError.
    """
    return current().database.catalog().until(current_deadline())


def current_workspace() -> Workspace:
    """The deployment as ml.cycle sees it. MLflow is imported, and asked, when the registry is first used.

    What is begun there is not broken off by the request's deadline: a promotion moves the alias and completes its row.

    Raises: DatabaseUnavailableError.
    """
    service = current()
    return Workspace(service.settings, service.database.catalog(), open_registry(service.settings))
