import numpy as np
import pytest
from scipy.special import softmax

from ml.confidence.calibration import fit_temperature
from ml.confidence.estimation import estimate_accuracy, observed_accuracy


def calibrated(seed: int, spread: float = 2.0, count: int = 20_000) -> tuple[np.ndarray, np.ndarray]:
    """Logits of four classes, and labels drawn from the same probabilities: a calibrated model."""
    random = np.random.default_rng(seed)
    logits = random.normal(0, spread, (count, 4))
    draws = random.random((count, 1))
    return logits, (softmax(logits, axis=1).cumsum(axis=1) < draws).sum(axis=1).clip(max=3)


def test_a_calibrated_model_has_temperature_one() -> None:
    logits, labels = calibrated(0)
    assert fit_temperature(softmax(logits, axis=1), labels) == pytest.approx(1, abs=0.05)


@pytest.mark.parametrize("factor", [0.5, 3.0])
def test_an_overconfident_or_underconfident_model_gets_its_temperature(factor: float) -> None:
    logits, labels = calibrated(1)
    assert fit_temperature(softmax(factor * logits, axis=1), labels) == pytest.approx(factor, rel=0.05)


def test_the_estimate_follows_the_accuracy_on_more_difficult_images() -> None:
    temperature = fit_temperature(softmax(3 * calibrated(2)[0][:300], axis=1), calibrated(2)[1][:300])
    for spread in (2.0, 0.8):
        logits, labels = calibrated(3, spread)
        accuracy = (logits.argmax(axis=1) == labels).mean()
        assert estimate_accuracy(softmax(3 * logits, axis=1), temperature) == pytest.approx(accuracy, abs=0.04)


def test_probabilities_of_zero_and_one_are_allowed() -> None:
    certain = np.eye(3, dtype=np.float32)[np.arange(60) % 3]
    temperature = fit_temperature(certain, np.arange(60) % 3)
    assert estimate_accuracy(certain, temperature) == pytest.approx(61 / 62, abs=0.005)


def test_wilsons_interval_equals_the_published_one() -> None:
    found = observed_accuracy(8, 10)
    assert found is not None
    assert (found.share, found.low, found.high) == pytest.approx((0.8, 0.4902, 0.9433), abs=1e-4)
    assert observed_accuracy(0, 0) is None
