"""A challenger in shadow: two real models that differ, on uploads as the service leaves them."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from ml import cycle
from ml.app import Workspace
from ml.catalog.accounts.user_accounts import Account
from ml.catalog.object_store import image_key
from ml.catalog.shadows.shadow_records import find_shadow
from ml.catalog.tables import attempts, features, predictions, results, review_entries, shadow_answers, shadows
from ml.data.reviewing.deciding import Decision, decide
from ml.data.reviewing.queue_reading import QueueFilter, read_queue
from ml.errors import ImageStoreError, NoChampionError
from ml.evaluation import promotion
from ml.evaluation.shadowing import shadow_scoring
from ml.evaluation.shadowing.shadow_figures import read_different, read_figures
from ml.evaluation.shadowing.shadow_scoring import score_in_shadow
from ml.evaluation.shadowing.shadow_words import describe_shadow
from ml.ingest.digits import DigitFolders
from ml.tasks.classification.classifier import Classifier
from ml.training.recipes import Retrain
from ml.upkeep.erasing import erase_photo
from ml.upkeep.purge import purge_workspace
from tests.deployments import Origin, copy_deployment, fill_deployment
from tests.ml.uploaded_photos import read_photos, turn_photo, upload
from tests.transaction_watch import TransactionWatch


@pytest.fixture(scope="session")
def two_versions_once(
    trained_once: Origin, few_digits: DigitFolders, server_home: Path, tmp_path_factory: pytest.TempPathFactory
) -> Origin:
    """Version 2 learned from few photos, so it differs from version 1. Users asked about 120 turned photos."""

    def fill(workspace: Workspace) -> None:
        attempt_id = cycle.take_snapshot(workspace, "second", "test", Retrain(15))
        cycle.train(workspace, attempt_id)
        assert cycle.register(workspace, attempt_id) == 2
        upload(workspace, 1, [turn_photo(each) for each in read_photos(few_digits.later)])

    settings = copy_deployment(trained_once, server_home, tmp_path_factory.mktemp("shadow") / "home")
    return fill_deployment(settings, server_home, fill)


@pytest.fixture
def two_versions(opened: Callable[[Origin], Workspace], two_versions_once: Origin) -> Workspace:
    return opened(two_versions_once)


def rows_of(workspace: Workspace) -> list[Any]:
    with workspace.catalog.begin() as connection:
        return list(connection.execute(sa.select(shadow_answers).order_by(shadow_answers.c.item_id)))


def in_queue(workspace: Workspace, queue: str) -> set[str]:
    with workspace.catalog.begin() as connection:
        return set(connection.scalars(sa.select(review_entries.c.item_id).where(review_entries.c.queue == queue)))


def count(workspace: Workspace, table: sa.Table) -> int:
    with workspace.catalog.begin() as connection:
        return int(connection.scalar(sa.select(sa.func.count()).select_from(table)) or 0)


def test_both_models_answer_the_uploads_and_the_figures_say_where_they_differ(two_versions: Workspace) -> None:
    seen: list[tuple[int, int]] = []
    score_in_shadow(two_versions, 2, lambda done, total: seen.append((done, total)))
    assert seen == [(100, 120), (120, 120)]
    found = read_figures(two_versions.catalog, "classification", 2)
    assert found is not None
    rows = rows_of(two_versions)
    differing = [row for row in rows if row.champion_class != row.challenger_class]
    assert 0 < len(differing) < 120
    assert (found.counts.photos, found.counts.different) == (120, len(differing))
    assert found.different is not None
    assert found.different.share == len(differing) / 120
    assert found.different.low < found.different.share < found.different.high
    assert sum(each.photos for each in found.changes) == len(differing)
    assert [each.photos for each in found.changes] == sorted((each.photos for each in found.changes), reverse=True)
    assert found.counts.champion_confidence == pytest.approx(sum(row.champion_confidence for row in rows) / 120)
    assert (found.shadow.champion_version, found.shadow.problem) == (1, None)
    assert (found.of_sample, found.of_named) == (None, None)
    assert f"differs from version 1 on {len(differing)}" in " ".join(describe_shadow(found))


def test_the_champion_says_what_users_were_told(two_versions: Workspace) -> None:
    score_in_shadow(two_versions, 2)
    with two_versions.catalog.begin() as connection:
        told = dict(connection.execute(sa.select(results.c.item_id, results.c.confidence)).tuples().all())
    assert {row.item_id: row.champion_confidence for row in rows_of(two_versions)}.items() <= told.items()


def test_nothing_that_users_see_changes(two_versions: Workspace) -> None:
    def visible() -> list[object]:
        with two_versions.catalog.begin() as connection:
            tables = ("logs.results", "logs.predictions", "logs.feedback", "training.harvests", "training.items")
            return [connection.execute(sa.text(f"SELECT * FROM {table} ORDER BY 1")).all() for table in tables]

    before = visible()
    score_in_shadow(two_versions, 2)
    assert visible() == before
    with two_versions.catalog.begin() as connection:
        assert not connection.scalar(sa.select(sa.func.count()).where(results.c.model_version == 2))


def test_a_second_scoring_loads_no_model_and_changes_nothing(
    two_versions: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    score_in_shadow(two_versions, 2)
    before = rows_of(two_versions)

    def refuse(*_: object) -> None:
        raise AssertionError("a model was loaded")

    monkeypatch.setattr(shadow_scoring, "load_version", refuse)
    score_in_shadow(two_versions, 2)
    assert rows_of(two_versions) == before


def test_an_interrupted_scoring_goes_on_and_ends_the_same(
    two_versions: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shadow_scoring, "_AT_ONCE", 50)

    def stop(done: int, _: int) -> None:
        if done == 100:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        score_in_shadow(two_versions, 2, stop)
    assert len(rows_of(two_versions)) == 100
    seen: list[tuple[int, int]] = []
    score_in_shadow(two_versions, 2, lambda done, total: seen.append((done, total)))
    assert seen == [(20, 20)]
    continued = rows_of(two_versions)
    with two_versions.catalog.begin() as connection:
        connection.execute(sa.delete(shadows))
    score_in_shadow(two_versions, 2)
    assert rows_of(two_versions) == continued


def test_only_the_latest_uploads_of_the_last_days_are_scored(
    two_versions: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    with two_versions.catalog.begin() as connection:
        ids = list(connection.scalars(sa.select(predictions.c.id).order_by(predictions.c.id)))
        old = sa.update(predictions).where(predictions.c.id.in_(ids[:80]))
        connection.execute(old.values(requested_at=sa.func.now() - sa.text("interval '8 days'")))
        latest = set(
            connection.scalars(sa.select(results.c.item_id).join(predictions).where(predictions.c.id > ids[89]))
        )
    monkeypatch.setattr(shadow_scoring, "PHOTOS", 30)
    monkeypatch.setattr(shadow_scoring, "SAMPLE_PHOTOS", 0)
    score_in_shadow(two_versions, 2)
    assert {row.item_id for row in rows_of(two_versions)} == latest
    longer = replace(two_versions, settings=two_versions.settings.model_copy(update={"shadow_days": 9}))
    monkeypatch.setattr(shadow_scoring, "PHOTOS", 100)
    score_in_shadow(longer, 2)
    assert len(rows_of(two_versions)) == 100
    monkeypatch.setattr(shadow_scoring, "PHOTOS", 5)
    score_in_shadow(longer, 2)
    assert {row.item_id for row in rows_of(two_versions)} < latest  # the newest of them


def test_answers_are_computed_outside_transactions(two_versions: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    watch = TransactionWatch(two_versions.catalog)
    monkeypatch.setattr(Classifier, "answer", watch.watched(Classifier.answer))
    score_in_shadow(two_versions, 2)
    assert watch.checks >= 2
    assert watch.open == []


def test_a_photo_that_cannot_be_read_is_left_out_and_a_missing_store_is_told(two_versions: Workspace) -> None:
    with two_versions.catalog.begin() as connection:
        hashes = sorted(connection.scalars(sa.select(results.c.item_id).join(predictions)))
        connection.execute(sa.delete(features).where(features.c.part_sha256.in_(hashes)))
    two_versions.catalog.store.delete(image_key(hashes[0]))
    score_in_shadow(two_versions, 2)
    assert {row.item_id for row in rows_of(two_versions)} == set(hashes[1:])

    with two_versions.catalog.begin() as connection:
        connection.execute(sa.delete(shadows))
        connection.execute(sa.delete(features).where(features.c.part_sha256.in_(hashes)))
    for each in hashes[1:]:
        two_versions.catalog.store.delete(image_key(each))
    with pytest.raises(ImageStoreError, match="Read none"):
        score_in_shadow(two_versions, 2)
    found = read_figures(two_versions.catalog, "classification", 2)
    assert found is not None
    assert found.shadow.scored_at is None
    assert "failed: Expected to read some" in " ".join(describe_shadow(found))


def test_there_must_be_another_champion(two_versions: Workspace) -> None:
    with pytest.raises(NoChampionError, match="another version in production"):
        score_in_shadow(two_versions, 1)


def test_another_champion_begins_the_comparison_anew(two_versions: Workspace) -> None:
    score_in_shadow(two_versions, 2)
    sample = in_queue(two_versions, "disputed")
    assert sample
    promotion.promote_by_hand(two_versions, 2, actor="test", reason="test")
    score_in_shadow(two_versions, 1)
    rows = [row for row in rows_of(two_versions) if row.challenger_version == 1]
    assert len(rows) == 120
    assert in_queue(two_versions, "disputed") == {row.item_id for row in rows if row.sample_place is not None}
    promotion.roll_back(two_versions, actor="test", reason="test")
    assert score_in_shadow(two_versions, 2).champion_version == 1


def test_a_sample_of_the_differences_is_asked_once_and_without_any_answer(
    two_versions: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shadow_scoring, "SAMPLE_PHOTOS", 3)
    before = in_queue(two_versions, "uncertain")
    score_in_shadow(two_versions, 2)
    sample = {row.item_id for row in rows_of(two_versions) if row.sample_place is not None}
    assert len(sample) == 3
    assert {row.sample_place for row in rows_of(two_versions)} == {None, 1, 2, 3}
    assert all(row.is_different for row in rows_of(two_versions) if row.item_id in sample)
    assert in_queue(two_versions, "disputed") == sample
    assert in_queue(two_versions, "uncertain") == before - sample  # not asked twice, and never with the model's answer
    score_in_shadow(two_versions, 2)
    assert in_queue(two_versions, "disputed") == sample
    monkeypatch.setattr(shadow_scoring, "SAMPLE_PHOTOS", 5)
    score_in_shadow(two_versions, 2)
    assert sample < in_queue(two_versions, "disputed")


def test_a_new_answer_to_a_photo_of_the_sample_does_not_show_it_twice(two_versions: Workspace) -> None:
    score_in_shadow(two_versions, 2)
    sample = in_queue(two_versions, "disputed")
    with two_versions.catalog.begin() as connection:
        for row in connection.execute(sa.select(results).where(results.c.item_id.in_(sample))).mappings().all():
            copy = {name: row[name] for name in row if name not in ("id", "computed_at")} | {"model_version": 7}
            connection.execute(sa.insert(results).values(copy))
    assert in_queue(two_versions, "disputed") == sample
    assert not in_queue(two_versions, "uncertain") & sample


def test_what_experts_say_shows_which_model_is_right(two_versions: Workspace, expert: Account) -> None:
    score_in_shadow(two_versions, 2)
    rows = {row.item_id: row for row in rows_of(two_versions) if row.sample_place is not None}
    asked = read_queue(two_versions.catalog, QueueFilter("disputed"), 50, None).shown
    assert {each.entry.item_id for each in asked} == rows.keys()
    decisions = [
        Decision(each.entry.item_id, "disputed", each.seen, "correct", rows[each.entry.item_id].champion_class)
        for each in asked
    ]
    outcome = decide(two_versions.catalog, expert, decisions, True, two_versions.task)
    assert len(outcome.decided) == len(rows)
    assert in_queue(two_versions, "disputed") == set()
    found = read_figures(two_versions.catalog, "classification", 2)
    assert found is not None
    assert found.of_sample is not None
    assert (found.of_sample.photos, found.of_sample.champion, found.of_sample.challenger) == (len(rows), 1.0, 0.0)
    assert found.of_sample.is_significant is (2 * 0.5 ** len(rows) < 0.05)
    assert (found.counts.sample, found.counts.sample_done) == (len(rows), len(rows))
    page = read_different(two_versions.catalog, 2, 200, None)
    assert {each.item_id for each in page.photos if each.named is not None} >= rows.keys()


def test_photos_that_a_training_learned_from_are_no_witnesses(
    two_versions: Workspace, few_digits: DigitFolders
) -> None:
    known = upload(two_versions, 1, read_photos(few_digits.first)[:9])
    score_in_shadow(two_versions, 2)
    learned = {row.item_id for row in rows_of(two_versions) if row.is_learned}
    assert learned == set(known)
    assert not in_queue(two_versions, "disputed") & learned
    found = read_figures(two_versions.catalog, "classification", 2)
    assert found is not None
    assert (found.counts.photos, found.counts.fresh) == (129, 120)
    assert found.of_named is None  # the labels of the nine are those that both models have learned


def test_an_erased_photo_takes_its_answers_along(two_versions: Workspace, expert: Account) -> None:
    score_in_shadow(two_versions, 2)
    (first, *others) = sorted(in_queue(two_versions, "disputed"))
    with two_versions.catalog.begin() as connection:
        connection.execute(sa.update(predictions).values(account_id=expert.id))
    erase_photo(two_versions.catalog, expert, first)
    assert first not in {row.item_id for row in rows_of(two_versions)}
    assert in_queue(two_versions, "disputed") == set(others)
    score_in_shadow(two_versions, 2)
    assert first not in {row.item_id for row in rows_of(two_versions)}


def test_a_purge_takes_old_photos_and_decided_challengers(two_versions: Workspace) -> None:
    score_in_shadow(two_versions, 2)
    with two_versions.catalog.begin() as connection:
        connection.execute(sa.update(attempts).values(finished_at=sa.func.now()))
    purge_workspace(two_versions, is_dry_run=False)
    assert len(rows_of(two_versions)) == 120
    with two_versions.catalog.begin() as connection:
        past = sa.func.now() - sa.text("interval '91 days'")
        old = connection.scalar(sa.select(results.c.item_id).join(predictions).limit(1))
        of_old = sa.select(results.c.id).where(results.c.item_id == old)
        connection.execute(sa.text("UPDATE training.items SET received_at = now() - interval '91 days'"))
        connection.execute(sa.update(predictions).where(predictions.c.result_id.in_(of_old)).values(requested_at=past))
    purge_workspace(two_versions, is_dry_run=False)
    assert old not in {row.item_id for row in rows_of(two_versions)}
    assert len(rows_of(two_versions)) == 119

    with two_versions.catalog.begin() as connection:
        connection.execute(sa.update(attempts).values(finished_at=past))
    dry = {each.what: each.amount.count for each in purge_workspace(two_versions, is_dry_run=True)}
    assert dry["answers of challengers in shadow"] == 119
    done = {each.what: each.amount.count for each in purge_workspace(two_versions, is_dry_run=False)}
    assert done["answers of challengers in shadow"] == 119
    assert (count(two_versions, shadows), count(two_versions, shadow_answers)) == (0, 0)
    assert in_queue(two_versions, "disputed") == set()
    assert in_queue(two_versions, "uncertain")  # they are in the queue of uncertain answers again
    with two_versions.catalog.begin() as connection:
        assert find_shadow(connection, 2) is None


@pytest.fixture
def expert(two_versions: Workspace) -> Account:
    row = sa.text("INSERT INTO users.accounts (login, password_hash, role) VALUES ('eve', 'x', 'expert') RETURNING id")
    with two_versions.catalog.begin() as connection:
        return Account(connection.execute(row).scalar_one(), "eve", "expert")
