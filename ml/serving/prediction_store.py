"""Look up and store predictions: results, features, and the account of each request."""

from dataclasses import dataclass

import numpy as np
import sqlalchemy as sa
from numpy.typing import NDArray

from ml.catalog.answers import Answer
from ml.catalog.database import Catalog
from ml.catalog.images.feature_vectors import IDENTITY, load_features, save_features
from ml.catalog.items.item_records import ItemRecord, add_predicted, keep_item
from ml.catalog.logs.results import find_result, save_prediction, save_result
from ml.ingest.validation import SanitisedImage
from ml.serving.loaded_model import LoadedModel


@dataclass(frozen=True)
class Prediction:
    """The result of one request.

    Args:
        id: id of this prediction.
        is_cached: whether the result was stored before.
        answer: the model's answer.
        may_be_harvested: the image may be in no split yet.
    """

    id: int
    is_cached: bool
    answer: Answer
    may_be_harvested: bool


@dataclass(frozen=True)
class PredictionStore:
    """Looks up and stores the answer of one request.

    Args:
        model: the version that answers.
        account_id: the account that requests the prediction.
    """

    catalog: Catalog
    model: LoadedModel
    account_id: int

    def find(self, sha256: str) -> Prediction | None:
        """Answer from the stored result, or from stored features of this backbone. Return None if there is neither.

        If features are used, store the result.

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
            return self._save(connection, sha256, answer) if keep_item(connection, sha256) else None

    def keep(self, image: SanitisedImage, source: str, features: NDArray[np.float32], answer: Answer) -> Prediction:
        """Store features and answer of an image whose bytes are stored.

        Args: source, `upload` or `url`; features, (feature count,).
        Raises: DatabaseUnavailableError.
        """
        with self.catalog.begin() as connection:
            add_predicted(connection, ItemRecord(source, image.record), self.account_id)
            save_features(connection, {(image.sha256, IDENTITY): features}, self.model.card.backbone_id)
            return self._save(connection, image.sha256, answer)

    def _save(self, connection: sa.Connection, sha256: str, answer: Answer) -> Prediction:
        result = save_result(connection, sha256, self.model.version, answer)
        is_cached = not result.is_new
        prediction_id = save_prediction(connection, result.id, self.account_id, is_cached)
        return Prediction(prediction_id, is_cached, answer, may_be_harvested=True)
