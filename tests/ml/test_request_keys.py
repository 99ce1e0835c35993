"""A request key means one training: the same options go on with it, others are refused. Nights ask for none twice."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta

import pytest
import sqlalchemy as sa

from ml import cycle
from ml.app import Workspace
from ml.catalog.models.attempts import finish_attempt
from ml.catalog.models.training_failures import record_failure
from ml.catalog.tables import attempts
from ml.errors import SettingsError
from ml.ingest.digits import DigitFolders
from ml.ingest.folder import ingest_folder
from ml.training.recipes import Finetune, Recipe, Retrain, Tune

RETRAIN = Retrain(snapshot_size=200, seed=7)
FINETUNE = Finetune(200, layers=1, epochs=2, model_version=1)
TUNE = Tune(200, trials=3)


@pytest.mark.parametrize("is_finished", [False, True])
@pytest.mark.parametrize(
    ("began", "asked", "expected", "received"),
    [
        (RETRAIN, replace(RETRAIN, seed=8), "seed 7", "seed 8"),
        (RETRAIN, replace(RETRAIN, seed=0), "seed 7", "seed 0"),
        (RETRAIN, replace(RETRAIN, snapshot_size=100), "snapshot_size 200", "snapshot_size 100"),
        (RETRAIN, replace(RETRAIN, base_backbone=True), "base_backbone False", "base_backbone True"),
        (RETRAIN, replace(RETRAIN, selection="all", seed=1), "seed 7, selection newest", "seed 1, selection all"),
        (FINETUNE, replace(FINETUNE, epochs=3), "epochs 2", "epochs 3"),
        (FINETUNE, replace(FINETUNE, model_version=2), "model_version 1", "model_version 2"),
        (TUNE, replace(TUNE, trials=4), "trials 3", "trials 4"),
    ],
)
def test_a_key_with_other_options_is_refused_and_both_are_named(
    filled_workspace: Workspace,
    is_finished: bool,
    began: Recipe,
    asked: Recipe,
    expected: str,
    received: str,
) -> None:
    attempt_id = cycle.take_snapshot(filled_workspace, "one", "test", began)
    if is_finished:
        with filled_workspace.catalog.begin() as connection:
            finish_attempt(connection, attempt_id)
    with pytest.raises(SettingsError) as refused:
        cycle.take_snapshot(filled_workspace, "one", "test", asked)
    assert f"request one began with: {expected}. Received: {received}. " in str(refused.value)
    assert cycle.take_snapshot(filled_workspace, "one", "test", began) == attempt_id
    assert cycle.take_snapshot(filled_workspace, "two", "test", asked) != attempt_id


def test_what_a_request_leaves_open_is_as_it_was_when_it_began(filled_workspace: Workspace) -> None:
    attempt_id = cycle.take_snapshot(filled_workspace, "one", "test", FINETUNE)
    assert cycle.take_snapshot(filled_workspace, "one", "test", replace(FINETUNE, model_version=None)) == attempt_id


@pytest.fixture
def due(filled_workspace: Workspace, few_digits: DigitFolders) -> Iterator[Workspace]:
    """Version 1 is in production, and so much is new that a night asks for a training."""
    cycle.retrain(filled_workspace, "first", "test", Retrain(200))
    ingest_folder(filled_workspace.catalog, few_digits.later, "pool")
    assert cycle.monitor(filled_workspace).is_retraining_requested
    yield filled_workspace


def fail(workspace: Workspace, request_key: str) -> None:
    """Record that a training's process died, as Airflow's callback does."""
    with workspace.catalog.begin() as connection:
        record_failure(connection, request_key, "train", 1)


def test_a_night_does_not_ask_while_a_training_of_that_pool_is_under_way(due: Workspace) -> None:
    for key, parameters in (("same", Retrain(200)), ("other", RETRAIN), ("tuning", TUNE)):
        cycle.take_snapshot(due, key, "test", parameters)
        assert cycle.monitor(due).reasons == []
    fail(due, "tuning")
    assert cycle.monitor(due).reasons == []  # two others are still under way
    for key in ("same", "other"):
        fail(due, key)
    assert cycle.monitor(due).is_retraining_requested


def test_a_training_that_died_without_a_word_does_not_keep_nights_from_asking(due: Workspace) -> None:
    attempt_id = cycle.take_snapshot(due, "died", "test", RETRAIN)
    for hours, asks in ((5, False), (7, True)):
        began = sa.func.clock_timestamp() - timedelta(hours=hours)
        with due.catalog.begin() as connection:
            connection.execute(sa.update(attempts).where(attempts.c.id == attempt_id).values(started_at=began))
        assert cycle.monitor(due).is_retraining_requested is asks
