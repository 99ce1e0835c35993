"""The state of a deployment, from rows such as the nights write."""

from collections.abc import Callable
from dataclasses import fields
from datetime import UTC, datetime, timedelta

import pytest
import sqlalchemy as sa

from ml.catalog.database import Catalog
from ml.catalog.images.batches import FileOutcome, add_batch
from ml.catalog.images.label_origins import NewImages
from ml.catalog.models.attempts import finish_attempt, note_approval_asked, start_attempt
from ml.catalog.models.backbone_records import StoredBackbone, save_backbone
from ml.catalog.models.drift_checks import DriftCheck, save_drift_check
from ml.catalog.models.evaluations import Shortfall, save_monitoring
from ml.catalog.models.journal import complete_move, recent_moves, write_intent
from ml.catalog.models.training_failures import record_failure
from ml.catalog.models.verdicts import StoredVerdict, save_verdict
from ml.catalog.tables import attempts, items, training_failures
from ml.data.selection import SnapshotRules
from ml.data.snapshot_rules import create_snapshot
from ml.evaluation.floor import Floor
from ml.reporting.health import Health, read_health, recent_nights
from ml.settings import Settings

AddImages = Callable[..., list[str]]
AddChampion = Callable[..., None]


def read(catalog: Catalog) -> Health:
    with catalog.begin() as connection:
        return read_health(connection, Settings())


def take_snapshot(catalog: Catalog) -> int:
    with catalog.begin() as connection:
        return create_snapshot(connection, SnapshotRules(1000, 0.2, 0.3), None)


def move(catalog: Catalog, kind: str, to_version: int | None) -> None:
    with catalog.begin() as connection:
        complete_move(connection, write_intent(connection, kind, None, to_version, "test", "Because."))


def judge(catalog: Catalog, snapshot_id: int, decision: str = "promote", key: str = "one") -> int:
    with catalog.begin() as connection:
        attempt_id = start_attempt(connection, key, "test", {}, snapshot_id)
        verdict = StoredVerdict(1, None, 1, decision, ["Better."], [], 0.9, None)
        save_verdict(connection, attempt_id, verdict)
    return attempt_id


def test_the_health_of_a_new_catalog_is_empty(catalog: Catalog) -> None:
    health = read(catalog)
    known = {field.name for field in fields(health) if getattr(health, field.name)}
    assert known == set()
    assert health.deciding is None


def test_the_champion_has_its_latest_figures_of_each_part(catalog: Catalog, add_champion: AddChampion) -> None:
    add_champion(1, 0.9)
    add_champion(2, 0.6)
    add_champion(2, 0.8)
    with catalog.begin() as connection:
        save_backbone(connection, StoredBackbone("recipe", "vgg16", "0" * 64, "0" * 64, "random:0", "fp32", 32, None))
    health = read(catalog)
    assert (health.champion, health.precision, health.image_size, health.backbone, health.backbone_weights) == (
        2,
        "fp32",
        32,
        "vgg16",
        "random:0",
    )
    assert health.classes == ["b", "a"]
    assert [(part.part, part.main_figure) for part in health.parts] == [
        ("anchor", pytest.approx(0.85)),
        ("recent", 0.8),
    ]
    assert health.deciding is not None
    assert health.deciding.part == "recent"
    assert health.deciding.per_class["b"]["recall"] == 0.8
    assert health.deciding.confusion == [[9, 1], [0, 0]]
    assert health.promoted_at is not None
    assert health.promoted_at > health.deciding.evaluated_at


def test_a_rollback_changes_the_champion_and_holds_promotion_until_its_release(
    catalog: Catalog, add_champion: AddChampion
) -> None:
    add_champion(1, 0.9)
    add_champion(2, 0.7)
    move(catalog, "rollback", 1)
    assert (read(catalog).champion, read(catalog).is_promotion_held) == (1, True)
    move(catalog, "release", None)
    assert (read(catalog).champion, read(catalog).is_promotion_held) == (1, False)
    with catalog.begin() as connection:
        write_intent(connection, "promotion", 1, 2, "test", "It died.")
        moves = recent_moves(connection, 3)
    assert read(catalog).champion == 1
    assert [(each.kind, each.to_version) for each in moves] == [("release", None), ("rollback", 1), ("promotion", 2)]
    assert moves[1].moved_at < moves[0].moved_at


def test_an_unknown_champion_has_only_its_number(catalog: Catalog) -> None:
    move(catalog, "external", 7)
    health = read(catalog)
    assert (health.champion, health.new_images, health.snapshot_cutoff, health.classes) == (7, None, None, ())


def test_images_are_counted_by_origin_and_since_the_champions_snapshot(
    catalog: Catalog, add_images: AddImages, add_champion: AddChampion
) -> None:
    add_images("a", 20)
    add_images("b", 20)
    add_champion(1, 0.9, take_snapshot(catalog))
    add_images("a", 3, origin="confirmed")
    add_images("b", 2, origin="harvested")
    add_images("b", 5, split="evaluation", part="anchor")
    health = read(catalog)
    assert health.pool == {"curated": 40, "confirmed": 3, "harvested": 2}
    assert health.new_images == NewImages(human=3, harvested=2)
    assert health.snapshot_cutoff is not None
    assert timedelta(0) < datetime.now(UTC) - health.snapshot_cutoff < timedelta(minutes=5)


