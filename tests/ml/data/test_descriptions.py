"""A description that changes makes a new version of its item: it takes over, and the former one leaves."""

from collections.abc import Callable

import numpy as np
import pytest
import sqlalchemy as sa

from ml.catalog.annotations import Annotation
from ml.catalog.answers import Answer
from ml.catalog.database import Catalog
from ml.catalog.items.image_records import ImageRecord
from ml.catalog.items.item_records import ItemRecord, add_predicted
from ml.catalog.items.texts import TextRecord, read_text
from ml.catalog.logs.results import find_result, save_prediction, save_result
from ml.catalog.snapshots.stored_snapshots import load_snapshot
from ml.catalog.tables import annotations, feedback, items, predictions, results
from ml.data import membership
from ml.data.descriptions import change_description
from ml.data.evaluation_sets import current_evaluation_set, load_evaluation_set
from ml.data.harvest import take_back
from ml.data.membership import Arrival, State, enter, read_states
from ml.data.pool import newest_labelled
from ml.data.selection import SnapshotRules
from ml.data.snapshot_rules import create_snapshot
from ml.errors import ImageChangeError, UnknownImageError

CHAIR = Annotation(("chair", "wood"), {"from": "the shop"})
PICTURE = ImageRecord("a" * 64, "image/png", 32, 32, 100)
OLD, NEW = read_text("a chair"), read_text("a wooden chair")
AddImages = Callable[..., list[str]]


def add(catalog: Catalog, split: membership.Split = "pool", text: TextRecord | None = OLD) -> str:
    record = ItemRecord("shop", PICTURE, text, group="walk 7")
    with catalog.begin() as connection:
        enter(connection, [Arrival(record, CHAIR)], split, "test")
    return record.id


def change(catalog: Catalog, item_id: str, text: TextRecord | None) -> str:
    with catalog.begin() as connection:
        return change_description(connection, item_id, text, "account:1")


def state(catalog: Catalog, item_id: str) -> State:
    with catalog.begin() as connection:
        return read_states(connection, [item_id])[item_id]


def pool(catalog: Catalog) -> list[str]:
    with catalog.begin() as connection:
        return [item.item_id for item in newest_labelled(connection, None)]


@pytest.mark.parametrize("text", [NEW, None])
def test_the_new_version_takes_over_and_the_former_one_leaves_the_pool(
    catalog: Catalog, text: TextRecord | None
) -> None:
    former = add(catalog)
    before = state(catalog, former)
    version = change(catalog, former, text)
    assert version == ItemRecord("shop", PICTURE, text).id
    assert state(catalog, version) == before
    assert pool(catalog) == [version]
    assert (state(catalog, former).held_back, state(catalog, former).split) == ("superseded", None)
    with catalog.begin() as connection:
        row = connection.execute(sa.select(items).where(items.c.id == version)).one()
        first, said = connection.execute(sa.select(annotations).order_by(annotations.c.id)).all()
    assert (first.item_id, said.item_id, said.said_at) == (former, version, first.said_at)
    assert (row.supersedes, row.source) == (former, "shop")
    assert (said.class_names, said.annotation, said.said_by) == (["chair", "wood"], {"from": "the shop"}, "test")


def test_the_same_text_is_the_same_item(catalog: Catalog) -> None:
    item_id = add(catalog)
    assert change(catalog, item_id, read_text("a chair")) == item_id
    assert pool(catalog) == [item_id]


def test_a_snapshot_keeps_the_version_that_it_has_and_the_next_one_takes_the_new(
    catalog: Catalog, add_images: AddImages
) -> None:
    former = add(catalog)
    for name in ("chair", "wood"):
        add_images(name, 30)
    rules = SnapshotRules(100, 0.2, 0.3)
    with catalog.begin() as connection:
        first = create_snapshot(connection, rules, None)
    version = change(catalog, former, NEW)
    with catalog.begin() as connection:
        taken = load_snapshot(connection, first).items
        again = load_snapshot(connection, create_snapshot(connection, rules, None)).items
    assert {former, version} & {item.item_id for item in taken} == {former}
    assert {former, version} & {item.item_id for item in again} == {version}
    folds = {item.item_id: (item.fold, item.text_sha256, item.annotation) for item in [*taken, *again]}
    assert folds[former] == (folds[version][0], OLD.sha256, CHAIR)
    assert folds[version][1:] == (NEW.sha256, CHAIR)


