"""One alert per event, however many nights it lasts."""

from collections.abc import Sequence
from datetime import timedelta

import pytest
import sqlalchemy as sa

from ml.catalog.database import Catalog
from ml.catalog.images.label_origins import NewImages
from ml.catalog.logs.outbox import latest_alerts
from ml.catalog.models import evaluations
from ml.catalog.models.attempts import overdue_requests, start_attempt
from ml.catalog.models.model_versions import ModelVersion, save_model_version
from ml.catalog.models.training_failures import record_failure
from ml.catalog.tables import attempts, evaluation_sets, snapshots
from ml.errors import SnapshotError
from ml.evaluation.champion_notices import raise_nightly_alerts
from ml.evaluation.floor import Floor
from ml.reporting import training_notices
from ml.reporting.training_notices import notify_overdue
from ml.settings import Settings


@pytest.fixture
def evaluation_set(catalog: Catalog) -> int:
    """Three versions and an evaluation set for the nights. Returns: the version of the set."""
    with catalog.begin() as connection:
        for version in (1, 2, 3):
            save_model_version(connection, ModelVersion(version, "run", None, "backbone", ["a", "b"], 32, "fp32"))
        insert = sa.insert(evaluation_sets).values(content_sha256="a").returning(evaluation_sets.c.version)
        return int(connection.execute(insert).scalar_one())


@pytest.fixture
def attempt(catalog: Catalog) -> int:
    """A training with the request key `run-1`."""
    with catalog.begin() as connection:
        insert = sa.insert(snapshots).values(
            cutoff=sa.func.clock_timestamp(), requested_size=2, strategy="newest", classes=["a"], pool_state="one"
        )
        snapshot_id = connection.execute(insert.returning(snapshots.c.id)).scalar_one()
        return start_attempt(connection, "run-1", "test", {}, snapshot_id)


def play(
    catalog: Catalog,
    evaluation_set: int,
    nights: Sequence[tuple[int, float]],
    new_images: int = 0,
    recall: float = 0.9,
) -> list[str]:
    """Plays nights of (version, accuracy). Returns: the titles of all alerts so far, oldest first."""
    floor = Floor(0.7, {"amanita": 0.8})
    for version, accuracy in nights:
        below = floor.shortfalls(accuracy, {"amanita": recall})
        with catalog.begin() as connection:
            found = NewImages(human=new_images, harvested=0)
            evaluations.save_monitoring(connection, version, evaluation_set, accuracy, below, found, [], {})
            raise_nightly_alerts(connection, Settings(), version, below, new_images)
    return titles(catalog)


def titles(catalog: Catalog) -> list[str]:
    with catalog.begin() as connection:
        return [alert.title for alert in reversed(latest_alerts(connection, 100))]


def test_good_nights_raise_no_alert(catalog: Catalog, evaluation_set: int) -> None:
    assert play(catalog, evaluation_set, [(1, 0.9), (1, 0.7)], new_images=499) == []


def test_a_low_accuracy_raises_one_alert_until_the_model_recovers(catalog: Catalog, evaluation_set: int) -> None:
    once = play(catalog, evaluation_set, [(1, 0.9), (1, 0.6), (1, 0.61), (1, 0.59)])
    assert once == ["Accuracy is below the floor: 60.0%"]
    again = play(catalog, evaluation_set, [(1, 0.75), (1, 0.65), (1, 0.65)])
    assert again == [*once, "Accuracy is below the floor: 65.0%"]


def test_a_class_below_its_own_floor_is_a_separate_event(catalog: Catalog, evaluation_set: int) -> None:
    low = play(catalog, evaluation_set, [(1, 0.6), (1, 0.6)])
    both = play(catalog, evaluation_set, [(1, 0.6), (1, 0.6)], recall=0.5)
    assert both == [*low, "amanita is below its floor: 50.0%"]
    assert play(catalog, evaluation_set, [(1, 0.9), (1, 0.9)], recall=0.6) == both
    assert play(catalog, evaluation_set, [(1, 0.9), (1, 0.6)]) == [*both, "Accuracy is below the floor: 60.0%"]
    assert len(play(catalog, evaluation_set, [(1, 0.9)], recall=0.6)) == 4


def test_another_version_below_the_floor_is_another_event(catalog: Catalog, evaluation_set: int) -> None:
    assert len(play(catalog, evaluation_set, [(1, 0.6), (2, 0.6), (2, 0.6)])) == 2
    assert len(play(catalog, evaluation_set, [(1, 0.6), (1, 0.6)])) == 3


def test_enough_new_images_raise_one_alert_per_version(catalog: Catalog, evaluation_set: int) -> None:
    told = play(catalog, evaluation_set, [(1, 0.9), (1, 0.9)], new_images=547)
    assert told == ["547 new images"]
    assert len(play(catalog, evaluation_set, [(1, 0.9), (2, 0.9)], new_images=1100)) == 2


def grow_old(catalog: Catalog, minutes: float) -> None:
    with catalog.begin() as connection:
        connection.execute(sa.update(attempts).values(started_at=sa.func.now() - timedelta(minutes=minutes)))


def tell_overdue(catalog: Catalog) -> list[str]:
    with catalog.begin() as connection:
        notify_overdue(connection, 30)
    return titles(catalog)


def test_a_training_without_a_verdict_after_its_budget_raises_one_alert(catalog: Catalog, attempt: int) -> None:
    assert tell_overdue(catalog) == []
    grow_old(catalog, minutes=31)
    assert tell_overdue(catalog) == ["A training takes longer than 30 minutes"]
    assert len(tell_overdue(catalog)) == 1


def test_a_failed_training_is_not_overdue(catalog: Catalog, attempt: int) -> None:
    with catalog.begin() as connection:
        record_failure(connection, "run-10", "train", 1)  # another training, whose key begins with this one's
    grow_old(catalog, minutes=31)
    with catalog.begin() as connection:
        assert overdue_requests(connection, 30) == ["run-1"]
        record_failure(connection, "run-1", "train", 1)
    assert tell_overdue(catalog) == []


def test_an_old_training_without_a_verdict_raises_no_alert(catalog: Catalog, attempt: int) -> None:
    grow_old(catalog, minutes=25 * 60)
    assert tell_overdue(catalog) == []


def test_only_our_own_errors_are_quoted() -> None:
    ours = training_notices.retraining_failed("retrain", "run-1", "train", 1, SnapshotError("The pool is empty."))
    assert ours.body.startswith("The pool is empty.")
    foreign = training_notices.retraining_failed(
        "retrain", "run-1", "train", 1, ValueError("postgresql://me:secret@host")
    )
    assert foreign.body.startswith("ValueError.")
    assert "secret" not in foreign.body
    assert training_notices.retraining_failed("retrain", "run-1", "train", 1, None).body.startswith("Its process died.")