def test_images_of_a_rejected_training_count_as_tried(
    catalog: Catalog, add_images: AddImages, add_champion: AddChampion
) -> None:
    add_images("a", 20)
    add_images("b", 20)
    add_champion(1, 0.9, take_snapshot(catalog))
    add_images("a", 5)
    assert read(catalog).untried_images == 5
    judge(catalog, take_snapshot(catalog), "keep")
    add_images("b", 2)
    health = read(catalog)
    assert health.new_images == NewImages(human=7, harvested=0)
    assert health.untried_images == 2


def test_the_last_verdict_and_the_last_failure_are_read(
    catalog: Catalog, add_images: AddImages, add_champion: AddChampion
) -> None:
    add_images("a", 20)
    add_images("b", 20)
    snapshot_id = take_snapshot(catalog)
    add_champion(1, 0.9, snapshot_id)
    attempt_id = judge(catalog, snapshot_id, "keep")
    with catalog.begin() as connection:
        earlier = attempts.c.started_at - timedelta(minutes=10)
        connection.execute(sa.update(attempts).where(attempts.c.id == attempt_id).values(started_at=earlier))
        unfinished = start_attempt(connection, "unfinished", "test", {}, snapshot_id)
        record_failure(connection, "unfinished", "train", 1)
        failed_at = connection.execute(sa.select(training_failures.c.failed_at)).scalar_one()
    health = read(catalog)
    assert health.retraining_seconds == pytest.approx(600, abs=10)
    assert health.retrained_at is not None
    assert health.retrained_at < failed_at
    assert health.retraining_failed_at == failed_at
    with catalog.begin() as connection:
        finish_attempt(connection, attempt_id)  # after somebody cleared the failed step
    assert read(catalog).retraining_failed_at == failed_at  # that of the other attempt
    with catalog.begin() as connection:
        finish_attempt(connection, unfinished)
    assert read(catalog).retraining_failed_at is None


def test_an_approval_waits_from_question_to_answer_but_not_longer_than_a_day(
    catalog: Catalog, add_images: AddImages, add_champion: AddChampion
) -> None:
    add_images("a", 20)
    add_images("b", 20)
    snapshot_id = take_snapshot(catalog)
    add_champion(1, 0.9, snapshot_id)
    attempt_id = judge(catalog, snapshot_id)
    assert read(catalog).approvals_waiting == 0  # no approval was requested
    with catalog.begin() as connection:
        note_approval_asked(connection, attempt_id)
    assert read(catalog).approvals_waiting == 1
    with catalog.begin() as connection:
        two_days_ago = attempts.c.approval_asked_at - timedelta(days=2)
        connection.execute(sa.update(attempts).values(approval_asked_at=two_days_ago))
    assert read(catalog).approvals_waiting == 0
    with catalog.begin() as connection:
        note_approval_asked(connection, attempt_id)  # the step ran again
    assert read(catalog).approvals_waiting == 1
    with catalog.begin() as connection:
        finish_attempt(connection, attempt_id)
    assert read(catalog).approvals_waiting == 0


def test_quarantine_ends_when_no_image_of_the_batch_waits(catalog: Catalog, add_images: AddImages) -> None:
    waiting = add_images("a", 3, origin="stated", split=None)
    with catalog.begin() as connection:
        connection.execute(sa.update(items).values(held_back="waiting"))
        for number, is_quarantined in enumerate([True, True, False]):
            file = FileOutcome(f"{number}.png", "1", "a", "waiting", item_id=waiting[number])
            add_batch(connection, "drop", [file, file], is_quarantined, 0.5)
    assert (read(catalog).quarantined_batches, read(catalog).waiting_images) == (2, 3)
    with catalog.begin() as connection:
        decided = items.c.id == waiting[0]
        connection.execute(sa.update(items).where(decided).values(held_back="excluded"))
    assert (read(catalog).quarantined_batches, read(catalog).waiting_images) == (1, 2)


def test_nights_are_listed_oldest_first_and_the_last_one_is_the_time_of_monitoring(
    catalog: Catalog, add_champion: AddChampion
) -> None:
    add_champion(1, 0.9)
    with catalog.begin() as connection:
        for accuracy in (0.9, 0.8, 0.7):
            below = Floor(0.75).shortfalls(accuracy, {})
            save_monitoring(connection, 1, 1, accuracy, below, NewImages(5, 1), ["Low."] if below else [], {})
        nights = recent_nights(connection, 2)
    assert [(night.main_figure, night.new_images, night.reasons, night.shortfalls) for night in nights] == [
        (0.8, NewImages(5, 1), [], []),
        (0.7, NewImages(5, 1), ["Low."], [Shortfall(None, 0.7, 0.75)]),
    ]
    assert read(catalog).monitored_at == nights[-1].monitored_at


def test_drift_is_read_for_the_champion(catalog: Catalog, add_champion: AddChampion) -> None:
    add_champion(1, 0.9)
    add_champion(2, 0.9)
    nothing = dict.fromkeys(DriftCheck.__dataclass_fields__, None) | {
        name: 0 for name in DriftCheck.__dataclass_fields__ if name.endswith("_images") or name.endswith("_features")
    }
    with catalog.begin() as connection:
        save_drift_check(connection, DriftCheck(**nothing | {"model_version": 1, "moved": ["classes"]}))
    assert read(catalog).drift is None
    move(catalog, "rollback", 1)
    drift = read(catalog).drift
    assert drift is not None
    assert drift.moved == ["classes"]
