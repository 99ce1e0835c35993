"""The feature cache: stored features are not computed again, and parallel workers share the others."""

import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import sqlalchemy as sa
from PIL import Image

from ml.backbones.features import BATCH_IMAGES, ensure_features, ensure_views
from ml.catalog.database import Catalog
from ml.catalog.tables import features, items
from ml.errors import ImageStoreError
from ml.ingest.folder import ingest_folder
from tests.transaction_watch import TransactionWatch

SIZE = 32
BACKBONE_ID = "a-backbone:rgb-bilinear-1"
IMAGES = 3 * BATCH_IMAGES + 5


class CountingBackbone:
    """A fake backbone with 512 features: the mean colours of the image and of its left half, so that views differ."""

    def __init__(self) -> None:
        self.seen: Counter[bytes] = Counter()
        self._lock = threading.Lock()

    def __call__(self, pixels: np.ndarray) -> np.ndarray:
        with self._lock:
            self.seen.update(image.tobytes() for image in pixels)
        left = pixels[:, :, : SIZE // 2].mean(axis=(1, 2, 3), dtype=np.float32)
        return np.repeat(left[:, np.newaxis], 512, axis=1)


@pytest.fixture
def sha256s(catalog: Catalog, tmp_path: Path) -> list[str]:
    """Stored images, each different from the others and from its mirror image."""
    folder = tmp_path / "photos" / "amanita"
    folder.mkdir(parents=True)
    random = np.random.default_rng(0)
    for number in range(IMAGES):
        Image.fromarray(random.integers(0, 256, (SIZE, SIZE, 3), np.uint8)).save(folder / f"{number}.png")
    ingest_folder(catalog, folder.parent, "pool")
    with catalog.begin() as connection:
        return list(connection.scalars(sa.select(items.c.id).order_by(items.c.id)))


def test_features_are_computed_once_and_returned_in_the_requested_order(catalog: Catalog, sha256s: list[str]) -> None:
    backbone = CountingBackbone()
    first = ensure_features(catalog, backbone, BACKBONE_ID, SIZE, sha256s)
    again = ensure_features(catalog, backbone, BACKBONE_ID, SIZE, [*sha256s[::-1], sha256s[0]])
    assert first.shape == (IMAGES, 512)
    assert first.dtype == np.float32
    np.testing.assert_array_equal(again, [*first[::-1], first[0]])
    assert set(backbone.seen.values()) == {1}


def test_another_backbone_computes_its_own_features(catalog: Catalog, sha256s: list[str]) -> None:
    ensure_features(catalog, CountingBackbone(), BACKBONE_ID, SIZE, sha256s)
    other = CountingBackbone()
    ensure_features(catalog, other, "another-backbone:rgb-bilinear-1", SIZE, sha256s)
    assert other.seen.total() == IMAGES


def test_only_a_new_view_is_computed(catalog: Catalog, sha256s: list[str]) -> None:
    backbone = CountingBackbone()
    plain = ensure_features(catalog, backbone, BACKBONE_ID, SIZE, sha256s)
    views = ensure_views(catalog, backbone, BACKBONE_ID, SIZE, sha256s, ["mirrored", "identity"])
    np.testing.assert_array_equal(views[1], plain)
    assert (views[0] != plain).any(axis=1).all()
    assert backbone.seen.total() == 2 * IMAGES


def test_parallel_workers_share_the_work(catalog: Catalog, sha256s: list[str]) -> None:
    backbone, start = CountingBackbone(), threading.Barrier(4)

    def work(order: int) -> np.ndarray:
        wanted = sha256s if order % 2 else sha256s[::-1]
        start.wait()
        return ensure_features(catalog, backbone, BACKBONE_ID, SIZE, wanted)[:: 1 if order % 2 else -1]

    with ThreadPoolExecutor(4) as workers:
        found = list(workers.map(work, range(4)))
    for features_of_one in found[1:]:
        np.testing.assert_array_equal(features_of_one, found[0])
    assert backbone.seen.total() == IMAGES


def test_a_worker_that_fails_loses_one_batch_and_its_locks(catalog: Catalog, sha256s: list[str]) -> None:
    batches = 0

    def fail_at_the_second(pixels: np.ndarray) -> np.ndarray:
        nonlocal batches
        batches += 1
        if batches == 2:
            raise MemoryError
        return CountingBackbone()(pixels)

    with pytest.raises(MemoryError):
        ensure_features(catalog, fail_at_the_second, BACKBONE_ID, SIZE, sha256s)
    with catalog.begin() as connection:
        assert connection.scalar(sa.select(sa.func.count()).select_from(features)) == BATCH_IMAGES
    backbone = CountingBackbone()
    ensure_features(catalog, backbone, BACKBONE_ID, SIZE, sha256s)
    assert backbone.seen.total() == IMAGES - BATCH_IMAGES


def test_features_are_computed_in_no_transaction(catalog: Catalog, sha256s: list[str], watch: TransactionWatch) -> None:
    ensure_features(catalog, watch.watched(CountingBackbone()), BACKBONE_ID, SIZE, sha256s)
    assert watch.checks == 4  # batches
    assert watch.open == []


def test_a_missing_image_is_named(catalog: Catalog, sha256s: list[str]) -> None:
    with pytest.raises(ImageStoreError, match="f" * 64):
        ensure_features(catalog, CountingBackbone(), BACKBONE_ID, SIZE, [*sha256s, "f" * 64])


def test_progress_reaches_the_number_of_images_that_were_missing(catalog: Catalog, sha256s: list[str]) -> None:
    ensure_features(catalog, CountingBackbone(), BACKBONE_ID, SIZE, sha256s[:10])
    told: list[tuple[int, int]] = []
    ensure_features(catalog, CountingBackbone(), BACKBONE_ID, SIZE, sha256s, lambda *step: told.append(step))
    assert told[-1] == (IMAGES - 10, IMAGES - 10)
    assert told == sorted(told)
