"""What is known of an image, and what is kept of an answer: results, features, and who asked."""

from dataclasses import dataclass

import numpy as np
import sqlalchemy as sa
from numpy.typing import NDArray

from ml.catalog.answers import Answer
from ml.catalog.database import Catalog
from ml.catalog.images.feature_vectors import IDENTITY, load_features, save_features
from ml.catalog.items.item_records import ItemRecord, add_predicted
from ml.catalog.logs.results import find_result, save_prediction, save_result
from ml.ingest.validation import SanitisedImage
from ml.serving.loaded_model import LoadedModel


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
class PredictionStore:
    """Where one request's answer is looked up and kept.

    Args:
        model: the version that answers.
        account_id: who asks.
    """

    catalog: Catalog
    model: LoadedModel
    account_id: int

    def find(self, sha256: str) -> Prediction | None:
        """Answer from the stored result, or else from the features that training or a version with this backbone left.

        Raises: DatabaseUnavailableError.
        """
        backbone_id = self.model.card.backbone_id
        with self.catalog.begin() as connection:
            result = find_result(connection, sha256, self.model.version)
            if result is not None:
                prediction_id = save_prediction(connection, result.id, self.account_id, True)
                return Prediction(prediction_id, True, result.answer, result.is_only_predicted)
            vectors = load_features(connection, [sha256], backbone_id, [IDENTITY])
        features = vectors.get((sha256, IDENTITY))
        if features is None:
            return None
        answer = self.model.answer(features)
        with self.catalog.begin() as connection:
            return self._save(connection, sha256, answer)

    def keep(self, image: SanitisedImage, source: str, features: NDArray[np.float32], answer: Answer) -> Prediction:
        """Keep what was computed of an image whose bytes are stored.

        Args: source, how it came; features, (feature count,).
        Raises: DatabaseUnavailableError.
        """
        with self.catalog.begin() as connection:
            add_predicted(connection, ItemRecord(source, image.record))
            save_features(connection, {(image.sha256, IDENTITY): features}, self.model.card.backbone_id)
            return self._save(connection, image.sha256, answer)

    def _save(self, connection: sa.Connection, sha256: str, answer: Answer) -> Prediction:
        result = save_result(connection, sha256, self.model.version, answer)
        is_cached = not result.is_new
        prediction_id = save_prediction(connection, result.id, self.account_id, is_cached)
        return Prediction(prediction_id, is_cached, answer, may_be_harvested=True)
