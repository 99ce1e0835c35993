"""One prediction, from bytes to the stored answer. An image is computed once per model version."""

from dataclasses import dataclass
from hashlib import sha256 as sha256_of

import numpy as np
import sqlalchemy as sa

from ml.catalog.database import Catalog
from ml.catalog.features import load_features, save_features
from ml.catalog.images import ImageRecord, add_predicted
from ml.catalog.object_store import image_key
from ml.catalog.results import find_result, save_prediction, save_result
from ml.ingest.validation import SanitisedImage, sanitise
from ml.model.preprocessing import to_pixels
from webapi.model_host import ServedModel


@dataclass(frozen=True)
class Prediction:
    """What one request gets: its own id, and the full distribution (classes,) in the order of the model's classes."""

    id: int
    is_cached: bool
    probabilities: list[float]


def predict(catalog: Catalog, model: ServedModel, content: bytes, account_id: int | None) -> Prediction:
    """Answer from the stored result of these bytes and this version, or compute and store it. Record the request.

    Args:
        content: the image file as received.
        account_id: who asks; None for nobody known.
    Raises: InvalidImageError, DatabaseUnavailableError, ImageStoreError.
    """
    sha256 = sha256_of(content).hexdigest()
    with catalog.begin() as connection:
        if prediction := _answer_known(connection, model, sha256, account_id):
            return prediction
    image = sanitise(content)
    with catalog.begin() as connection:
        _wait_for_twin(connection, sha256, model.version)
        if prediction := _answer_known(connection, model, sha256, account_id):
            return prediction
        probabilities = _compute(catalog, connection, model, image)
        return _answer_computed(connection, model, sha256, probabilities, account_id)


def _answer_known(
    connection: sa.Connection, model: ServedModel, sha256: str, account_id: int | None
) -> Prediction | None:
    """From the stored result, or else from the features that training or an earlier version with this trunk left."""
    result = find_result(connection, sha256, model.version)
    if result is not None:
        return Prediction(save_prediction(connection, result.id, account_id, True), True, result.probabilities)
    features = load_features(connection, [sha256], model.classifier.card.trunk_id).get(sha256)
    if features is None:
        return None
    probabilities = model.classifier.classify(features[np.newaxis])[0].tolist()
    return _answer_computed(connection, model, sha256, probabilities, account_id)


def _answer_computed(
    connection: sa.Connection, model: ServedModel, sha256: str, probabilities: list[float], account_id: int | None
) -> Prediction:
    result_id = save_result(connection, sha256, model.version, probabilities)
    return Prediction(save_prediction(connection, result_id, account_id, False), False, probabilities)


def _wait_for_twin(connection: sa.Connection, sha256: str, version: int) -> None:
    """Let a request for the same image and version, in this process or another, finish first."""
    connection.execute(sa.select(sa.func.pg_advisory_xact_lock(sa.func.hashtext(sha256), version)))


def _compute(catalog: Catalog, connection: sa.Connection, model: ServedModel, image: SanitisedImage) -> list[float]:
    catalog.store.put(image_key(image.sha256), image.content)  # before the row that names it
    add_predicted(connection, _record(image))
    card = model.classifier.card
    output = model.classifier.predict(to_pixels(image.content, card.image_size)[np.newaxis])
    save_features(connection, {image.sha256: output.features[0]}, card.trunk_id)
    probabilities: list[float] = output.probabilities[0].tolist()
    return probabilities


def _record(image: SanitisedImage) -> ImageRecord:
    return ImageRecord(
        sha256=image.sha256,
        group_key=image.sha256,  # nothing is known of what it belongs to
        source="upload",
        media_type=image.media_type,
        width=image.width,
        height=image.height,
        byte_count=len(image.content),
    )
