"""Accuracy on distorted photos: deterministic for each image, bounded, and measured once for a version and a set."""

import numpy as np
import pytest

from ml import cycle
from ml.app import Workspace, load_version
from ml.catalog.models.evaluations import find_figures
from ml.catalog.object_store import image_key
from ml.data.evaluation_sets import current_evaluation_set, current_members
from ml.evaluation import robustness
from ml.evaluation.robustness import DISTORTIONS, measure_robustness
from ml.figures import NIGHTLY

NAMES = {f"accuracy_under_{name}" for name in DISTORTIONS}


@pytest.fixture
def photo() -> np.ndarray:
    """Half dark, half light, with an edge between."""
    image = np.full((64, 64, 3), 60, np.uint8)
    image[:, 30:] = 220
    return image


@pytest.mark.parametrize("name", DISTORTIONS)
def test_a_distortion_changes_an_image_the_same_way_every_time(name: str, photo: np.ndarray) -> None:
    distorted = DISTORTIONS[name](photo, 7)
    assert (distorted.shape, distorted.dtype) == (photo.shape, np.uint8)
    assert (distorted != photo).any()
    assert (distorted == DISTORTIONS[name](photo, 7)).all()


def test_each_distortion_does_what_its_name_says(photo: np.ndarray) -> None:
    seen = {name: distort(photo, 7).astype(int) for name, distort in DISTORTIONS.items()}
    before = photo.astype(int)
    assert seen["darkness"].mean() == pytest.approx(0.4 * before.mean(), abs=1)
    assert np.abs(np.diff(seen["blur"], axis=1)).max() < np.abs(np.diff(before, axis=1)).max()
    assert (seen["noise"] - before)[:, :30].std() == pytest.approx(robustness.NOISE_LEVEL, rel=0.05)
    assert (DISTORTIONS["noise"](photo, 8) != seen["noise"]).any()


def test_a_night_measures_it_once_and_the_next_computes_nothing(
    trained: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    cycle.monitor(trained)
    with trained.catalog.begin() as connection:
        first = find_figures(connection, 1)
    measured = {figure.name for figure in NIGHTLY if not figure.name.startswith("known_called_novel")}
    assert first.keys() == measured >= NAMES  # with random weights, novelty is off
    assert all(0 <= value <= 1 for value in first.values())

    def refuse(*_: object) -> None:
        raise AssertionError("the model was loaded")

    monkeypatch.setattr("ml.evaluation.nightly_figures.load_version", refuse)
    cycle.monitor(trained)
    with trained.catalog.begin() as connection:
        assert find_figures(connection, 1) == first


def test_another_evaluation_set_is_measured_anew(trained: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    cycle.monitor(trained)
    with trained.catalog.begin() as connection:
        first = find_figures(connection, 1)
        connection.exec_driver_sql(
            "UPDATE training.items SET class_names = '{2}' WHERE split = 'evaluation' AND class_names = '{1}'"
        )
    cycle.monitor(trained)
    with trained.catalog.begin() as connection:
        second = find_figures(connection, 1)
    assert all(second[name] < first[name] for name in ("recall_macro", "accuracy_under_jpeg"))


def test_no_more_images_are_computed_than_allowed(trained: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    with trained.catalog.begin() as connection:
        members = current_members(connection)
    classifier = load_version(trained, 1)
    everything = measure_robustness(trained.catalog, trained.task, classifier, members)
    assert measure_robustness(trained.catalog, trained.task, classifier, members[::-1]) == everything
    monkeypatch.setattr(robustness, "MOST_IMAGES", 7)
    few = measure_robustness(trained.catalog, trained.task, classifier, members)
    assert few.keys() == NAMES
    assert all((7 * value).is_integer() or abs(7 * value - round(7 * value)) < 1e-9 for value in few.values())


def test_a_lost_photo_costs_these_figures_and_not_the_night(
    trained: Workspace, caplog: pytest.LogCaptureFixture
) -> None:
    with trained.catalog.begin() as connection:
        set_version, members = current_evaluation_set(connection)
    key = image_key(members[0].item_id)
    content = trained.catalog.store.get(key)
    trained.catalog.store.delete(key)
    cycle.monitor(trained)
    assert "distorted photos was not measured" in caplog.text
    with trained.catalog.begin() as connection:
        assert NAMES.isdisjoint(find_figures(connection, 1, set_version))
    trained.catalog.store.put(key, content)
    cycle.monitor(trained)
    with trained.catalog.begin() as connection:
        assert find_figures(connection, 1, set_version).keys() >= NAMES
