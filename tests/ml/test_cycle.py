"""The nights, on a few digits, against the real PostgreSQL, MLflow and ONNX Runtime."""

from dataclasses import replace

import pytest
import sqlalchemy as sa
from mlflow import MlflowClient

from ml import cycle
from ml.app import Workspace, load_version, mlflow_uri
from ml.catalog.logs.outbox import latest_alerts
from ml.catalog.models import attempts, journal, verdicts
from ml.errors import (
    CatalogError,
    EvaluationSetError,
    ModelLoadError,
    NoChampionError,
    PromotionError,
    SettingsError,
    SnapshotError,
)
from ml.evaluation import promotion
from ml.figures import FIGURES
from ml.ingest.digits import DigitFolders
from ml.ingest.folder import ingest_folder
from ml.registry.mlflow_runs import MONITORING_EXPERIMENT
from ml.reporting.health import recent_nights
from ml.reporting.inventory import describe_state, list_models
from ml.training.recipes import Retrain
from tests.ml.uploaded_photos import read_photos, upload

PARAMETERS = Retrain(snapshot_size=200)


def count(workspace: Workspace, table: str) -> int:
    with workspace.catalog.begin() as connection:
        return int(connection.execute(sa.text(f"SELECT count(*) FROM {table}")).scalar_one())


def logged_metrics(workspace: Workspace) -> set[str]:
    """What the nightly checks wrote into MLflow."""
    client = MlflowClient(mlflow_uri(workspace.settings))
    experiment = client.get_experiment_by_name(MONITORING_EXPERIMENT)
    (run,) = client.search_runs([experiment.experiment_id])
    return set(run.data.metrics)


def test_two_nights_end_with_the_better_model_in_production(
    filled_workspace: Workspace, few_digits: DigitFolders
) -> None:
    workspace, steps = filled_workspace, []
    first = cycle.retrain(workspace, "first", "test", PARAMETERS, lambda step, _done, _total: steps.append(step))
    assert (first.model_version, first.production_version, first.verdict.decision) == (1, 1, "promote")
    assert list(dict.fromkeys(steps)) == list(cycle.STEPS)

    quiet_night = cycle.monitor(workspace)
    assert (quiet_night.model_version, quiet_night.new_images, quiet_night.reasons) == (1, 0, [])
    of_novelty = {"known_called_novel", "known_called_novel_low", "known_called_novel_high"}  # random weights have none
    assert logged_metrics(workspace) == {figure.metric for figure in FIGURES if figure.metric} - of_novelty

    ingest_folder(workspace.catalog, few_digits.later, "pool")
    busy_night = cycle.monitor(workspace)
    assert busy_night.new_images == 120
    assert busy_night.reasons == ["120 new images reach the threshold of 100."]

    second = cycle.retrain(workspace, "second", busy_night.reasons[0], PARAMETERS)
    assert second.verdict.champion_version == 1
    assert second.verdict.challenger_figure > 0.9
    assert second.production_version == (2 if second.verdict.decision == "promote" else 1)
    assert cycle.monitor(workspace).is_retraining_requested is False

    content = next((few_digits.evaluation / "1").iterdir()).read_bytes()
    version, entries, _ = cycle.predict(workspace, content, 10)
    assert version == second.production_version
    assert sum(entry["proba"] for entry in entries) == pytest.approx(100, abs=0.1)
    assert entries[0]["name"] == "1"


def test_every_step_can_run_again_and_ends_the_same(filled_workspace: Workspace, few_digits: DigitFolders) -> None:
    workspace = filled_workspace
    attempt_id = cycle.take_snapshot(workspace, "key", "test", PARAMETERS)
    ingest_folder(workspace.catalog, few_digits.later, "pool")
    assert cycle.take_snapshot(workspace, "key", "test", PARAMETERS) == attempt_id
    assert cycle.train(workspace, attempt_id) == cycle.train(workspace, attempt_id)
    assert cycle.register(workspace, attempt_id) == cycle.register(workspace, attempt_id) == 1
    sets = [cycle.evaluate_challenger(workspace, attempt_id) for _ in range(2)]
    assert sets[0] == sets[1]
    assert cycle.decide(workspace, attempt_id) == cycle.decide(workspace, attempt_id)
    assert [cycle.promote_challenger(workspace, attempt_id) for _ in range(2)] == [1, 1]
    assert (count(workspace, "training.snapshots"), count(workspace, "training.promotions")) == (1, 1)
    assert [model.version for model in list_models(workspace)] == [1]


