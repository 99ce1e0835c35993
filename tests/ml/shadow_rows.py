"""A challenger in shadow, as rows: what two models said of uploads, without running a model."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import numpy as np
import sqlalchemy as sa

from ml.catalog.answers import Answer
from ml.catalog.database import Catalog
from ml.catalog.items.image_records import ImageRecord
from ml.catalog.items.item_records import ItemRecord, add_predicted
from ml.catalog.logs.results import save_prediction, save_result
from ml.catalog.models.model_versions import ModelVersion, find_model_version, save_model_version
from ml.catalog.object_store import image_key
from ml.catalog.shadows.shadow_answers import AnswerPair, Upload, save_pairs
from ml.catalog.shadows.shadow_records import begin_shadow, end_scoring
from ml.catalog.shadows.shadow_sample import draw_sample
from ml.ingest.validation import sanitise
from tests.tiny_model import noise_png

CHAMPION, CHALLENGER = 7, 8
NOW = datetime.now(UTC)


def answer_of(name: str | None, classes: Sequence[str], confidence: float, novelty: float | None = None) -> Answer:
    shares = np.full(len(classes), (1 - confidence) / (len(classes) - 1), np.float32)
    shares[0 if name is None else list(classes).index(name)] = confidence
    return Answer(name, confidence, confidence / 2, shares, novelty)


def add_upload(catalog: Catalog, seed: int, classes: Sequence[str], said: str | None, account_id: int | None) -> str:
    """Write a photo that an account asked the champion about. Returns: its hash."""
    photo = sanitise(noise_png(seed))
    catalog.store.put(image_key(photo.sha256), photo.content)
    with catalog.begin() as connection:
        if find_model_version(connection, CHAMPION) is None:
            for version in (CHAMPION, CHALLENGER):
                facts = ModelVersion(version, f"run{version}", None, f"{'0' * 64}:1", list(classes), 32, "fp32")
                save_model_version(connection, facts)
        record: ImageRecord = photo.record
        add_predicted(connection, ItemRecord("upload", record), account_id)
        result = save_result(connection, photo.sha256, CHAMPION, answer_of(said, classes, 0.6, 0.5))
        save_prediction(connection, result.id, account_id, False)
    return photo.sha256


def fill_shadow(
    catalog: Catalog,
    said: Sequence[tuple[str | None, str | None]],
    classes: Sequence[str],
    account_id: int | None = None,
    sample: int = 50,
) -> list[str]:
    """Write uploads and what champion and challenger say of each, the latest upload first. Returns: their hashes."""
    hashes = add_uploads(catalog, [one for one, _ in said], classes, account_id)
    answer_in_shadow(catalog, hashes, said, classes, sample)
    return hashes


def add_uploads(
    catalog: Catalog, said: Sequence[str | None], classes: Sequence[str], account_id: int | None = None
) -> list[str]:
    """Write photos that an account asked the champion about. Returns: their hashes."""
    return [add_upload(catalog, 1000 + place, classes, one, account_id) for place, one in enumerate(said)]


def answer_in_shadow(
    catalog: Catalog,
    hashes: Sequence[str],
    said: Sequence[tuple[str | None, str | None]],
    classes: Sequence[str],
    sample: int = 50,
) -> None:
    """Write what champion and challenger say of uploads, the latest upload first."""
    pairs = [
        AnswerPair(
            Upload(sha256, NOW - timedelta(minutes=place)),
            answer_of(one, classes, 0.6, 0.5),
            answer_of(other, classes, 0.8, 1.5 if place % 4 == 0 else 0.5),
        )
        for place, (sha256, (one, other)) in enumerate(zip(hashes, said, strict=True))
    ]
    with catalog.begin() as connection:
        save_pairs(connection, begin_shadow(connection, CHALLENGER, CHAMPION), pairs)
        # The versions have no snapshot, so that it is unknown what they learned from: here, from none of these.
        connection.execute(sa.text("UPDATE training.shadow_answers SET is_learned = false"))
        draw_sample(connection, CHALLENGER, sample)
        end_scoring(connection, CHALLENGER, None)
