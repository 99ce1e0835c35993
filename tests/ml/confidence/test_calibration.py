from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ml.confidence.calibration import (
    MINIMUM_IMAGES,
    apply_temperature,
    divide_into_bins,
    fit_temperature,
    measure_calibration,
)
from ml.confidence.reliability_plot import save_reliability


def drawn(count: int, too_sure: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Confidences, and answers that are right that much more rarely."""
    random = np.random.default_rng(seed)
    confidences = random.uniform(0.3, 1, count)
    return confidences, random.random(count) < np.clip(confidences - too_sure, 0, 1)


@pytest.mark.parametrize("count", [100, 300, 1000])
def test_chance_alone_adds_nothing_to_the_error(count: int) -> None:
    found = [measure_calibration(*drawn(count, 0, seed)) for seed in range(40)]
    assert np.sqrt(np.mean([each.error**2 for each in found if each])) < 0.06
    assert [each.low for each in found if each] == [0] * 40


def test_the_interval_holds_the_true_error_as_often_as_it_says() -> None:
    found = [measure_calibration(*drawn(400, 0.1, seed)) for seed in range(60)]
    held = [each is not None and each.low <= 0.1 <= each.high for each in found]
    assert np.mean(held) >= 0.88


def test_overconfidence_is_measured() -> None:
    found = measure_calibration(*drawn(5000, 0.2, 1))
    assert found is not None
    assert found.error == pytest.approx(0.2, abs=0.03)


def test_few_answers_have_no_error() -> None:
    assert measure_calibration(*drawn(MINIMUM_IMAGES - 1, 0, 0)) is None


@pytest.mark.parametrize("count", [30, 60, 500])
def test_answers_that_are_all_right_are_not_made_certain(count: int) -> None:
    confidences = np.linspace(0.7, 0.95, count)
    temperature = fit_temperature(np.stack([confidences, 1 - confidences], axis=1), np.zeros(count, np.int64))
    calibrated = apply_temperature(np.array([[0.6, 0.4]]), temperature)
    assert 0.6 < calibrated[0, 0] < 1 - 1 / (20 * count)


@pytest.mark.parametrize("confidence", [0.0, 0.5, 1.0])
def test_equal_confidences_and_equal_answers_have_an_error(confidence: float) -> None:
    found = measure_calibration(np.full(60, confidence), np.ones(60, bool))
    assert found is not None
    assert found.error == pytest.approx(1 - confidence)


def test_bins_are_of_equal_size_and_hold_their_accuracy() -> None:
    bins = divide_into_bins(np.linspace(0, 1, 60), np.arange(60) >= 30)
    assert [each.count for each in bins] == [15] * 4
    assert [each.accuracy for each in bins] == [0, 0, 1, 1]
    assert all(each.low <= each.accuracy <= each.high for each in bins)


@pytest.mark.parametrize("count", [1, 20, 400])
def test_the_plot_is_drawn(tmp_path: Path, count: int) -> None:
    save_reliability(*drawn(count, 0.1, 0), tmp_path / "reliability.png")
    with Image.open(tmp_path / "reliability.png") as picture:
        assert picture.size == (600, 600)
