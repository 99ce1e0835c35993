"""Keeping house on a real deployment: what goes, what never goes, and that it frees what it says."""

import hashlib
import os
import shutil
import threading
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest
import sqlalchemy as sa
from mlflow import MlflowClient

from ml import cycle
from ml.app import Workspace, load_version
from ml.catalog.accounts.user_accounts import Account
from ml.catalog.annotations import Annotation
from ml.catalog.answers import Answer
from ml.catalog.images.copy_index import ImageStatistics, save_statistics
from ml.catalog.images.feature_vectors import save_features
from ml.catalog.items.image_records import ImageRecord
from ml.catalog.items.item_records import ItemRecord, add_predicted
from ml.catalog.items.texts import read_text
from ml.catalog.logs.events import write_event
from ml.catalog.logs.prediction_batches import NewPhoto, add_prediction_batch, start_batch
from ml.catalog.logs.results import save_prediction, save_result
from ml.catalog.models import attempts
from ml.catalog.models.backbone_records import StoredBackbone, save_backbone
from ml.catalog.object_store import FolderStore, archive_key, backbone_key, image_key
from ml.catalog.tables import (
    accounts,
    annotations,
    backbones,
    copy_hashes,
    events,
    features,
    feedback,
    image_statistics,
    images,
    items,
    metadata,
    prediction_batches,
    predictions,
    results,
    texts,
)
from ml.data.copies.near_copies import index_items
from ml.data.descriptions import change_description
from ml.data.membership import Arrival, enter
from ml.errors import CatalogError, ModelLoadError
from ml.evaluation.promotion import promote_by_hand
from ml.training.recipes import Retrain
from ml.upkeep import forgetting
from ml.upkeep.erasing import erase_owner
from ml.upkeep.forgetting import Amount
from ml.upkeep.purge import Removal, purge_workspace

ANSWER = Answer("0", 1.0, 1.0, np.ones(1, np.float32))
CONTENT = b"bytes of an image"
LONG_AGO = timedelta(days=400)
PARAMETERS = Retrain(snapshot_size=200)
# A version with the backbone `backbone`, whose vectors stay.
VERSION = """
    INSERT INTO training.model_versions (version, mlflow_run_id, backbone_id, classes, image_size, precision)
    VALUES (1, 'r', 'backbone', '{a,b}', 32, 'fp32')
"""
AddPredicted = Callable[..., str]


def age(workspace: Workspace, *keys: str) -> None:
    """Make objects look as if nobody had written them lately."""
    store = workspace.catalog.store
    assert isinstance(store, FolderStore)
    for key in keys:
        os.utime(store.root / key, (0, 0))


@pytest.fixture
def add_predicted_image(workspace: Workspace) -> AddPredicted:
    """An image that somebody asked a prediction of, long ago; gives its hash."""
    numbers = iter(range(1000))

    def add(asked_before: timedelta = LONG_AGO) -> str:
        sha256 = hashlib.sha256(str(next(numbers)).encode()).hexdigest()
        workspace.catalog.store.put(image_key(sha256), CONTENT)
        age(workspace, image_key(sha256))
        with workspace.catalog.begin() as connection:
            add_predicted(connection, ItemRecord("upload", ImageRecord(sha256, "image/png", 32, 32, len(CONTENT))))
            connection.execute(sa.update(items).values(received_at=sa.func.now() - LONG_AGO).where(_is(sha256)))
            prediction_id = save_prediction(connection, save_result(connection, sha256, 1, ANSWER).id, None, False)
            at = sa.func.now() - asked_before
            of_it = predictions.c.id == prediction_id
            connection.execute(sa.update(predictions).values(requested_at=at).where(of_it))
        return sha256

    return add


def _is(sha256: str) -> sa.ColumnElement[bool]:
    return items.c.id == sha256


def prediction_of(connection: sa.Connection, sha256: str) -> int:
    query = sa.select(predictions.c.id).join(results).where(results.c.item_id == sha256)
    return int(connection.execute(query).scalar_one())


