"""The objects that the routes use, one of each per application: database, model, metrics."""

import logging
from dataclasses import dataclass
from functools import partial

from flask import Flask, current_app

from ml.app import Workspace, open_registry
from ml.catalog.annotations import AnnotationReader
from ml.catalog.database import Catalog
from ml.data.class_lists.known_classes import KnownClasses
from ml.errors import DatabaseUnavailableError
from ml.reporting.airflow_api import AirflowClient, open_airflow
from ml.serving.admission import AdmissionControl
from ml.serving.lazy_catalog import Database
from ml.serving.model_host import ModelHost
from ml.serving.photo_batches.batch_worker import BatchWorker
from ml.serving.picture_decoder.decoder_process import shared_decoder
from ml.serving.picture_decoder.photo_thumbnails import Thumbnails
from ml.serving.serving_cache import ServingCache
from ml.serving.serving_record import ServingRecord
from ml.serving.similar_photos import SimilarPhotos
from ml.settings import Settings
from ml.tasks.registered_tasks import find_task
from webapi.problems import unavailable
from webapi.request_deadlines import current_deadline
from webapi.telemetry import database_metrics
from webapi.telemetry.metrics import Metrics

_EXTENSION = "mycoflow"
_logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Service:
    """The long-lived objects of one application."""

    settings: Settings
    database: Database
    models: ModelHost
    metrics: Metrics
    admission: AdmissionControl
    record: ServingRecord
    similar: SimilarPhotos
    thumbnails: Thumbnails
    classes: KnownClasses
    airflow: AirflowClient | None  # None if the settings name none
    batches: BatchWorker

    @property
    def reader(self) -> AnnotationReader:
        """Says what labels mean."""
        return find_task(self.settings.task)

    def start(self) -> None:
        """Open the metrics port and the database, load the cached model and follow the alias. Call it after the fork.

        The service also starts while the database or MLflow is down. It tries both again later.

        Raises:
            SettingsError: a setting is wrong, or the metrics port is taken.
            SchemaVersionError: the database is at another migration.
        """
        self.metrics.serve(self.settings.metrics_host, self.settings.metrics_port)
        try:
            self.database.catalog()
        except DatabaseUnavailableError as error:
            _logger.error("The service starts without the database, and tries it again at each request: %s", error)
        shared_decoder().start()
        self.models.load_cached()
        self.models.start()
        self.batches.start()

    def stop(self) -> None:
        """Stop the threads and close the connections."""
        self.batches.stop()
        self.models.stop()
        shared_decoder().close()
        self.record.end()
        self.metrics.close()  # before the database: a scrape would open it again
        self.database.close()


def init_app(app: Flask, settings: Settings) -> Service:
    """Create an application's service."""
    cache = ServingCache(settings.mycoflow_home / "serving")
    database = Database(settings)
    record = ServingRecord(database, settings.alias_poll_seconds)
    models = ModelHost(
        cache,
        partial(open_registry, settings),
        settings.alias_poll_seconds,
        record.write,
        find_task(settings.task),
        database.known_run,
    )
    admission = AdmissionControl(settings.model_queue_size)
    metrics = Metrics(models, admission)
    database_metrics.register(metrics.registry, settings, database)
    similar = SimilarPhotos(admission)
    service = Service(
        settings,
        database,
        models,
        metrics,
        admission,
        record,
        similar,
        Thumbnails(),
        KnownClasses(),
        open_airflow(settings),
        BatchWorker(settings, database, models, admission, metrics.predictions),
    )
    app.extensions[_EXTENSION] = service
    return service


def current(app: Flask | None = None) -> Service:
    """Return the service of an application; if None, of the application that handles this request."""
    service: Service = (app or current_app).extensions[_EXTENSION]
    return service


def current_catalog() -> Catalog:
    """Return the catalog. Its statements stop at the deadline of the current request.

    Raises: DatabaseUnavailableError.
    """
    return current().database.catalog().until(current_deadline())


def current_airflow() -> AirflowClient:
    """Return the client of Airflow's API.

    Raises: ProblemError, 503, the settings name no Airflow.
    """
    airflow = current().airflow
    if airflow is None:
        detail = (
            "Expected a configured Airflow: set MYCOFLOW_AIRFLOW_URL, MYCOFLOW_AIRFLOW_USERNAME and "
            "MYCOFLOW_AIRFLOW_PASSWORD."
        )
        raise unavailable("airflow-not-configured", detail)
    return airflow


def current_workspace() -> Workspace:
    """Return the workspace for functions of ml. MLflow is imported and called when the registry is first used.

    The request's deadline does not interrupt its work: a promotion must move the alias and complete its row.

    Raises: DatabaseUnavailableError.
    """
    service = current()
    return Workspace(service.settings, service.database.catalog(), open_registry(service.settings))