def test_a_training_uses_the_settings_of_its_request(filled_workspace: Workspace) -> None:
    attempt_id = cycle.take_snapshot(filled_workspace, "key", "test", PARAMETERS)
    changed = filled_workspace.settings.model_copy(update={"image_size": 48, "weights": "bundled"})
    later = replace(filled_workspace, settings=changed)
    cycle.train(later, attempt_id)
    card = load_version(later, cycle.register(later, attempt_id)).card
    assert card.image_size == filled_workspace.settings.image_size == 32
    assert card.backbone_weights == "random:0"


def test_a_step_whose_forerunner_is_missing_says_so(filled_workspace: Workspace) -> None:
    attempt_id = cycle.take_snapshot(filled_workspace, "key", "test", PARAMETERS)
    with pytest.raises(CatalogError, match="step `train`"):
        cycle.register(filled_workspace, attempt_id)
    with pytest.raises(CatalogError, match="step `register`"):
        cycle.evaluate_challenger(filled_workspace, attempt_id)
    with pytest.raises(CatalogError, match="step `gate`"):
        cycle.promote_challenger(filled_workspace, attempt_id)


def test_the_first_backbone_is_int8_and_what_decided_so_is_told(filled_workspace: Workspace) -> None:
    # Sixty images to compare on: two that differ would be below 98 %.
    settings = filled_workspace.settings.model_copy(update={"model_precision": "int8", "int8_minimum_agreement": 0.9})
    trained = replace(filled_workspace, settings=settings)
    cycle.retrain(trained, "first", "test", PARAMETERS)
    (version,) = trained.registry.versions()
    assert version.tags["precision"] == "int8"
    assert "the class that fp32 gives" in version.tags["precision_reason"]
    assert (
        describe_state(trained)["its backbone"]
        == f"three_layers, random:0, 32 px, int8; {version.tags['precision_reason']}"
    )


def test_the_same_snapshot_and_seed_give_the_same_model(trained: Workspace) -> None:
    again = cycle.retrain(trained, "again", "test", PARAMETERS)
    assert again.verdict.challenger_figure == again.verdict.champion_figure
    with trained.catalog.begin() as connection:
        rows = connection.execute(
            sa.text("SELECT item_id, probabilities FROM logs.results ORDER BY item_id, model_version")
        ).all()
    assert len(rows) == 120
    assert all(one == other for one, other in zip(rows[::2], rows[1::2], strict=True))