def amounts(removals: list[Removal]) -> dict[str, Amount]:
    return {removal.what: removal.amount for removal in removals}


def known(workspace: Workspace) -> set[str]:
    with workspace.catalog.begin() as connection:
        return set(connection.scalars(sa.select(items.c.id)))


def test_a_dry_run_says_what_goes_and_deletes_nothing(workspace: Workspace, add_predicted_image: AddPredicted) -> None:
    sha256 = add_predicted_image()
    said = amounts(purge_workspace(workspace, is_dry_run=True))
    assert said["images only predicted"] == Amount(1, len(CONTENT))
    assert known(workspace) == {sha256}
    assert amounts(purge_workspace(workspace, is_dry_run=False)) == said
    assert known(workspace) == set()
    assert not workspace.catalog.store.exists(image_key(sha256))
    assert amounts(purge_workspace(workspace, is_dry_run=False))["images only predicted"] == Amount(0)


def test_many_images_go_in_batches(
    workspace: Workspace, add_predicted_image: AddPredicted, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(forgetting, "ITEMS_AT_ONCE", 2)
    for _ in range(5):
        add_predicted_image()
    assert amounts(purge_workspace(workspace, is_dry_run=False))["images only predicted"].count == 5


def test_an_image_that_anything_speaks_of_stays(workspace: Workspace, add_predicted_image: AddPredicted) -> None:
    lately, disputed, labelled, held_back = (add_predicted_image(), *(add_predicted_image() for _ in range(3)))
    with workspace.catalog.begin() as connection:
        asked_again = save_result(connection, lately, 2, ANSWER).id
        save_prediction(connection, asked_again, None, False)
        opinion = {"prediction_id": prediction_of(connection, disputed), "verdict": "nok"}
        connection.execute(sa.insert(feedback).values(opinion))
        history = {"item_id": labelled, "class_names": ["a"], "origin": "curated", "said_by": "test"}
        connection.execute(sa.insert(annotations).values(history))
        connection.execute(sa.update(items).values(held_back="excluded").where(_is(held_back)))
    purge_workspace(workspace, is_dry_run=False)
    assert known(workspace) == {lately, disputed, labelled, held_back}


def test_an_image_goes_with_the_last_item_that_has_it(workspace: Workspace, add_predicted_image: AddPredicted) -> None:
    """Two items with one image and one text: the other part of each stays as long as a member has it."""
    sha256, text = add_predicted_image(), read_text("a chair")
    picture = ImageRecord(sha256, "image/png", 32, 32, len(CONTENT))
    both, words = ItemRecord("upload", picture, text), ItemRecord("upload", text=text)
    with workspace.catalog.begin() as connection:
        connection.execute(sa.text(VERSION))
        enter(connection, [Arrival(both, Annotation(("chair",)))], "pool", "test")
        add_predicted(connection, words)
        connection.execute(sa.update(items).values(received_at=sa.func.now() - LONG_AGO))
        save_features(connection, {(part, "identity"): np.zeros(1) for part in (sha256, text.sha256)}, "backbone")
        save_statistics(connection, {sha256: ImageStatistics(bytes(1024), 0, 0, 0, 1)})
        index_items(connection, [both.id])
    announced = amounts(purge_workspace(workspace, is_dry_run=True))["images only predicted"]
    assert amounts(purge_workspace(workspace, is_dry_run=False))["images only predicted"] == announced == Amount(2, 0)
    assert known(workspace) == {both.id}
    assert workspace.catalog.store.exists(image_key(sha256))
    assert parts(workspace) == {sha256, text.sha256}
    assert measured(workspace) == {sha256}

    with workspace.catalog.begin() as connection:  # as if it were only predicted, too
        nothing = {"split": None, "class_names": None, "label_origin": None, "entered_pool_at": None}
        connection.execute(sa.update(items).values(nothing))
        connection.execute(sa.delete(annotations))
    announced = amounts(purge_workspace(workspace, is_dry_run=True))["images only predicted"]
    gone = amounts(purge_workspace(workspace, is_dry_run=False))["images only predicted"]
    assert gone == announced == Amount(1, len(CONTENT))
    assert (known(workspace), parts(workspace), measured(workspace)) == (set(), set(), set())
    assert not workspace.catalog.store.exists(image_key(sha256))


def parts(workspace: Workspace) -> set[str]:
    """The hashes of all parts that are stored; each has features."""
    with workspace.catalog.begin() as connection:
        stored = {*connection.scalars(sa.select(images.c.sha256)), *connection.scalars(sa.select(texts.c.sha256))}
        assert set(connection.scalars(sa.select(features.c.part_sha256))) == stored
    return stored


def measured(workspace: Workspace) -> set[str]:
    """The hashes of all images that have a thumbnail; each can be found by hashes, and nothing else can."""
    with workspace.catalog.begin() as connection:
        statistics = dict(
            connection.execute(sa.select(image_statistics.c.id, image_statistics.c.image_sha256)).tuples().all()
        )
        assert set(connection.scalars(sa.select(copy_hashes.c.statistics_id))) == statistics.keys()
    return set(statistics.values())


@pytest.mark.parametrize("is_text", [False, True])
def test_a_part_that_a_new_item_takes_between_look_and_deletion_stays(
    workspace: Workspace, add_predicted_image: AddPredicted, is_text: bool
) -> None:
    """The purge has found the old item alone with the part, and waits for who adds another one."""
    sha256, text = add_predicted_image(), read_text("a chair")
    part = text.sha256 if is_text else sha256
    picture = ImageRecord("b" * 64 if is_text else sha256, "image/png", 32, 32, len(CONTENT))
    another = ItemRecord("upload", picture, text)
    with workspace.catalog.begin() as connection:
        if is_text:
            add_predicted(connection, ItemRecord("upload", text=text))
        connection.execute(sa.update(items).values(received_at=sa.func.now() - LONG_AGO))
        connection.execute(sa.text(VERSION))
        save_features(connection, {(part, "identity"): np.zeros(1)}, "backbone")
    purging = threading.Thread(target=purge_workspace, args=(workspace,), kwargs={"is_dry_run": False})
    with workspace.catalog.begin() as connection:
        add_predicted(connection, another)
        purging.start()
        purging.join(1)
        assert purging.is_alive()
    purging.join(60)
    assert known(workspace) == {another.id}
    with workspace.catalog.begin() as connection:
        stored = {*connection.scalars(sa.select(images.c.sha256)), *connection.scalars(sa.select(texts.c.sha256))}
        assert connection.scalars(sa.select(features.c.part_sha256)).all() == [part]
    assert part in stored
    assert workspace.catalog.store.exists(image_key(sha256)) is not is_text


def test_vectors_that_somebody_computed_of_a_part_that_is_gone_go_too(
    workspace: Workspace, add_predicted_image: AddPredicted
) -> None:
    stay = {add_predicted_image(timedelta(0)), read_text("a chair").sha256}
    with workspace.catalog.begin() as connection:
        connection.execute(sa.text(VERSION))
        add_predicted(connection, ItemRecord("upload", text=read_text("a chair")))
        save_features(connection, {(part, "identity"): np.zeros(1) for part in (*stay, "c" * 64)}, "backbone")
    said = amounts(purge_workspace(workspace, is_dry_run=True))
    assert said["feature vectors of backbones"] == Amount(1, 4)
    assert amounts(purge_workspace(workspace, is_dry_run=False)) == said
    assert parts(workspace) == stay


def test_no_table_has_a_text_once_its_items_are_forgotten(workspace: Workspace) -> None:
    """Its author's account is erased, and a later version of the item has another text."""
    account = "INSERT INTO users.accounts (login, password_hash, role) VALUES ('ada', 'x', 'user') RETURNING id"
    record = ItemRecord("upload", text=read_text("Ada Lovelace writes"))
    with workspace.catalog.begin() as connection:
        account_id = connection.execute(sa.text(account)).scalar_one()
        add_predicted(connection, record)
        save_prediction(connection, save_result(connection, record.id, 1, ANSWER).id, account_id, False)
        change_description(connection, record.id, read_text("Ada Lovelace signs"), f"account:{account_id}")
    assert tables_with(workspace, "Lovelace") == {"training.texts"}
    erase_owner(workspace.catalog, Account(account_id, "ada", "user"), "test")
    with workspace.catalog.begin() as connection:
        connection.execute(sa.update(items).values(received_at=sa.func.now() - LONG_AGO))
        connection.execute(sa.update(predictions).values(requested_at=sa.func.now() - LONG_AGO))
        connection.execute(sa.update(events).values(happened_at=sa.func.now() - LONG_AGO))
    purge_workspace(workspace, is_dry_run=False)
    assert known(workspace) == set()
    for found in ("Lovelace", record.id, read_text("Ada Lovelace signs").sha256):
        assert tables_with(workspace, found) == set()


def tables_with(workspace: Workspace, found: str) -> set[str]:
    """The tables that have this somewhere in a row."""
    with workspace.catalog.begin() as connection:
        return {
            name
            for name in metadata.tables
            if connection.scalar(
                sa.text(f"SELECT EXISTS (SELECT FROM {name} WHERE {name.split('.')[1]}::text LIKE :found)"),
                {"found": f"%{found}%"},
            )
        }


def test_a_former_version_that_was_only_predicted_goes(workspace: Workspace) -> None:
    with workspace.catalog.begin() as connection:
        add_predicted(connection, ItemRecord("upload", text=read_text("a chair")))
        version = change_description(connection, read_text("a chair").sha256, read_text("a stool"), "account:1")
        connection.execute(sa.delete(events))
        connection.execute(sa.update(items).values(received_at=sa.func.now() - LONG_AGO).where(items.c.id != version))
    purge_workspace(workspace, is_dry_run=False)
    assert known(workspace) == {version}


def test_members_snapshots_and_evaluation_sets_stay(filled_workspace: Workspace) -> None:
    workspace = filled_workspace
    cycle.take_snapshot(workspace, "key", "test", Retrain(snapshot_size=100))
    with workspace.catalog.begin() as connection:
        # As if they were only predicted: what a snapshot or a label's history names must stay nevertheless.
        nothing = {"split": None, "class_names": None, "label_origin": None, "entered_pool_at": None}
        in_pool = items.c.split == "pool"
        connection.execute(sa.update(items).values(**nothing).where(in_pool))
        connection.execute(sa.update(items).values(received_at=sa.func.now() - LONG_AGO))
        connection.execute(sa.delete(annotations))
    before = known(workspace)
    with workspace.catalog.begin() as connection:
        pinned = set(connection.scalars(sa.text("SELECT item_id FROM training.snapshot_items")))
        evaluation = set(connection.scalars(sa.select(items.c.id).where(items.c.split == "evaluation")))
    purge_workspace(workspace, is_dry_run=False)
    assert known(workspace) == pinned | evaluation
    assert len(known(workspace)) < len(before)


def test_bytes_that_somebody_writes_again_meanwhile_stay(
    workspace: Workspace, add_predicted_image: AddPredicted
) -> None:
    sha256 = add_predicted_image()
    workspace.catalog.store.put(image_key(sha256), CONTENT)  # its row is about to come
    purge_workspace(workspace, is_dry_run=False)
    assert known(workspace) == set()
    assert workspace.catalog.store.exists(image_key(sha256))


def test_an_image_that_is_asked_for_at_the_same_moment_stays(
    workspace: Workspace, add_predicted_image: AddPredicted
) -> None:
    sha256 = add_predicted_image()
    purging = threading.Thread(target=purge_workspace, args=(workspace,), kwargs={"is_dry_run": False})
    with workspace.catalog.begin() as connection:
        save_prediction(connection, save_result(connection, sha256, 1, ANSWER).id, None, True)
        purging.start()
        purging.join(0.5)
    purging.join(60)
    assert known(workspace) == {sha256}
    assert workspace.catalog.store.exists(image_key(sha256))


def test_old_predictions_and_events_go_unless_there_is_feedback(
    workspace: Workspace, add_predicted_image: AddPredicted
) -> None:
    quiet, disputed = add_predicted_image(), add_predicted_image()
    with workspace.catalog.begin() as connection:
        connection.execute(sa.update(items).values(received_at=sa.func.now()))  # the images stay
        opinion = {"prediction_id": prediction_of(connection, disputed), "verdict": "ok"}
        connection.execute(sa.insert(feedback).values(opinion))
        old, _ = (write_event(connection, "test", "tester", {}) for _ in range(2))
        is_old = events.c.id == old
        connection.execute(sa.update(events).values(happened_at=sa.func.now() - LONG_AGO).where(is_old))
    said = amounts(purge_workspace(workspace, is_dry_run=True))
    assert (said["predictions without feedback"], said["events"]) == (Amount(1), Amount(1))
    assert amounts(purge_workspace(workspace, is_dry_run=False)) == said
    with workspace.catalog.begin() as connection:
        left = connection.scalars(sa.select(results.c.item_id).join(predictions)).all()
    assert (left, known(workspace)) == ([disputed], {quiet, disputed})


def test_only_one_keeps_house_at_a_time(workspace: Workspace) -> None:
    with forgetting.lock_upkeep(workspace.catalog), pytest.raises(CatalogError, match="Another one is running"):
        purge_workspace(workspace, is_dry_run=True)
    purge_workspace(workspace, is_dry_run=True)


def size_of(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def register(workspace: Workspace, key: str) -> int:
    """A version that nobody judged."""
    attempt_id = cycle.take_snapshot(workspace, key, "test", PARAMETERS)
    cycle.train(workspace, attempt_id)
    return cycle.register(workspace, attempt_id)


def test_files_of_versions_that_never_served_go_and_others_stay(
    filled_workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ml.tasks.classification.fitting.head_training.MAXIMUM_EPOCHS", 1)
    settings = filled_workspace.settings.model_copy(
        update={"retention_model_versions": 1, "model_precision": "int8", "int8_minimum_agreement": 0.0}
    )
    workspace = replace(filled_workspace, settings=settings)
    cycle.retrain(workspace, "first", "test", PARAMETERS)
    fp32 = replace(workspace, settings=settings.model_copy(update={"model_precision": "fp32"}))
    assert (register(fp32, "second"), register(workspace, "third")) == (2, 3)
    for copy in (settings.mycoflow_home / "models").iterdir():
        os.utime(copy, (0, 0))

    home = settings.mycoflow_home
    before = size_of(home / "mlflow"), size_of(home / "models")
    said = amounts(purge_workspace(workspace, is_dry_run=True))
    assert (said["files of model versions"].count, said["local copies of versions"].count) == (1, 1)
    assert said["feature vectors of backbones"].count == 0  # a training is under way, as far as anybody knows
    with workspace.catalog.begin() as connection:
        for attempt_id in connection.scalars(sa.text("SELECT id FROM training.attempts")).all():
            attempts.finish_attempt(connection, attempt_id)

    done = amounts(purge_workspace(workspace, is_dry_run=False))
    assert before[0] - size_of(home / "mlflow") == done["files of model versions"].byte_count > 0
    assert before[1] - size_of(home / "models") == done["local copies of versions"].byte_count > 0
    assert done["feature vectors of backbones"].count > 0
    assert done["backbone files"].count == 0  # the int8 backbone of versions 1 and 3 was made from the same fp32 file
    with pytest.raises(ModelLoadError, match="train again"):
        load_version(workspace, 2)
    load_version(workspace, 1)
    load_version(workspace, 3)
    register(workspace, "fourth")  # the backbone is still there
    assert amounts(purge_workspace(workspace, is_dry_run=True))["files of model versions"].count == 1  # version 3 now
    mlflow_uri = settings.mlflow_tracking_uri
    MlflowClient(mlflow_uri, registry_uri=mlflow_uri).set_registered_model_alias("mycoflow", "favourite", "3")
    assert amounts(purge_workspace(workspace, is_dry_run=True))["files of model versions"].count == 0


def test_the_champion_still_loads_where_an_unused_version_has_the_same_files(
    filled_workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ml.tasks.classification.fitting.head_training.MAXIMUM_EPOCHS", 1)
    settings = filled_workspace.settings.model_copy(update={"retention_model_versions": 1})
    workspace = replace(filled_workspace, settings=settings)
    mlflow_uri = settings.mlflow_tracking_uri
    assert (register(workspace, "first"), mlflow_uri is not None) == (1, True)
    MlflowClient(mlflow_uri, registry_uri=mlflow_uri).copy_model_version("models:/mycoflow/1", "mycoflow")
    promote_by_hand(workspace, 2, actor="tester", reason="a copy of version 1")
    own = workspace.registry.download(2, settings.mycoflow_home / "models")
    with workspace.registry.run("my-experiments", "try", {}) as run:
        run.log_model(own)
    assert workspace.registry.register(run.mlflow_run_id, {"verdict": "pending"}) == 3
    assert register(workspace, "second") == 4

    assert amounts(purge_workspace(workspace, is_dry_run=True))["files of model versions"] == Amount(0)
    purge_workspace(workspace, is_dry_run=False)
    shutil.rmtree(settings.mycoflow_home / "models")
    for version in (1, 2, 3, 4):
        load_version(workspace, version)


def test_the_files_of_a_dead_backbone_go(workspace: Workspace) -> None:
    content = b"an old network"
    sha256 = hashlib.sha256(content).hexdigest()
    workspace.catalog.store.put(backbone_key(sha256), content)
    age(workspace, backbone_key(sha256))
    with workspace.catalog.begin() as connection:
        save_backbone(connection, StoredBackbone("old", "vgg16", sha256, sha256, "random:9", "fp32", 32, None))
    assert amounts(purge_workspace(workspace, is_dry_run=False))["backbone files"] == Amount(1, len(content))
    assert not workspace.catalog.store.exists(backbone_key(sha256))
    with workspace.catalog.begin() as connection:
        assert connection.execute(sa.select(sa.func.count()).select_from(backbones)).scalar_one() == 0


def test_old_and_interrupted_batches_of_photos_go_with_their_zips(workspace: Workspace) -> None:
    catalog, content = workspace.catalog, b"a ZIP"
    with catalog.begin() as connection:
        account = {"login": "ada", "password_hash": "x", "role": "user"}
        account_id = connection.execute(sa.insert(accounts).values(account).returning(accounts.c.id)).scalar_one()
        new, arriving, old, interrupted = (
            add_prediction_batch(connection, account_id, "a.zip", [NewPhoto("a.png", 0)], has_archive=True)
            for _ in range(4)
        )
        start_batch(connection, new)
        start_batch(connection, old)
        for batch_id, ago in ((old, LONG_AGO), (interrupted, timedelta(hours=2))):
            change = sa.update(prediction_batches).where(prediction_batches.c.id == batch_id)
            connection.execute(change.values(created_at=sa.func.now() - ago))
    for batch_id in (new, arriving, old, interrupted):
        catalog.store.put(archive_key(batch_id), content)
    said = amounts(purge_workspace(workspace, is_dry_run=True))
    assert said["prediction batches"] == Amount(2, 2 * len(content))
    assert amounts(purge_workspace(workspace, is_dry_run=False)) == said
    with catalog.begin() as connection:
        left = connection.scalars(sa.select(prediction_batches.c.id).order_by(prediction_batches.c.id)).all()
    assert left == [new, arriving]
    stored = [catalog.store.exists(archive_key(each)) for each in (new, arriving, old, interrupted)]
    assert stored == [True, True, False, False]
