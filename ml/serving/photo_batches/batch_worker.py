"""Make the predictions of batches, in one thread of each process of the service.

A batch is worked on by whoever holds its lock. PostgreSQL frees the lock when the connection of a killed process ends,
and another process, or the same one after its restart, goes on with the first photo that still waits.
"""

import logging
import threading
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

from ml.catalog.database import Catalog
from ml.catalog.locks import batch_lock
from ml.catalog.logs import maintenance_mode
from ml.catalog.logs.prediction_batches import (
    NextPhoto,
    OpenBatch,
    begin_turn,
    end_photo,
    finish_batch,
    forgive_try,
    list_open_batches,
    take_next_photo,
)
from ml.catalog.object_store import archive_key
from ml.deadlines import Deadline
from ml.errors import (
    ArchiveError,
    BusyError,
    DatabaseUnavailableError,
    ErasedAccountError,
    FetchError,
    ImageStoreError,
    InvalidImageError,
    NoChampionError,
    QuotaError,
    SchemaVersionError,
    TargetMissingError,
    TargetRefusedError,
    TargetTooLargeError,
    TargetTooSlowError,
    TimeOverError,
)
from ml.serving.admission import AdmissionControl, BackgroundAdmission
from ml.serving.answering import Predictor, Stage
from ml.serving.lazy_catalog import Database
from ml.serving.model_host import ModelHost
from ml.serving.photo_batches.zip_contents import open_zip, read_photo
from ml.serving.prediction_store import Prediction
from ml.settings import Settings

MOST_TRIES = 3
_POLL_SECONDS = 2.0
_TURN_SECONDS = 60.0
_STOP_SECONDS = 5.0
# A photo waits until no request has been answered for this long, but not longer than this: batches go on at any load.
_QUIET_SECONDS, _PATIENCE_SECONDS = 0.15, 1.0
_LOOK_SECONDS = 0.01
# They say nothing about the photo: its turn comes again.
_OUTAGES = (BusyError, DatabaseUnavailableError, ImageStoreError, NoChampionError, SchemaVersionError)
_FAULT, _TIME_OVER = "internal-server-error", "time-over"
_RETRIED = frozenset({_FAULT, _TIME_OVER})
_OF_ADDRESSES: dict[type[FetchError], str] = {
    TargetRefusedError: "target-refused",
    TargetMissingError: "target-missing",
    TargetTooLargeError: "too-large",
    TargetTooSlowError: "target-too-slow",
}
_logger = logging.getLogger(__name__)


class Observer(Protocol):
    """Counts predictions, for the metrics."""

    def count_prediction(self, prediction: Prediction, /) -> None:
        """Count the answer of a prediction."""

    def observe_stage(self, stage: Stage, seconds: float, /) -> None:
        """Take the duration of a stage of a prediction."""


