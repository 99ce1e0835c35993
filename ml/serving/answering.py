"""Make one prediction, from bytes or a URL to the stored answer. An image is computed once per model version."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256 as sha256_of
from typing import Literal

import numpy as np

from ml.catalog.database import Catalog
from ml.catalog.locks import image_lock
from ml.catalog.object_store import image_key
from ml.deadlines import Deadline
from ml.errors import TargetRefusedError, UnknownHostError
from ml.ingest.fetch import fetch_image
from ml.serving.admission import Admission
from ml.serving.harvesting import Harvester
from ml.serving.loaded_model import LoadedModel
from ml.serving.prediction_store import Prediction, PredictionStore
from ml.serving.quotas import demand_image_quota
from ml.settings import Settings

Stage = Literal["decode", "inference", "store"]
ObserveStage = Callable[[Stage, float], None]  # seconds that a stage took, without the wait for a slot


@dataclass(frozen=True)
class Predictor:
    """Makes the prediction of one request.

    Args:
        settings: the confidence from which answers are harvested, and the hosts from which images may be fetched.
        admission: the limits that all requests share.
        catalog: the catalog that results are read from and written to.
        model: the model version that answers; it stays the same for the whole request.
        account_id: the account that requests the prediction.
        deadline: the deadline of the request.
        observe: called after each stage with its duration.
    """

    settings: Settings
    admission: Admission
    catalog: Catalog
    model: LoadedModel
    account_id: int
    deadline: Deadline
    observe: ObserveStage

    def predict_upload(self, content: bytes) -> Prediction:
        """Return the stored result for these bytes and this version. If there is none, compute and store it.

        Args: content, the image file as received.
        Raises:
            InvalidImageError, DatabaseUnavailableError, ImageStoreError.
            QuotaError: the account has stored as much as it may.
            BusyError: too many predictions are in progress, or AccountBusyError, too many of this account.
        """
        sha256 = sha256_of(content).hexdigest()
        prediction = self._store.find(sha256)
        if prediction is None:
            with self.admission.admit(self.account_id):
                prediction = self._compute(content, source="upload")
        self._harvester.harvest(sha256, prediction)
        return prediction

    def predict_url(self, url: str) -> Prediction:
        """Do the same for the image at a URL.

        Raises: the errors of predict_upload; FetchError.
        """
        with self.admission.fetch(self.account_id):  # and no place for a prediction: the host may be slow
            content = self._fetch(url)
        sha256 = sha256_of(content).hexdigest()
        prediction = self._store.find(sha256)
        if prediction is None:
            with self.admission.admit(self.account_id):
                prediction = self._compute(content, source="url")
        self._harvester.harvest(sha256, prediction)
        return prediction

    def _fetch(self, url: str) -> bytes:
        try:
            return fetch_image(url, self.settings.fetch_allowed_hosts, self.deadline)
        except UnknownHostError as error:  # the same answer as for a host of our own network
            raise TargetRefusedError(str(error)) from error

    def _compute(self, content: bytes, source: str) -> Prediction:
        demand_image_quota(self._catalog, self.settings, self.account_id, sha256_of(content).hexdigest())
        seconds = self.model.estimate_decoding(content)
        with self.admission.decoding.enter(self.deadline, seconds), self._timed("decode"):
            decoded = self.model.decode(content, self.deadline)
        image = decoded.image
        # Wait for a request for the same image, in this process or another, and use its result.
        with self._catalog.lock(image_lock(image.sha256)):
            if prediction := self._store.find(image.sha256):
                return prediction
            began_at = time.perf_counter()
            self.catalog.store.put(image_key(image.sha256), image.content)  # before the row that names it
            store_seconds = time.perf_counter() - began_at
            with self.admission.computing.enter(self.deadline), self._timed("inference"):
                output = self.model.predict(decoded.pixels[np.newaxis])
            computed_at = time.perf_counter()
            prediction = self._store.keep(image, source, output.features[0], output.answers[0])
        self.observe("store", store_seconds + time.perf_counter() - computed_at)
        return prediction

    @contextmanager
    def _timed(self, stage: Stage) -> Iterator[None]:
        began_at = time.perf_counter()
        try:
            yield
        finally:
            self.observe(stage, time.perf_counter() - began_at)

    @property
    def _catalog(self) -> Catalog:
        return self.catalog.until(self.deadline)

    @property
    def _store(self) -> PredictionStore:
        return PredictionStore(self._catalog, self.model, self.account_id)

    @property
    def _harvester(self) -> Harvester:
        return Harvester(self.settings, self.catalog, self.model, self.account_id, self.deadline)