def test_a_second_scoring_of_unchanged_images_computes_nothing(
    trained: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("the model was loaded")

    cycle.monitor(trained)
    for scored in ("scoring", "nightly_figures"):
        monkeypatch.setattr(f"ml.evaluation.{scored}.load_version", refuse)
    assert cycle.monitor(trained).model_version == 1


def test_a_class_below_its_own_floor_asks_for_retraining_and_a_floor_of_no_class_is_told(
    trained: Workspace, caplog: pytest.LogCaptureFixture
) -> None:
    mislabelled = """UPDATE training.items SET class_names = '{0}' WHERE id IN (
        SELECT id FROM training.items WHERE split = 'evaluation' AND class_names = '{1}' LIMIT 10)"""
    with trained.catalog.begin() as connection:
        connection.execute(sa.text(mislabelled))
    floors = {"accuracy_floor": 0.0, "class_floors": {"0": 0.9, "2": 0.1, "morel": 0.5}}
    other_parameters = {"snapshot_size": 150}  # those of the first training would not be tried again
    settings = trained.settings.model_copy(update=floors | other_parameters)
    report = cycle.monitor(replace(trained, settings=settings))
    (reason,) = report.reasons
    assert reason.startswith("Recall ")
    assert reason.endswith("% of 0 is below its floor of 90.0%.")
    assert report.is_below_floor
    with trained.catalog.begin() as connection:
        (night,) = recent_nights(connection, 10)
        told, *_ = latest_alerts(connection, 10)
        stored = connection.execute(sa.text("SELECT is_below_floor FROM training.monitorings")).scalar_one()
    assert [(each.label, each.floor) for each in night.shortfalls] == [("0", 0.9)]
    assert stored is True
    assert told.title.startswith("0 is below its floor: ")
    assert "MYCOFLOW_CLASS_FLOORS names morel" in caplog.text


def test_a_rejected_challenger_stays_registered_with_its_reasons(
    trained: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ml.tasks.classification.fitting.convex_head.STRENGTHS", (1e-12,))
    report = cycle.retrain(trained, "worse", "test", replace(PARAMETERS, seed=1))
    assert (report.verdict.decision, report.production_version) == ("keep", 1)
    assert "worse than the champion by more than one standard error" in report.verdict.reasons[0]
    kept, _ = list_models(trained)
    assert (kept.version, kept.verdict, kept.is_champion) == (2, "keep", False)


def test_a_rejected_challenger_is_not_asked_for_again_on_the_same_pool(
    trained: Workspace, few_digits: DigitFolders, monkeypatch: pytest.MonkeyPatch
) -> None:
    ingest_folder(trained.catalog, few_digits.later, "pool")
    assert cycle.monitor(trained).is_retraining_requested
    monkeypatch.setattr("ml.tasks.classification.fitting.convex_head.STRENGTHS", (1e-12,))
    assert cycle.retrain(trained, "worse", "test", PARAMETERS).verdict.decision == "keep"
    assert cycle.monitor(trained).reasons == []


def test_a_rollback_brings_the_former_version_back_and_holds_promotion(judged: Workspace) -> None:
    assert cycle.retrain(judged, "second", "test", PARAMETERS).production_version == 2
    assert promotion.roll_back(judged, actor="tester", reason="test") == 1
    held = cycle.retrain(judged, "third", "test", replace(PARAMETERS, seed=4))
    assert (held.verdict.decision, held.production_version) == ("promote", 1)
    assert "held" in describe_state(judged)["automatic promotion"]
    promotion.release_promotion(judged, actor="tester", reason="test")
    assert cycle.retrain(judged, "fourth", "test", replace(PARAMETERS, seed=5)).production_version == 4


def test_there_is_nothing_to_roll_back_to_after_the_first_model(trained: Workspace) -> None:
    with pytest.raises(PromotionError, match="found none"):
        promotion.roll_back(trained, actor="tester", reason="test")


def test_an_alias_moved_by_hand_in_mlflow_is_noticed_and_written_down(judged: Workspace) -> None:
    judged.registry.set_champion(2)
    assert cycle.monitor(judged).model_version == 2
    with judged.catalog.begin() as connection:
        move = journal.last_move(connection)
    assert move is not None
    assert (move.kind, move.from_version, move.to_version) == ("external", 1, 2)


def test_a_rollback_after_an_alias_was_moved_by_hand_undoes_that_move(judged: Workspace) -> None:
    promotion.promote_by_hand(judged, 2, actor="tester", reason="test")
    judged.registry.set_champion(1)
    assert promotion.roll_back(judged, actor="tester", reason="test") == 2


def test_a_promotion_that_died_before_its_last_word_is_completed_not_called_external(judged: Workspace) -> None:
    with judged.catalog.begin() as connection:
        journal.write_intent(connection, "promotion", 1, 2, "tester", "died")
    judged.registry.set_champion(2)
    promotion.note_external_move(judged)
    with judged.catalog.begin() as connection:
        move = journal.last_move(connection)
    assert move is not None
    assert (move.kind, move.to_version, move.is_completed) == ("promotion", 2, True)


def test_without_a_champion_monitoring_and_prediction_say_what_to_do(filled_workspace: Workspace) -> None:
    with pytest.raises(NoChampionError, match="mycoflow retrain"):
        cycle.monitor(filled_workspace)
    with pytest.raises(NoChampionError, match="mycoflow retrain"):
        cycle.predict(filled_workspace, b"", 1)


def test_without_an_evaluation_set_training_says_what_to_do(workspace: Workspace, few_digits: DigitFolders) -> None:
    ingest_folder(workspace.catalog, few_digits.first, "pool")
    with pytest.raises(EvaluationSetError, match="--split evaluation"):
        cycle.retrain(workspace, "key", "test", PARAMETERS)


def test_an_empty_pool_leaves_no_attempt_behind(workspace: Workspace) -> None:
    with pytest.raises(SnapshotError, match="at least two classes"):
        cycle.take_snapshot(workspace, "key", "test", PARAMETERS)
    assert count(workspace, "training.attempts") == 0


@pytest.mark.parametrize(("size", "seed"), [(1, 0), (100, -1), (100, 2**32)])
def test_parameters_out_of_range_are_refused(size: int, seed: int) -> None:
    with pytest.raises(SettingsError, match="expected"):
        Retrain(size, seed)


@pytest.mark.parametrize("solver", ["adam", "convex"])
def test_the_images_of_the_snapshot_and_no_others_are_seen_mirrored(filled_workspace: Workspace, solver: str) -> None:
    # All of them, since each image is also answered by heads that are fitted on the others.
    settings = filled_workspace.settings.model_copy(update={"mirrored_views": True, "head_solver": solver})
    cycle.retrain(replace(filled_workspace, settings=settings), "first", "test", PARAMETERS)
    mirrored = sa.text(
        "SELECT array_agg(part_sha256 ORDER BY part_sha256) FROM training.features WHERE view = 'mirrored'"
    )
    in_snapshot = sa.text("SELECT array_agg(item_id ORDER BY item_id) FROM training.snapshot_items")
    with filled_workspace.catalog.begin() as connection:
        assert connection.scalar(mirrored) == connection.scalar(in_snapshot)


def asking(workspace: Workspace) -> Workspace:
    """The same, but that a person is asked before another version goes into production."""
    return replace(workspace, settings=workspace.settings.model_copy(update={"promotion": "approve"}))


def number_of(workspace: Workspace, request_key: str) -> int:
    with workspace.catalog.begin() as connection:
        attempt = attempts.find_attempt(connection, request_key)
    assert attempt is not None
    return attempt.id


def asked_at(workspace: Workspace, attempt_id: int) -> object:
    """When a person was asked whether an attempt's version may go into production."""
    with workspace.catalog.begin() as connection:
        query = sa.text("SELECT approval_asked_at FROM training.attempts WHERE id = :id")
        return connection.scalar(query, {"id": attempt_id})


def test_nothing_is_promoted_before_a_person_says_so(judged: Workspace) -> None:
    report = cycle.retrain(asking(judged), "second", "test", PARAMETERS)
    assert (report.verdict.decision, report.production_version) == ("promote", 1)


def test_who_decides_is_shown_both_and_is_written_down(judged: Workspace) -> None:
    attempt_id = number_of(judged, "second")
    comparison = cycle.comparison_to_approve(asking(judged), attempt_id)
    assert comparison is not None
    assert "| challenger | version 2 |" in comparison
    assert asked_at(judged, attempt_id) is not None
    assert cycle.promote_challenger(asking(judged), attempt_id, approved_by="bob") == 2
    with judged.catalog.begin() as connection:
        assert connection.scalar(sa.text("SELECT actor FROM training.promotions ORDER BY id DESC LIMIT 1")) == "bob"


def test_who_decides_is_told_what_the_challenger_answered_in_shadow(
    judged: Workspace, few_digits: DigitFolders
) -> None:
    attempt_id = number_of(judged, "second")
    upload(judged, 1, read_photos(few_digits.later)[:9])
    settings = judged.settings.model_copy(
        update={"promotion": "approve", "public_url": "https://m.example/", "shadow_hours": 700}
    )
    workspace = replace(judged, settings=settings)
    assert cycle.compare_in_shadow(workspace, attempt_id)  # the person decides how long to look
    comparison = cycle.comparison_to_approve(workspace, attempt_id)
    assert comparison is not None
    assert "On 9 uploads of the last days, it differs from version 1 on 0: 0.0%" in comparison
    assert "https://m.example/versions/2/shadow" in comparison
    with judged.catalog.begin() as connection:
        (alert,) = (each for each in latest_alerts(connection, 10) if each.kind == "promotion_waiting")
    assert "On 9 uploads" in alert.body


def test_a_challenger_stays_in_shadow_for_its_time(judged: Workspace, few_digits: DigitFolders) -> None:
    attempt_id = number_of(judged, "second")
    patient = replace(judged, settings=judged.settings.model_copy(update={"shadow_hours": 2.0}))
    report = cycle.retrain(patient, "second", "test", PARAMETERS)  # it does not wait
    assert (report.production_version, report.is_in_shadow) == (1, True)
    upload(judged, 1, read_photos(few_digits.later)[:4])
    assert not cycle.compare_in_shadow(patient, attempt_id)
    assert count(judged, "training.shadow_answers") == 4  # what arrived meanwhile
    with judged.catalog.begin() as connection:
        connection.execute(sa.text("UPDATE training.shadows SET started_at = now() - interval '119 minutes'"))
    assert not cycle.compare_in_shadow(patient, attempt_id)
    with judged.catalog.begin() as connection:
        connection.execute(sa.text("UPDATE training.shadows SET started_at = now() - interval '121 minutes'"))
    report = cycle.retrain(patient, "second", "test", PARAMETERS)
    assert (report.production_version, report.is_in_shadow) == (2, False)
    assert cycle.compare_in_shadow(patient, attempt_id)  # nothing is left to wait for


def test_a_comparison_that_fails_is_told_and_stops_nothing(
    judged: Workspace, few_digits: DigitFolders, monkeypatch: pytest.MonkeyPatch
) -> None:
    attempt_id = number_of(judged, "second")
    upload(judged, 1, read_photos(few_digits.later)[:4])

    def fail(*_: object) -> None:
        raise ModelLoadError("Expected a model, got a stone.")

    monkeypatch.setattr("ml.evaluation.shadowing.shadow_scoring.load_version", fail)
    assert cycle.compare_in_shadow(judged, attempt_id)
    comparison = cycle.comparison_to_approve(asking(judged), attempt_id)
    assert comparison is not None
    assert "failed: Expected a model, got a stone." in comparison


def test_a_first_model_is_never_in_shadow(filled_workspace: Workspace) -> None:
    settings = filled_workspace.settings.model_copy(update={"shadow_hours": 2.0})
    report = cycle.retrain(replace(filled_workspace, settings=settings), "first", "test", PARAMETERS)
    assert (report.production_version, report.is_in_shadow) == (1, False)
    assert count(filled_workspace, "training.shadows") == 0


def test_a_yes_goes_before_the_hold_of_a_rollback(judged: Workspace) -> None:
    workspace = asking(judged)
    cycle.retrain(workspace, "third", "test", PARAMETERS)
    promotion.promote_by_hand(workspace, 3, actor="tester", reason="test")
    promotion.roll_back(workspace, actor="tester", reason="test")
    assert cycle.promote_challenger(workspace, number_of(workspace, "second"), approved_by="bob") == 2


def test_nobody_is_asked_where_promotion_is_automatic(judged: Workspace) -> None:
    attempt_id = number_of(judged, "second")
    assert cycle.comparison_to_approve(judged, attempt_id) is None
    assert asked_at(judged, attempt_id) is None


def test_an_approval_after_a_newer_champion_came_is_judged_again(judged: Workspace) -> None:
    workspace, attempt_id = asking(judged), number_of(judged, "second")
    cycle.retrain(workspace, "third", "test", PARAMETERS)
    promotion.promote_by_hand(workspace, 3, actor="tester", reason="test")
    assert cycle.promote_challenger(workspace, attempt_id, approved_by="bob") == 3
    with workspace.catalog.begin() as connection:
        verdict = verdicts.find_verdict(connection, attempt_id)
    assert verdict is not None
    assert (verdict.champion_version, verdict.decision) == (3, "keep")
    assert "its snapshot is not newer" in verdict.reasons[0]
    assert count(workspace, "logs.events WHERE kind = 'verdict.revised'") == 1