class BatchWorker:
    """Makes the predictions of batches.

    Args:
        observer: counts predictions.
    """

    def __init__(
        self,
        settings: Settings,
        database: Database,
        models: ModelHost,
        admission: AdmissionControl,
        observer: Observer,
    ) -> None:
        self._settings = settings
        self._database = database
        self._models = models
        self._requests = admission
        self._admission = BackgroundAdmission(admission, self._wait_for_requests)
        self._observer = observer
        self._stopping = threading.Event()
        self._woken = threading.Event()
        self._thread = threading.Thread(target=self._follow, name="batch-worker", daemon=True)

    @property
    def scratch(self) -> Path:
        """Return the folder for files that are on their way."""
        return self._settings.mycoflow_home / "uploads"

    def start(self) -> None:
        """Start to work."""
        self._thread.start()

    def stop(self) -> None:
        """Stop after the photo that is under way."""
        self._stopping.set()
        self._woken.set()
        if self._thread.is_alive():
            self._thread.join(_STOP_SECONDS)

    def wake(self) -> None:
        """Look for work now: a batch was added."""
        self._woken.set()

    def work(self) -> bool:
        """Give one batch its turn. Return whether one had it.

        Raises: DatabaseUnavailableError, ImageStoreError, and what else is out of order for a while.
        """
        catalog = self._database.catalog()
        with catalog.begin() as connection:
            batches = [] if maintenance_mode.is_on(connection) else list_open_batches(connection)
        for batch in batches:
            if self._models.current is None or self._stopping.is_set():
                return False
            with catalog.try_lock(batch_lock(batch.id)) as is_ours:
                if is_ours:
                    return self._serve(catalog, batch)
        return False

    def _follow(self) -> None:
        while not self._stopping.is_set():
            self._woken.clear()
            try:
                if self.work():
                    continue
            except _OUTAGES as error:
                _logger.warning("The batches wait for a while: %s", error)
            except Exception:
                _logger.exception("The turn of a batch failed; it gets another one")
            self._woken.wait(_POLL_SECONDS)

    def _serve(self, catalog: Catalog, batch: OpenBatch) -> bool:
        """Answer photos of a batch until its turn is over. Return whether it should have another one soon."""
        with catalog.begin() as connection:
            begin_turn(connection, batch.id)
        turn = Deadline(_TURN_SECONDS)
        with self._opened(catalog, batch) as archive:
            while (photo := self._take(catalog, batch)) is not None:
                if not self._answer(catalog, batch, photo, archive):
                    return True
                if not turn.remaining() and self._has_others(catalog, batch):
                    break
        if self._stopping.is_set():
            return False
        finish_batch(catalog, batch.id)
        return True

    def _take(self, catalog: Catalog, batch: OpenBatch) -> NextPhoto | None:
        if self._stopping.is_set():
            return None
        with catalog.begin() as connection:
            return None if maintenance_mode.is_on(connection) else take_next_photo(connection, batch.id)

    def _has_others(self, catalog: Catalog, batch: OpenBatch) -> bool:
        with catalog.begin() as connection:
            return any(each.id != batch.id for each in list_open_batches(connection))

    @contextmanager
    def _opened(self, catalog: Catalog, batch: OpenBatch) -> Iterator[zipfile.ZipFile | None]:
        """Open the ZIP of a batch; None if it has none, or lost it."""
        key = archive_key(batch.id)
        if not batch.has_archive or catalog.store.stat(key) is None:
            yield None
            return
        with catalog.store.open(key, self.scratch) as file, open_zip(file) as archive:
            yield archive

    def _answer(self, catalog: Catalog, batch: OpenBatch, photo: NextPhoto, archive: zipfile.ZipFile | None) -> bool:
        """Answer a photo, and store what became of it. Return False if its account was erased."""
        prediction_id, problem = None, None
        try:
            if photo.tries > MOST_TRIES:  # it ended the process each time
                problem = _FAULT
            else:
                prediction = self._predict(catalog, batch, photo, archive)
                self._observer.count_prediction(prediction)
                prediction_id = prediction.id
        except ErasedAccountError:
            return False
        except _OUTAGES:
            with catalog.begin() as connection:
                forgive_try(connection, photo.id)
            raise
        except Exception as error:
            problem = _problem_of(error)
            if problem in _RETRIED:
                _logger.warning("Photo %d of batch %d failed: %s", photo.id, batch.id, problem, exc_info=True)
                if photo.tries < MOST_TRIES:
                    return True
        with catalog.begin() as connection:
            end_photo(connection, photo.id, prediction_id=prediction_id, problem=problem)
        return True

    def _predict(
        self, catalog: Catalog, batch: OpenBatch, photo: NextPhoto, archive: zipfile.ZipFile | None
    ) -> Prediction:
        predictor = Predictor(
            settings=self._settings,
            admission=self._admission,
            catalog=catalog,
            model=self._models.demand_current(),
            account_id=batch.account_id,
            deadline=Deadline(self._settings.request_seconds),
            observe=self._observer.observe_stage,
        )
        if photo.entry is None:
            return predictor.predict_url(photo.name)
        if archive is None:
            raise ArchiveError("archive-lost", "Expected the ZIP of the batch in the store, got none. Send it again.")
        return predictor.predict_upload(read_photo(archive, photo.entry))

    def _wait_for_requests(self) -> None:
        """Wait until no request for a prediction is under way, nor was a moment ago; but not for long."""
        until = Deadline(_PATIENCE_SECONDS)
        while until.remaining() and not self._requests.is_quiet(_QUIET_SECONDS):
            if self._stopping.wait(_LOOK_SECONDS):
                return


def _problem_of(error: Exception) -> str:
    """Return the kind of problem, as the answer to a request for this photo would name it."""
    match error:
        case InvalidImageError() | ArchiveError():
            return error.reason.replace("_", "-")
        case QuotaError():
            return "quota-exceeded"
        case TimeOverError():
            return _TIME_OVER
        case FetchError():
            return _OF_ADDRESSES.get(type(error), "target-failed")
    return _FAULT
