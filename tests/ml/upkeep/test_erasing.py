"""One's own photo is erased, wherever it went meanwhile, and the rest of the deployment goes on."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import sqlalchemy as sa

from ml import cycle
from ml.app import Workspace
from ml.catalog.accounts.user_accounts import Account
from ml.catalog.annotations import Annotation
from ml.catalog.answers import Answer
from ml.catalog.items.item_records import ItemRecord, add_predicted
from ml.catalog.logs.results import find_result, save_prediction, save_result
from ml.catalog.models.attempts import start_attempt
from ml.catalog.models.cross_fitted_answers import load_cross_fitted, save_cross_fitted
from ml.catalog.object_store import FolderStore, image_key
from ml.catalog.tables import (
    copy_hashes,
    cross_fitted_answers,
    evaluation_set_items,
    evaluations,
    features,
    feedback,
    harvests,
    image_statistics,
    images,
    items,
    predictions,
    snapshot_items,
    snapshots,
)
from ml.data.copies.near_copies import prepare_search
from ml.data.evaluation_sets import current_evaluation_set, load_evaluation_set
from ml.data.harvest import harvest
from ml.data.membership import confirm
from ml.data.snapshot_export import export_snapshot
from ml.errors import ImageStoreError, UnknownImageError
from ml.evaluation.scoring import score_version
from ml.ingest.digits import DigitFolders
from ml.ingest.folder import ingest_folder
from ml.ingest.validation import sanitise
from ml.training.recipes import Retrain
from ml.upkeep.backup import back_up
from ml.upkeep.erasing import erase_owner, erase_photo
from ml.upkeep.purge import purge_workspace

ANSWER = Answer("0", 1.0, 1.0, np.ones(1, np.float32))


def new_account(workspace: Workspace, login: str) -> Account:
    row = sa.text("INSERT INTO users.accounts (login, password_hash, role) VALUES (:login, 'x', 'user') RETURNING id")
    with workspace.catalog.begin() as connection:
        return Account(connection.execute(row, {"login": login}).scalar_one(), login, "user")


def send(workspace: Workspace, account: Account, content: bytes) -> str:
    """Store a photo as a prediction of version 1 does."""
    image = sanitise(content)
    workspace.catalog.store.put(image_key(image.sha256), image.content)
    with workspace.catalog.begin() as connection:
        add_predicted(connection, ItemRecord("upload", image.record), account.id)
        save_prediction(connection, save_result(connection, image.sha256, 1, ANSWER).id, account.id, False)
    return image.sha256


def count(workspace: Workspace, table: sa.Table, *conditions: sa.ColumnElement[bool]) -> int:
    with workspace.catalog.begin() as connection:
        query = sa.select(sa.func.count()).select_from(table).where(*conditions)
        return int(connection.execute(query).scalar_one())


def is_stored(workspace: Workspace, sha256: str) -> bool:
    return workspace.catalog.store.exists(image_key(sha256))


def digit(folder: Path, label: str, number: int) -> bytes:
    return sorted((folder / label).iterdir())[number].read_bytes()


def test_bytes_thumbnail_features_and_links_go_and_the_answer_stays(
    workspace: Workspace, png: Callable[[int], bytes]
) -> None:
    ada = new_account(workspace, "ada")
    sha256 = send(workspace, ada, png(1))
    prepare_search(workspace.catalog, [sha256], mirrored=True)
    with workspace.catalog.begin() as connection:
        connection.execute(sa.insert(features).values(part_sha256=sha256, backbone_id="b", vector=bytes(4)))
        assert harvest(connection, sha256, Annotation(("0",)), 1, ada.id, True, lambda _: True)
        opinion = {"prediction_id": 1, "account_id": ada.id, "verdict": "nok"}
        named = {"instead": "other", "proposed_name": "the one of my garden"}
        connection.execute(sa.insert(feedback).values(opinion | named))
    assert count(workspace, copy_hashes) > 0
    erase_photo(workspace.catalog, ada, sha256)
    assert not is_stored(workspace, sha256)
    for table in (images, image_statistics, copy_hashes, features, harvests):
        assert count(workspace, table) == 0, table.name
    for table in (predictions, feedback):
        assert (count(workspace, table), count(workspace, table, table.c.account_id.is_not(None))) == (1, 0), table.name
    assert count(workspace, feedback, feedback.c.proposed_name.is_not(None)) == 0
    assert count(workspace, items, items.c.held_back == "erased", items.c.entered_pool_at.is_(None)) == 1
    with pytest.raises(UnknownImageError):
        erase_photo(workspace.catalog, ada, sha256)


def test_a_photo_that_two_people_sent_stays_until_both_erase_it(
    workspace: Workspace, png: Callable[[int], bytes]
) -> None:
    ada, bob = (new_account(workspace, login) for login in ("ada", "bob"))
    sha256 = send(workspace, ada, png(1))
    send(workspace, bob, png(1))
    erase_photo(workspace.catalog, ada, sha256)
    assert is_stored(workspace, sha256)
    assert count(workspace, predictions, predictions.c.account_id == ada.id) == 0
    assert count(workspace, predictions, predictions.c.account_id == bob.id) == 1
    with pytest.raises(UnknownImageError):
        erase_photo(workspace.catalog, ada, sha256)
    erase_photo(workspace.catalog, bob, sha256)
    assert not is_stored(workspace, sha256)


@pytest.mark.parametrize("whole_account", [True, False])
def test_a_name_that_a_person_typed_goes_with_the_account_or_the_photo_and_others_keep_theirs(
    workspace: Workspace, png: Callable[[int], bytes], whole_account: bool
) -> None:
    people = [new_account(workspace, login) for login in ("ada", "bob")]
    for person in people:
        sha256 = send(workspace, person, png(1))
        with workspace.catalog.begin() as connection:
            asked = connection.execute(sa.select(sa.func.max(predictions.c.id))).scalar_one()
            said = {"verdict": "nok", "instead": "other", "proposed_name": f"found by {person.login}"}
            connection.execute(sa.insert(feedback).values(prediction_id=asked, account_id=person.id, **said))
    if whole_account:
        erase_owner(workspace.catalog, people[0], "test")
    else:
        erase_photo(workspace.catalog, people[0], sha256)
    with workspace.catalog.begin() as connection:
        names = set(connection.scalars(sa.select(feedback.c.proposed_name)))
    assert names == {None, "found by bob"}


def test_a_prediction_of_an_erased_account_keeps_no_photo(workspace: Workspace, png: Callable[[int], bytes]) -> None:
    ada, bob = (new_account(workspace, login) for login in ("ada", "bob"))
    sha256 = send(workspace, ada, png(1))
    send(workspace, bob, png(1))
    erase_owner(workspace.catalog, bob, "test")
    erase_photo(workspace.catalog, ada, sha256)
    assert not is_stored(workspace, sha256)


@pytest.mark.parametrize("is_sent_first", [True, False])
def test_a_photo_that_the_deployment_has_from_elsewhere_stays(
    workspace: Workspace, few_digits: DigitFolders, is_sent_first: bool
) -> None:
    ada, content = new_account(workspace, "ada"), digit(few_digits.first, "0", 0)
    if is_sent_first:
        send(workspace, ada, content)
    ingest_folder(workspace.catalog, few_digits.first, "pool", mirrored=False)
    sha256 = send(workspace, ada, content)
    erase_photo(workspace.catalog, ada, sha256)
    assert is_stored(workspace, sha256)
    assert count(workspace, items, items.c.id == sha256, items.c.entered_pool_at.is_not(None)) == 1
    assert count(workspace, predictions, predictions.c.account_id.is_not(None)) == 0


def test_somebody_else_s_photo_and_an_unknown_one_are_refused_alike(
    workspace: Workspace, png: Callable[[int], bytes]
) -> None:
    ada, bob = (new_account(workspace, login) for login in ("ada", "bob"))
    sha256 = send(workspace, ada, png(1))
    for other in (sha256, "0" * 64):
        with pytest.raises(UnknownImageError, match="that you asked about"):
            erase_photo(workspace.catalog, bob, other)
    assert is_stored(workspace, sha256)


def test_where_the_store_fails_the_photo_is_no_longer_used_and_goes_at_the_next_try(
    workspace: Workspace, png: Callable[[int], bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    ada = new_account(workspace, "ada")
    first, second = (send(workspace, ada, png(number)) for number in (1, 2))

    def fail(self: FolderStore, key: str) -> None:
        raise ImageStoreError("down")

    with monkeypatch.context() as broken:
        broken.setattr(FolderStore, "delete", fail)
        for sha256 in (first, second):
            with pytest.raises(ImageStoreError):
                erase_photo(workspace.catalog, ada, sha256)
    with workspace.catalog.begin() as connection:
        assert find_result(connection, first, 1) is None
    erase_photo(workspace.catalog, ada, first)
    assert (is_stored(workspace, first), is_stored(workspace, second)) == (False, True)
    dry, wet = (
        {each.what: each.amount.count for each in purge_workspace(workspace, is_dry_run=is_dry)}
        for is_dry in (True, False)
    )
    assert dry["erased photos"] == wet["erased photos"] == 1
    assert not is_stored(workspace, second)
    assert count(workspace, images) == 0
    assert count(workspace, predictions, predictions.c.account_id.is_not(None)) == 0


def test_a_photo_that_is_sent_again_is_stored_again(workspace: Workspace, png: Callable[[int], bytes]) -> None:
    ada = new_account(workspace, "ada")
    sha256 = send(workspace, ada, png(1))
    erase_photo(workspace.catalog, ada, sha256)
    assert send(workspace, ada, png(1)) == sha256
    with workspace.catalog.begin() as connection:
        found = find_result(connection, sha256, 1)
    assert found is not None and found.is_only_predicted
    assert count(workspace, items, items.c.image_sha256 == sha256) == 1


def test_an_opinion_on_an_erased_photo_brings_nothing_back(workspace: Workspace, png: Callable[[int], bytes]) -> None:
    ada = new_account(workspace, "ada")
    sha256 = send(workspace, ada, png(1))
    erase_photo(workspace.catalog, ada, sha256)
    with workspace.catalog.begin() as connection:
        assert not confirm(connection, sha256, Annotation(("0",)), "account:9", True, is_readmitted=True)
    assert count(workspace, items, items.c.split.is_not(None)) == 0


def test_a_learned_photo_leaves_a_tombstone_and_training_goes_on(
    filled_workspace: Workspace, few_digits: DigitFolders, tmp_path: Path
) -> None:
    workspace = filled_workspace
    ada = new_account(workspace, "ada")
    sha256 = send(workspace, ada, digit(few_digits.later, "0", 0))
    with workspace.catalog.begin() as connection:
        confirm(connection, sha256, Annotation(("0",)), "account:9", False)
        connection.execute(sa.update(items).where(items.c.id == sha256).values(
            split="pool", evaluation_part=None, entered_pool_at=sa.func.clock_timestamp()
        ))  # fmt: skip
    attempt_id = cycle.take_snapshot(workspace, "first", "test", Retrain(200))
    assert count(workspace, snapshot_items, snapshot_items.c.item_id == sha256) == 1
    erase_photo(workspace.catalog, ada, sha256)
    cycle.train(workspace, attempt_id)
    assert count(workspace, cross_fitted_answers, cross_fitted_answers.c.item_id == sha256) == 0
    assert count(workspace, snapshot_items, snapshot_items.c.item_id == sha256) == 1
    assert count(workspace, features, features.c.part_sha256 == sha256) == 0
    export_snapshot(workspace.catalog, 1, tmp_path / "export")
    entries = json.loads((tmp_path / "export" / "manifest.json").read_text())["images"]
    (erased,) = [entry for entry in entries if entry.get("erased")]
    assert (erased["sha256"], erased["file"], erased["text"]) == (sha256, None, None)
    purge_workspace(workspace, is_dry_run=False)
    assert count(workspace, items, items.c.id == sha256) == 1


def test_what_a_training_said_of_a_photo_goes_with_it(workspace: Workspace, png: Callable[[int], bytes]) -> None:
    ada = new_account(workspace, "ada")
    erased, kept = (send(workspace, ada, png(number)) for number in (1, 2))
    with workspace.catalog.begin() as connection:
        taken = {"cutoff": sa.func.now(), "requested_size": 1, "strategy": "test", "classes": ["0"], "pool_state": ""}
        snapshot_id = connection.execute(sa.insert(snapshots).values(taken).returning(snapshots.c.id)).scalar_one()
        attempt_id = start_attempt(connection, "first", "test", {}, snapshot_id)
        save_cross_fitted(connection, attempt_id, dict.fromkeys((erased, kept), np.ones(1, np.float32)))
    erase_photo(workspace.catalog, ada, erased)
    with workspace.catalog.begin() as connection:
        assert set(load_cross_fitted(connection, attempt_id)) == {kept}


def test_an_evaluated_photo_leaves_a_tombstone_and_figures_say_how_many_images_they_rest_on(
    trained: Workspace, few_digits: DigitFolders
) -> None:
    workspace = trained
    ada = new_account(workspace, "ada")
    sha256 = send(workspace, ada, digit(few_digits.later, "1", 0))
    with workspace.catalog.begin() as connection:
        confirm(connection, sha256, Annotation(("1",)), "account:9", False)
        entered = {"split": "evaluation", "evaluation_part": "recent", "entered_pool_at": None}
        connection.execute(sa.update(items).where(items.c.id == sha256).values(**entered))
        before, members = current_evaluation_set(connection)
    score_version(workspace, 1)
    erase_photo(workspace.catalog, ada, sha256)
    with workspace.catalog.begin() as connection:
        after, remaining = current_evaluation_set(connection)
        again = load_evaluation_set(connection, before)
        recorded = connection.execute(sa.select(evaluations.c.image_count).where(evaluations.c.part == "recent"))
        assert recorded.scalars().all() == [1]
    assert (after != before, len(members) - len(remaining), again) == (True, 1, remaining)
    assert count(workspace, evaluation_set_items, evaluation_set_items.c.item_id == sha256) == 1
    assert {each.part: each.image_count for each in score_version(workspace, 1, before)} == {"anchor": 60}


def test_during_a_backup_a_photo_is_erased_at_once_and_its_bytes_when_the_backup_ends(
    workspace: Workspace, png: Callable[[int], bytes], tmp_path: Path
) -> None:
    ada = new_account(workspace, "ada")
    first, second = (send(workspace, ada, png(number)) for number in (1, 2))

    def erase(done: int, total: int) -> None:
        if done == 1:
            erase_photo(workspace.catalog, ada, first)
        with workspace.catalog.begin() as connection:
            assert find_result(connection, first, 1) is None
        assert is_stored(workspace, first)

    back_up(workspace, tmp_path / "backup", erase)
    assert (is_stored(workspace, first), is_stored(workspace, second)) == (False, True)
    copied = [path.name for path in (tmp_path / "backup" / "store").rglob("*") if path.is_file()]
    assert {first, second} <= set(copied)
    back_up(workspace, tmp_path / "later")
    assert first not in [path.name for path in (tmp_path / "later" / "store").rglob("*")]