def test_the_evaluation_set_has_one_version_of_an_item_in_each_of_its_own(catalog: Catalog) -> None:
    former = add(catalog, "evaluation")
    with catalog.begin() as connection:
        first, _ = current_evaluation_set(connection)
    version = change(catalog, former, NEW)
    with catalog.begin() as connection:
        second, members = current_evaluation_set(connection)
        assert [member.item_id for member in load_evaluation_set(connection, first)] == [former]
    assert first != second
    assert [(member.item_id, member.text_sha256, member.part) for member in members] == [
        (version, NEW.sha256, "anchor")
    ]


def test_a_former_description_comes_back_as_it_was(catalog: Catalog) -> None:
    first = add(catalog)
    second = change(catalog, first, NEW)
    assert change(catalog, second, OLD) == first
    assert pool(catalog) == [first]
    assert (state(catalog, first).held_back, state(catalog, second).held_back) == (None, "superseded")
    with catalog.begin() as connection:
        links = dict(connection.execute(sa.select(items.c.id, items.c.supersedes)).tuples().all())
    assert links == {first: second, second: None}


def test_nobody_s_word_brings_a_former_version_back(catalog: Catalog) -> None:
    former = add(catalog)
    version = change(catalog, former, NEW)
    with catalog.begin() as connection:
        word = (connection, former, Annotation(("stool",)), "account:1", True)
        assert not membership.confirm(*word)
        assert not membership.confirm(*word, is_readmitted=True)
        assert not membership.exclude(connection, former, "account:1")
        assert membership.suspend(connection, [former], "account:1") == 0
        assert not membership.withdraw(connection, former, version, "check")
    assert pool(catalog) == [version]
    with pytest.raises(ImageChangeError, match="current version"):
        change(catalog, former, read_text("a stool"))


def test_what_was_taken_out_stays_out_under_its_new_description(catalog: Catalog) -> None:
    former = add(catalog)
    with catalog.begin() as connection:
        membership.exclude(connection, former, "account:1")
    version = change(catalog, former, NEW)
    assert state(catalog, version).held_back == "excluded"
    assert pool(catalog) == []


def test_what_is_only_predicted_may_be_described_anew(catalog: Catalog) -> None:
    record = ItemRecord("upload", text=OLD)
    with catalog.begin() as connection:
        add_predicted(connection, record)
    version = change(catalog, record.id, NEW)
    assert version == NEW.sha256
    assert (state(catalog, version).held_back, state(catalog, version).split) == (None, None)
    assert state(catalog, record.id).held_back == "superseded"


def test_a_change_that_cannot_be_is_refused_and_nothing_changes(catalog: Catalog) -> None:
    item_id = add(catalog)
    other = ItemRecord("shop", text=NEW)
    with catalog.begin() as connection:
        enter(connection, [Arrival(other, CHAIR)], "pool", "test")
    both = add(catalog, text=NEW)
    with pytest.raises(ImageChangeError, match=f"one that makes the existing item {both}"):
        change(catalog, item_id, NEW)
    with pytest.raises(ImageChangeError, match="Exclude it instead"):
        change(catalog, other.id, None)
    with pytest.raises(UnknownImageError, match="known item"):
        change(catalog, "f" * 64, NEW)
    assert set(pool(catalog)) == {item_id, other.id, both}


def test_what_an_account_labelled_is_taken_back_in_its_new_version_too(catalog: Catalog) -> None:
    record = ItemRecord("upload", PICTURE, OLD, group="walk 7")
    with catalog.begin() as connection:
        add_predicted(connection, record)
        membership.confirm(connection, record.id, CHAIR, "account:7", mirrored=True)
    version = change(catalog, record.id, NEW)
    with catalog.begin() as connection:
        assert take_back(connection, 7, "ada") == 1
    assert state(catalog, version).held_back == "suspended"


def test_results_predictions_and_feedback_stay_with_the_version_that_they_are_about(catalog: Catalog) -> None:
    record = ItemRecord("upload", PICTURE, OLD)
    with catalog.begin() as connection:
        add_predicted(connection, record)
        result = save_result(connection, record.id, 1, Answer("chair", 1.0, 1.0, np.ones(1, np.float32)))
        prediction_id = save_prediction(connection, result.id, None, False)
        connection.execute(sa.insert(feedback).values(prediction_id=prediction_id, verdict="nok"))
    version = change(catalog, record.id, NEW)
    with catalog.begin() as connection:
        about = sa.select(results.c.item_id, feedback.c.verdict).join_from(results, predictions).join(feedback)
        assert connection.execute(about).all() == [(record.id, "nok")]
        assert find_result(connection, version, 1) is None
