"""The Classifr case: two classes are added to a classifier that runs, on real digits."""

import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import sqlalchemy as sa

from ml import cycle
from ml.app import Workspace
from ml.catalog.models import evaluations
from ml.catalog.models.model_versions import load_model_version
from ml.catalog.tables import items, snapshot_items
from ml.ingest.digits import DigitFolders
from ml.ingest.folder import ingest_folder
from ml.training.recipes import Retrain

OLD, NEW = ("0", "1", "2"), ("6", "7")
PARAMETERS = Retrain(snapshot_size=500)


EACH = 80


def take(source: Path, digits: tuple[str, ...], target: Path) -> Path:
    """Copy some images of some digits."""
    for digit in digits:
        (target / digit).mkdir(parents=True)
        for file in sorted((source / digit).iterdir())[:EACH]:
            shutil.copy(file, target / digit)
    return target


@pytest.fixture
def running(workspace: Workspace, digits: DigitFolders, tmp_path: Path) -> Workspace:
    """Version 1 is in production and knows three digits."""
    running = replace(workspace, settings=workspace.settings.model_copy(update={"new_images_threshold": 500}))
    ingest_folder(running.catalog, take(digits.evaluation, OLD, tmp_path / "evaluation"), "evaluation")
    ingest_folder(running.catalog, take(digits.first, OLD, tmp_path / "first"), "pool")
    assert cycle.retrain(running, "first", "test", PARAMETERS).production_version == 1
    return running


def classes_of(workspace: Workspace, version: int) -> list[str]:
    with workspace.catalog.begin() as connection:
        return load_model_version(connection, version).classes


def test_two_classes_are_added_without_a_false_alarm_and_predicted_after_the_promotion(
    running: Workspace, digits: DigitFolders, tmp_path: Path
) -> None:
    before = cycle.monitor(running)
    assert before.reasons == []

    ingest_folder(running.catalog, take(digits.first, NEW, tmp_path / "new"), "pool")
    arrived = cycle.monitor(running)
    assert (arrived.main_figure, arrived.new_images, arrived.reasons) == (before.main_figure, len(NEW) * EACH, [])

    attempt_id = cycle.take_snapshot(running, "second", "test", PARAMETERS)
    with running.catalog.begin() as connection:
        held_out = sa.select(items.c.class_names[1], sa.func.count()).where(items.c.evaluation_part == "recent")
        given = dict(connection.execute(held_out.group_by(items.c.class_names[1])).tuples().all())
        learned = sa.select(items.c.id).join(snapshot_items).where(items.c.split == "evaluation")
        assert connection.execute(learned).all() == []
    assert set(given) == set(NEW)
    assert min(given.values()) >= 10
    # The evaluation set now has digits that version 1 cannot know: that is no fault of its.
    held = cycle.monitor(running)
    assert (held.main_figure, held.reasons) == (before.main_figure, [])

    cycle.train(running, attempt_id)
    assert cycle.register(running, attempt_id) == 2
    cycle.evaluate_challenger(running, attempt_id)
    verdict = cycle.decide(running, attempt_id)
    assert verdict.decision == "promote", "\n".join(verdict.reasons)
    assert sum("The new class" in reason for reason in verdict.reasons) == len(NEW)
    assert cycle.promote_challenger(running, attempt_id) == 2
    assert (classes_of(running, 1), classes_of(running, 2)) == ([*OLD], sorted(OLD + NEW))

    for digit in (*OLD, *NEW):
        files = sorted((digits.evaluation / digit).iterdir())[:10]
        named = [cycle.predict(running, file.read_bytes(), 1)[:2] for file in files]
        assert {version for version, _ in named} == {2}
        assert sum(entries[0]["name"] == digit for _, entries in named) >= 8
    assert cycle.monitor(running).reasons == []
    with running.catalog.begin() as connection:
        latest = evaluations.latest_evaluation(connection, 2)
    assert latest is not None
    assert latest.image_count == 25 * len(OLD)  # the anchor decides; the recent part is small and reported beside it


def test_a_new_class_that_is_not_recognised_keeps_the_champion(
    running: Workspace, digits: DigitFolders, tmp_path: Path
) -> None:
    # Zeros and ones under a third name: nobody can tell them from the others.
    folder = tmp_path / "new"
    shutil.copytree(digits.later / "0", folder / "round")
    for extra in sorted((digits.later / "1").iterdir())[:20]:
        shutil.copy(extra, folder / "round")
    ingest_folder(running.catalog, folder, "pool")
    report = cycle.retrain(running, "second", "test", PARAMETERS)
    assert classes_of(running, 2) == ["0", "1", "2", "round"]
    assert (report.verdict.decision, report.production_version) == ("keep", 1)
    assert cycle.monitor(running).reasons == []
