"""Photos are measured and compared before the transactions that let them in, and never in one."""

from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
import sqlalchemy as sa
from PIL import Image

from ml.catalog.accounts.user_accounts import Account
from ml.catalog.annotations import ONE_CLASS, Annotation
from ml.catalog.answers import Answer
from ml.catalog.database import Catalog
from ml.catalog.items.item_records import ItemRecord, add_predicted
from ml.catalog.logs.results import save_prediction, save_result
from ml.catalog.object_store import image_key
from ml.catalog.tables import items
from ml.data.copies import compared, copy_hashes, near_copies
from ml.data.copies.copy_comparison import copy_evidence
from ml.data.copies.image_statistics import measure
from ml.data.copies.thumbnails import Grey
from ml.data.data_changes import Change, change_images, settle_batches
from ml.data.opinions import judge_prediction
from ml.ingest.folder import ingest_folder
from ml.ingest.validation import sanitise
from ml.upkeep.evaluation_leaks import remove_leaks
from tests.ml.data.copies.test_copy_comparison import scene
from tests.ml.ingest.arriving import CERTIFIED, TRUSTED, pull
from tests.transaction_watch import TransactionWatch

Put = Callable[[str, Image.Image], Path]


@pytest.fixture
def comparisons(watch: TransactionWatch, monkeypatch: pytest.MonkeyPatch) -> TransactionWatch:
    """Looks for open transactions whenever a photo is measured, hashed or compared. Nothing is remembered yet."""
    compared._evidence.clear()
    for remembered in (compared.stored_hashes, compared.sought_in_index, compared._stored_bits):
        remembered.cache_clear()
    monkeypatch.setattr(compared, "copy_evidence", watch.watched(copy_evidence))
    monkeypatch.setattr(near_copies, "measure", watch.watched(measure))
    for name in ("stored_hashes", "sought_hashes"):
        monkeypatch.setattr(copy_hashes, name, watch.watched(getattr(copy_hashes, name)))
    return watch


