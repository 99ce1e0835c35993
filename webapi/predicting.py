"""One prediction, from bytes or a URL to the stored answer. An image is computed once per model version."""

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256 as sha256_of

import numpy as np
import sqlalchemy as sa

from ml.backbones.preprocessing import to_pixels
from ml.catalog.annotations import Annotation
from ml.catalog.answers import Answer
from ml.catalog.database import Catalog
from ml.catalog.images.feature_vectors import IDENTITY, load_features, save_features
from ml.catalog.items.item_records import ItemRecord, add_predicted
from ml.catalog.logs.results import find_result, save_prediction, save_result
from ml.catalog.object_store import image_key
from ml.data.copies.near_copies import measure_images
from ml.data.harvest import harvest, is_harvestable
from ml.deadlines import Deadline
from ml.errors import CatalogError
from ml.ingest.fetch import fetch_image
from ml.ingest.photo_quality import shows_something
from ml.ingest.validation import SanitisedImage, sanitise
from ml.settings import Settings
from ml.tasks.registered import find_task
from webapi.admission import Load
from webapi.model_host import ServedModel
from webapi.request_deadlines import begin_until
from webapi.telemetry.prediction_metrics import PredictionMetrics

_HARVEST_SECONDS = 2.0
_logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Prediction:
    """What one request gets: its own id, and the answer.

    may_be_harvested: the image may be in no split yet.
    """

    id: int
    is_cached: bool
    answer: Answer
    may_be_harvested: bool


@dataclass(frozen=True)
class Predictor:
    """Answers one request.

    Args:
        settings: how sure is sure, and which hosts may be asked for images.
        load, metrics: shared by all requests.
        catalog: where results are looked up and stored.
        model: the version that answers; the request keeps it to its end.
        account_id: who asks.
        deadline: when it must be over.
    """

    settings: Settings
    load: Load
    metrics: PredictionMetrics
    catalog: Catalog
    model: ServedModel
    account_id: int
    deadline: Deadline

    def predict_upload(self, content: bytes) -> Prediction:
        """Answer from the stored result of these bytes and this version, or compute and store it.

        Args: content, the image file as received.
        Raises:
            InvalidImageError, DatabaseUnavailableError, ImageStoreError.
            ProblemError: 503, too many predictions are under way.
        """
        sha256 = sha256_of(content).hexdigest()
        prediction = self._find(sha256)
        if prediction is None:
            with self.load.admit():
                prediction = self._compute(content, source="upload")
        return self._finished(sha256, prediction)

    def predict_url(self, url: str) -> Prediction:
        """The same for what a URL points to.

        Raises: as predict_upload; FetchError.
        """
        with self.load.admit():
            with self.load.fetching.enter(self.deadline):
                content = fetch_image(url, self.settings.fetch_allowed_hosts, self.deadline)
            sha256 = sha256_of(content).hexdigest()
            prediction = self._find(sha256) or self._compute(content, source="url")
        return self._finished(sha256, prediction)

    def _find(self, sha256: str) -> Prediction | None:
        with self._begin() as connection:
            return self._answer_known(connection, sha256)

    def _answer_known(self, connection: sa.Connection, sha256: str) -> Prediction | None:
        """From the stored result, or else from the features that training or a version with this backbone left."""
        result = find_result(connection, sha256, self.model.version)
        if result is not None:
            prediction_id = save_prediction(connection, result.id, self.account_id, True)
            return Prediction(prediction_id, True, result.answer, result.is_only_predicted)
        vectors = load_features(connection, [sha256], self.model.classifier.card.backbone_id, [IDENTITY])
        features = vectors.get((sha256, IDENTITY))
        if features is None:
            return None
        return self._answer_computed(connection, sha256, self.model.classifier.answer(features[np.newaxis])[0])

    def _answer_computed(self, connection: sa.Connection, sha256: str, answer: Answer) -> Prediction:
        result = save_result(connection, sha256, self.model.version, answer)
        is_cached = not result.is_new
        prediction_id = save_prediction(connection, result.id, self.account_id, is_cached)
        return Prediction(prediction_id, is_cached, answer, may_be_harvested=True)

    def _compute(self, content: bytes, source: str) -> Prediction:
        card = self.model.classifier.card
        with self.load.decoding.enter(self.deadline), self.metrics.time_stage("decode"):
            image = sanitise(content)
            pixels = to_pixels(image.content, card.image_size)
        store_seconds = self._keep_file(image)  # before the row that names it
        with self._begin() as connection:
            _wait_for_twin(connection, image.sha256, self.model.version)
            if prediction := self._answer_known(connection, image.sha256):
                return prediction
            # For the model alone: others compute while this one stores.
            with self.load.computing.enter(self.deadline), self.metrics.time_stage("inference"):
                output = self.model.classifier.predict(pixels[np.newaxis])
            computed_at = time.perf_counter()
            add_predicted(connection, ItemRecord(source, image.record))
            save_features(connection, {(image.sha256, IDENTITY): output.features[0]}, card.backbone_id)
            prediction = self._answer_computed(connection, image.sha256, output.answers[0])
        self.metrics.observe_store(store_seconds + time.perf_counter() - computed_at)
        return prediction

    def _keep_file(self, image: SanitisedImage) -> float:
        began_at = time.perf_counter()
        self.catalog.store.put(image_key(image.sha256), image.content)
        return time.perf_counter() - began_at

    def _finished(self, sha256: str, prediction: Prediction) -> Prediction:
        """Count an answer, and keep what the model is sure about for training. The answer stands, whatever comes."""
        answer = prediction.answer
        self.metrics.count_answer(answer.top_class or "", answer.confidence, prediction.is_cached)
        annotation = find_task(self.settings.task).harvest(answer, self.settings.harvest_confidence)
        if prediction.may_be_harvested and annotation is not None:
            try:
                self._harvest(sha256, annotation)
            except CatalogError as error:  # the next request for this image tries again
                _logger.warning("Image %s is not harvested for now: %s", sha256, error)
        return prediction

    def _harvest(self, sha256: str, annotation: Annotation) -> None:
        # Whoever writes much, such as an ingestion, may hold the membership; the answer does not wait for long.
        deadline = self.deadline.sooner(_HARVEST_SECONDS)
        with begin_until(self.catalog, deadline) as connection:
            if not is_harvestable(connection, sha256, self.account_id):
                return  # found out without the lock that all writers share
        measure_images(self.catalog, [sha256])
        with begin_until(self.catalog, deadline) as connection:
            mirrored = self.settings.mirrored_views
            harvest(connection, sha256, annotation, self.model.version, self.account_id, mirrored, shows_something)

    @contextmanager
    def _begin(self) -> Iterator[sa.Connection]:
        with begin_until(self.catalog, self.deadline) as connection:
            yield connection


def _wait_for_twin(connection: sa.Connection, sha256: str, version: int) -> None:
    """Let a request for the same image and version, in this process or another, finish first."""
    connection.execute(sa.select(sa.func.pg_advisory_xact_lock(sa.func.hashtext(sha256), version)))
