"""Backbones are compared on the images of a home: real networks, real MLflow, and nothing of the home changes."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
import sqlalchemy as sa
from mlflow import MlflowClient

from ml import cycle
from ml.app import Workspace
from ml.backbones.onnx_runtime import OnnxBackbone
from ml.catalog.snapshots.stored_snapshots import Snapshot
from ml.catalog.tables import events, features, home_choices, items, snapshot_items, snapshots
from ml.errors import EvaluationSetError, MissingPartError, ModelLoadError, SettingsError, SnapshotError
from ml.registry.mlflow_runs import COMPARISON_EXPERIMENT
from ml.settings import default_settings
from ml.training.comparison.backbone_comparison import plan_comparison, run_comparison
from ml.training.comparison.candidates import ComparisonRequest
from ml.training.comparison.compared_backbones import Comparison
from ml.training.comparison.compared_images import ComparedImages, name_out_of_group, read_images
from ml.training.comparison.network_costs import measure_memory, measure_milliseconds
from ml.training.recipes import Retrain
from tests.three_layers import NAME

SMALL = ComparisonRequest(backbones=(NAME,), precisions=("fp32",))


def compare(workspace: Workspace, request: ComparisonRequest, snapshot_id: int | None = None) -> Comparison:
    return run_comparison(workspace, plan_comparison(workspace, request, snapshot_id))


def state_of(workspace: Workspace) -> list[object]:
    """All that a comparison must leave as it is."""
    queries = [
        sa.select(home_choices.c.name, home_choices.c.value),
        sa.select(snapshots.c.id),
        sa.select(sa.func.count()).select_from(events),
        sa.select(items.c.split, sa.func.count()).group_by(items.c.split).order_by(items.c.split),
    ]
    with workspace.catalog.begin() as connection:
        return [connection.execute(query).all() for query in queries]


def count_features(workspace: Workspace) -> int:
    with workspace.catalog.begin() as connection:
        return int(connection.execute(sa.select(sa.func.count()).select_from(features)).scalar_one())


def test_networks_are_compared_logged_and_their_features_kept(filled_workspace: Workspace) -> None:
    workspace, before = filled_workspace, state_of(filled_workspace)
    request = ComparisonRequest(backbones=(NAME, "vgg16"), image_sizes=(32, 48), precisions=("fp32",))
    steps: list[str] = []
    plan = plan_comparison(workspace, request, None)
    comparison = run_comparison(workspace, plan, lambda step, _done, _total: steps.append(step))
    assert [*dict.fromkeys(steps)] == plan.steps
    assert state_of(workspace) == before
    assert (comparison.images, comparison.image_count, comparison.group_count) == ("the newest images", 180, 180)
    assert [(row.backbone, row.image_size) for row in comparison.rows] == [
        (NAME, 32),
        (NAME, 48),
        ("vgg16", 32),
        ("vgg16", 48),
    ]
    for row in comparison.rows:
        assert 0.8 < row.accuracy_low < row.accuracy <= row.accuracy_high <= 1  # three digits are easily told apart
        assert row.f1_macro == pytest.approx(row.accuracy, abs=0.02)
        assert (row.weights, row.weights_recipe, row.refused) == ("random", "random:0", "")
        assert row.milliseconds > 0
    best = max(row.accuracy for row in comparison.rows)
    assert [row.difference for row in comparison.rows] == pytest.approx([r.accuracy - best for r in comparison.rows])
    three, vgg16 = comparison.rows[0], comparison.rows[2]
    assert vgg16.milliseconds > three.milliseconds
    assert vgg16.memory_mb > three.memory_mb + 40  # its weights alone have 59 MB
    assert_logged(workspace, comparison)

    computed = count_features(workspace)
    again = compare(workspace, request)
    assert count_features(workspace) == computed
    assert [row.accuracy for row in again.rows] == [row.accuracy for row in comparison.rows]


def assert_logged(workspace: Workspace, comparison: Comparison) -> None:
    client = MlflowClient(workspace.settings.mlflow_tracking_uri)
    experiment = client.get_experiment_by_name(COMPARISON_EXPERIMENT)
    assert experiment is not None
    runs = {run.info.run_id: run for run in client.search_runs([experiment.experiment_id])}
    parent = runs.pop(comparison.mlflow_run_id)
    assert {file.path for file in client.list_artifacts(parent.info.run_id)} == {"plots", "comparison.json"}
    assert parent.inputs.dataset_inputs[0].dataset.name == "the-newest-images"
    assert {run.info.status for run in (parent, *runs.values())} == {"FINISHED"}
    children = [run for run in runs.values() if run.data.tags["mlflow.parentRunId"] == parent.info.run_id]
    assert {run.info.run_name for run in children} == {row.label for row in comparison.rows}
    for row in comparison.rows:
        (child,) = (run for run in children if run.info.run_name == row.label)
        assert child.data.metrics["accuracy"] == row.accuracy
        assert child.data.metrics["memory_mb"] == row.memory_mb
        assert child.data.params["image_size"] == str(row.image_size)
        assert child.data.tags["backbone_weights"] == row.weights_recipe


def test_a_retraining_finds_the_features_of_a_comparison(
    filled_workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    compare(filled_workspace, SMALL)
    seen: list[int] = []
    plain = OnnxBackbone.features

    def count(self: OnnxBackbone, images: np.ndarray) -> np.ndarray:
        seen.append(len(images))
        return plain(self, images)

    monkeypatch.setattr(OnnxBackbone, "features", count)
    attempt_id = cycle.take_snapshot(filled_workspace, "key", "test", Retrain(200))
    cycle.train(filled_workspace, attempt_id)
    assert sum(seen) < 180


def test_a_stored_snapshot_is_compared_and_named(trained: Workspace) -> None:
    comparison = compare(trained, SMALL, snapshot_id=1)
    assert (comparison.images, comparison.image_count) == ("snapshot 1", 180)


def test_int8_that_a_retraining_would_refuse_is_measured_and_told(filled_workspace: Workspace) -> None:
    settings = filled_workspace.settings.model_copy(update={"int8_minimum_agreement": 1.0})
    workspace = replace(filled_workspace, settings=settings)
    request = ComparisonRequest(backbones=("vgg16",), precisions=("fp32", "int8"))
    fp32, int8 = compare(workspace, request).rows
    assert fp32.backbone_id != int8.backbone_id
    assert int8.memory_mb < fp32.memory_mb
    if int8.refused:  # depends on the CPU: one of 60 images suffices
        assert "int8 was refused" in int8.refused
    again = compare(workspace, request).rows[1]
    assert (again.backbone_id, again.accuracy, again.refused) == (int8.backbone_id, int8.accuracy, int8.refused)


def test_int8_refused_by_the_comparison_is_still_the_network_of_its_row(
    filled_workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    from ml.backbones import served_backbone
    from ml.backbones.int8.parity import BackboneParity

    refused = BackboneParity("fp32", "int8 was refused: a test says so", 0.5, 1.0, 0.5, 0.001, 60, 144)
    monkeypatch.setattr(served_backbone, "compare_backbones", lambda *_: refused)
    request = ComparisonRequest(backbones=(NAME,), precisions=("fp32", "int8"))
    fp32, int8 = compare(filled_workspace, request).rows
    assert int8.refused == "int8 was refused: a test says so"
    assert (fp32.refused, int8.precision) == ("", "int8")
    assert fp32.backbone_id != int8.backbone_id


def test_int8_without_an_evaluation_set_is_refused_before_work(filled_workspace: Workspace) -> None:
    with filled_workspace.catalog.begin() as connection:
        connection.execute(sa.update(items).where(items.c.split == "evaluation").values(held_back="copy"))
    with pytest.raises(EvaluationSetError, match="compare fp32 only"):
        plan_comparison(filled_workspace, ComparisonRequest(backbones=(NAME,)), None)
    assert plan_comparison(filled_workspace, SMALL, None).candidates


def test_an_empty_home_is_an_error(workspace: Workspace) -> None:
    with pytest.raises(SnapshotError, match="at least two classes"):
        plan_comparison(workspace, SMALL, None)


def test_an_unknown_snapshot_is_an_error(filled_workspace: Workspace) -> None:
    with pytest.raises(SnapshotError, match="got 77"):
        plan_comparison(filled_workspace, SMALL, 77)


@pytest.mark.parametrize("kept", [["0"], []])
def test_a_snapshot_in_which_people_labelled_less_than_two_classes_is_an_error(
    trained: Workspace, kept: list[str]
) -> None:
    others = snapshot_items.c.class_names.not_in([[name] for name in kept])
    with trained.catalog.begin() as connection:
        connection.execute(sa.update(snapshot_items).where(others).values(label_origin="harvested"))
    with pytest.raises(SnapshotError, match="at least two classes and two groups"):
        plan_comparison(trained, SMALL, 1)


def test_a_task_with_several_classes_in_an_image_is_refused(filled_workspace: Workspace) -> None:
    from tests import multi_label_task

    settings = filled_workspace.settings.model_copy(update={"task": multi_label_task.NAME})
    with pytest.raises(SettingsError, match="in which an image has one class"):
        plan_comparison(replace(filled_workspace, settings=settings), SMALL, None)


def test_a_comparison_that_fails_is_a_failed_run(filled_workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: OnnxBackbone, __: np.ndarray) -> np.ndarray:
        raise MissingPartError("an image is missing")

    plan = plan_comparison(filled_workspace, SMALL, None)
    monkeypatch.setattr(OnnxBackbone, "features", fail)
    with pytest.raises(MissingPartError):
        run_comparison(filled_workspace, plan)
    client = MlflowClient(filled_workspace.settings.mlflow_tracking_uri)
    experiment = client.get_experiment_by_name(COMPARISON_EXPERIMENT)
    assert experiment is not None
    assert [run.info.status for run in client.search_runs([experiment.experiment_id])] == ["FAILED"]


def images_of(labels: Sequence[str], groups: Sequence[str]) -> ComparedImages:
    moment = default_settings()  # any object: the snapshot is not read here
    snapshot = Snapshot(0, moment, (), "", ())  # type: ignore[arg-type]
    return ComparedImages(snapshot, False, [str(n) for n in range(len(labels))], np.array(labels), np.array(groups))


def test_alike_photos_of_a_group_do_not_help_to_name_each_other() -> None:
    """Labels by chance, and features that tell groups apart: only a head that saw the group could be right."""
    generator = np.random.default_rng(0)
    groups = np.repeat(np.arange(60), 5)
    labels = np.array(["a", "b"])[generator.integers(0, 2, 60)][groups]
    features = generator.standard_normal((60, 256))[groups].astype(np.float32)
    images = images_of(labels.tolist(), groups.astype(str).tolist())
    names = name_out_of_group(features[np.newaxis], images)
    assert 0.3 < (names == labels).mean() < 0.7
    alone = images_of(labels.tolist(), [str(n) for n in range(300)])
    assert (name_out_of_group(features[np.newaxis], alone) == labels).mean() > 0.95


@pytest.mark.parametrize(
    ("labels", "groups"),
    [
        (["a", "b"] * 2, ["1", "2", "3", "4"]),  # fewer groups than folds
        (["a"] * 9 + ["b"], [str(n) for n in range(10)]),  # a class of one image
        (["a", "b"] * 4, ["1", "1", "2", "2", "1", "1", "2", "2"]),  # two groups, of both classes
        (["a"] * 5 + ["b"] * 5, ["1"] * 5 + ["2"] * 5),  # each class in one group
    ],
)
def test_few_images_or_groups_give_fewer_folds_and_no_error(labels: list[str], groups: list[str]) -> None:
    images = images_of(labels, groups)
    features = np.random.default_rng(0).standard_normal((1, len(labels), 8)).astype(np.float32)
    assert set(name_out_of_group(features, images)) <= {*labels, ""}  # nothing where no fold leaves the image out


def test_the_newest_images_are_those_of_the_next_retraining(filled_workspace: Workspace) -> None:
    images = read_images(filled_workspace, None, needs_evaluation_set=True)
    compare(filled_workspace, SMALL)
    cycle.take_snapshot(filled_workspace, "key", "test", Retrain(None))
    with filled_workspace.catalog.begin() as connection:
        snapshot_id = connection.scalars(sa.select(snapshots.c.id)).one()
    stored = read_images(filled_workspace, snapshot_id, needs_evaluation_set=False)
    assert list(images.sha256s) == list(stored.sha256s)
    assert images.digest == stored.digest


def test_networks_take_turns_and_each_gets_its_median(backbone_onnx: bytes) -> None:
    pixels = [np.zeros((1, 32, 32, 3), np.uint8)] * 2
    told: list[tuple[int, int]] = []
    first, second = measure_milliseconds([backbone_onnx] * 2, pixels, lambda done, total: told.append((done, total)))
    assert told[-1][0] == told[-1][1] == len(told)
    assert 0.3 < first / second < 3  # the same network


def test_memory_is_that_of_the_network_and_little_else(backbone_onnx: bytes) -> None:
    assert 50 + 59 < measure_memory(backbone_onnx) < 400


def test_a_network_that_does_not_load_is_an_error_with_its_reason() -> None:
    with pytest.raises(ModelLoadError, match=r"It ended with status 1: .*ModelLoadError"):
        measure_memory(b"no network")