@pytest.fixture
def compares(comparisons: TransactionWatch, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many photos each comparison was with."""
    found: list[int] = []
    compare = compared.copy_evidence

    def count(grey: Grey, others: list[Grey], mirrored: bool) -> Grey:
        found.append(len(others))
        return compare(grey, others, mirrored)

    monkeypatch.setattr(compared, "copy_evidence", count)
    return found


def jpeg(picture: Image.Image) -> bytes:
    buffer = BytesIO()
    picture.save(buffer, "JPEG", quality=88)
    return buffer.getvalue()


def larger(seed: int) -> Image.Image:
    """A picture that is sharp enough for a source's."""
    return scene(seed).resize((140, 105))


def smaller(seed: int) -> Image.Image:
    """A copy of it."""
    return scene(seed).resize((130, 97))


@pytest.fixture
def put(tmp_path: Path) -> Put:
    """put("folder/class/name", picture) -> the folder, with this photo in it."""

    def written(path: str, picture: Image.Image) -> Path:
        file = tmp_path / f"{path}.jpg"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(jpeg(picture))
        return file.parent.parent

    return written


@pytest.fixture
def ask(catalog: Catalog) -> Callable[[Image.Image, int | None], tuple[str, int]]:
    """Leaves what a request leaves for a picture that was never measured: its hash, and its prediction's id."""

    def asked(picture: Image.Image, account_id: int | None = None) -> tuple[str, int]:
        image = sanitise(jpeg(picture))
        catalog.store.put(image_key(image.sha256), image.content)
        with catalog.begin() as connection:
            add_predicted(connection, ItemRecord("upload", image.record))
            result = save_result(connection, image.sha256, 1, Answer("a", 0.9, 0.8, np.array([0.9, 0.1], np.float32)))
            return image.sha256, save_prediction(connection, result.id, account_id, False)

    return asked


def label_of(catalog: Catalog, sha256: str) -> str | None:
    with catalog.begin() as connection:
        (names,) = connection.scalars(sa.select(items.c.class_names).where(items.c.id == sha256))
        return None if names is None else ", ".join(names)


def test_a_folder_s_photos_are_compared_with_what_is_there_and_with_each_other(
    catalog: Catalog, put: Put, comparisons: TransactionWatch, compares: list[int]
) -> None:
    ingest_folder(catalog, put("first/a/1", larger(1)), "pool")
    put("second/a/1", smaller(1))
    put("second/a/2", larger(2))
    report = ingest_folder(catalog, put("second/a/3", smaller(2)), "pool")
    assert (report.accepted, len(report.copies)) == (3, 2)
    assert sum(compares) >= 2
    assert comparisons.open == []


def test_a_batch_s_photos_are_compared_with_what_is_there_and_with_each_other(
    catalog: Catalog, put: Put, comparisons: TransactionWatch, compares: list[int]
) -> None:
    ingest_folder(catalog, put("first/a/1", larger(1)), "pool")
    for name, picture in {"1": smaller(1), "2": larger(2), "3": smaller(2), "4": larger(4)}.items():
        folder = put(f"drop/a/{name}", picture)
    assert len(pull(catalog, folder, TRUSTED)) == 1
    with catalog.begin() as connection:
        assert connection.scalar(sa.select(sa.func.count()).where(items.c.split.is_not(None))) == 3
    assert sum(compares) >= 2
    assert comparisons.open == []


def test_a_batch_is_certified_without_comparing_in_the_transaction(
    catalog: Catalog, put: Put, comparisons: TransactionWatch
) -> None:
    ingest_folder(catalog, put("first/a/1", larger(1)), "pool")
    for seed in (2, 3):
        folder = put(f"drop/a/{seed}", larger(seed))
    batch_ids = pull(catalog, folder, CERTIFIED)
    compared._evidence.clear()  # another process pulled the batch
    before = comparisons.checks
    compared.sought_in_index.cache_clear()
    assert settle_batches(catalog, batch_ids, "certify", "ada", mirrored=True) == 2
    assert comparisons.checks > before
    assert comparisons.open == []


@pytest.mark.parametrize("is_turned", [False, True])
def test_copies_that_are_relabelled_together_are_compared_before(
    catalog: Catalog,
    ask: Callable[[Image.Image], tuple[str, int]],
    comparisons: TransactionWatch,
    compares: list[int],
    is_turned: bool,
) -> None:
    pictures = [larger(1), smaller(1)]
    sha256s = [ask(picture)[0] for picture in (pictures[::-1] if is_turned else pictures)]
    change_images(catalog, [Change("relabel", sha256, Annotation(("a",))) for sha256 in sha256s], "ada", mirrored=True)
    with catalog.begin() as connection:
        assert connection.scalar(sa.select(sa.func.count(items.c.group_key.distinct()))) == 1
    assert compares == [1]
    assert comparisons.open == []


def test_an_expert_s_word_on_a_copy_is_compared_before(
    catalog: Catalog,
    put: Put,
    ask: Callable[[Image.Image], tuple[str, int]],
    comparisons: TransactionWatch,
    compares: list[int],
) -> None:
    ingest_folder(catalog, put("first/a/1", larger(1)), "pool")
    sha256, prediction_id = ask(smaller(1))
    with catalog.begin() as connection:
        row = "INSERT INTO users.accounts (login, password_hash, role) VALUES ('eve', 'x', 'expert') RETURNING id"
        expert = Account(connection.execute(sa.text(row)).scalar_one(), "eve", "expert")
    _, effect = judge_prediction(catalog, prediction_id, expert, "ok", None, True, {1: ["a", "b"]}, ONE_CLASS)
    assert (effect, label_of(catalog, sha256)) == ("confirmed", "a")
    assert compares == [1]
    assert comparisons.open == []


def test_the_check_for_crossing_copies_compares_in_no_transaction(
    catalog: Catalog, put: Put, comparisons: TransactionWatch, compares: list[int]
) -> None:
    ingest_folder(catalog, put("first/a/1", larger(1)), "pool")
    ingest_folder(catalog, put("second/a/1", smaller(1)), "pool")
    crossing = {"split": "evaluation", "evaluation_part": "anchor", "entered_pool_at": None, "copy_of": None}
    with catalog.begin() as connection:  # as a release that knew no copies left it
        (copy,) = connection.scalars(sa.select(items.c.id).where(items.c.copy_of.is_not(None)))
        connection.execute(sa.update(items).where(items.c.id == copy).values(crossing))
    compared._evidence.clear()  # they came long ago
    compares.clear()
    assert list(remove_leaks(catalog, True, "test").withdrawn.values()) == [copy]
    assert compares
    assert comparisons.open == []
