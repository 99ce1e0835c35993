from dataclasses import replace

import numpy as np
import pytest

from ml.evaluation.drift import (
    MINIMUM_IMAGES,
    DriftScores,
    Sample,
    Shift,
    class_shift,
    confidence_psi,
    kolmogorov_smirnov,
    maximum_mean_discrepancy,
    measure_drift,
    psi,
)


def counts(*values: int) -> np.ndarray:
    return np.array(values, dtype=np.int64)


def sample(seed: int, count: int = 200, shift: float = 0.0) -> Sample:
    """Vectors about a point that lies `shift` away from the origin in each dimension, and answers that hang on them."""
    features = np.random.default_rng(seed).normal(shift, 1, (count, 8))
    odds = np.exp(features[:, :3])
    shares = odds / odds.sum(axis=1, keepdims=True)
    return Sample(shares.max(axis=1), shares.argmax(axis=1).astype(str), features)


def scores(confidence: Shift, classes: Shift, features: Shift | None, confidence_psi: float = 0.5) -> DriftScores:
    return DriftScores(confidence_psi, confidence, classes, features, None)


def test_psi_of_a_half_that_became_four_fifths_is_that_of_the_formula() -> None:
    many = 10**6
    found = psi(counts(5 * many, 5 * many), counts(8 * many, 2 * many))
    assert found == pytest.approx(0.3 * np.log(0.8 / 0.5) - 0.3 * np.log(0.2 / 0.5), abs=1e-6)


def test_psi_is_zero_for_equal_shares_and_finite_for_an_empty_bin() -> None:
    assert psi(counts(30, 70), counts(30, 70)) == 0
    assert 0.2 < psi(counts(100, 0), counts(80, 20)) < 2


def test_psi_of_confidences_hardly_sees_chance_and_clearly_sees_doubt() -> None:
    random = np.random.default_rng(0)
    reference, same, unsure = random.beta(9, 1, 1000), random.beta(9, 1, 1000), random.beta(4, 3, 1000)
    assert confidence_psi(reference, same) < 0.05
    assert confidence_psi(reference, unsure) > 1


def test_psi_of_confidences_works_where_all_are_the_same() -> None:
    assert confidence_psi(np.ones(50), np.ones(60)) == pytest.approx(0, abs=0.001)


def test_the_distance_of_kolmogorov_and_smirnov_is_the_largest_gap() -> None:
    found = kolmogorov_smirnov(np.arange(100) / 100, np.arange(100) / 100 + 0.295)
    assert found.score == pytest.approx(0.3)
    assert found.p_value < 0.001


def test_the_same_mix_of_classes_is_likely_and_another_is_not() -> None:
    assert class_shift(counts(50, 50, 100), counts(25, 25, 50)).p_value == 1
    assert class_shift(counts(50, 50, 100), counts(10, 70, 20)).p_value == 0.001


def test_classes_that_nobody_answers_change_nothing() -> None:
    few, many = class_shift(counts(50, 60), counts(60, 30)), class_shift(counts(50, 60, 0, 0), counts(60, 30, 0, 0))
    assert few == many


def test_mmd_is_that_of_its_formula() -> None:
    reference, recent = np.array([[0.0], [1.0]]), np.array([[3.0], [5.0]])
    # Distances 1, 3, 5, 2, 4, 2; the median of their squares is 6.5.
    kernel = {distance: np.exp(-(distance**2) / 13) for distance in (1, 2, 3, 4, 5)}
    between = (kernel[3] + kernel[5] + kernel[2] + kernel[4]) / 4
    assert maximum_mean_discrepancy(reference, recent).score == pytest.approx(kernel[1] + kernel[2] - 2 * between)


def test_mmd_sees_vectors_that_moved_and_says_the_same_each_time() -> None:
    moved = maximum_mean_discrepancy(sample(0).features, sample(1, shift=0.5).features)
    quiet = maximum_mean_discrepancy(sample(0).features, sample(1).features)
    assert moved.p_value == 0.001
    assert moved.score > 10 * abs(quiet.score)
    assert quiet.p_value > 0.05
    assert quiet == maximum_mean_discrepancy(sample(0).features, sample(1).features)


def test_mmd_of_vectors_that_are_all_the_same_is_nothing() -> None:
    assert maximum_mean_discrepancy(np.ones((40, 4)), np.ones((50, 4))) == Shift(pytest.approx(0), 1)


def test_too_few_images_have_no_scores_and_too_few_features_no_mmd() -> None:
    enough, few = sample(0, MINIMUM_IMAGES), sample(0, MINIMUM_IMAGES - 1)
    assert measure_drift(enough, few) is None
    assert measure_drift(few, enough) is None
    found = measure_drift(enough, Sample(enough.confidences, enough.top_classes, few.features))
    assert found is not None
    assert found.features is None


def test_what_moved_is_named_only_where_it_is_beyond_chance_and_considerable() -> None:
    sure, unsure = 0.001, 0.02
    assert scores(Shift(0.3, sure), Shift(0.5, sure), Shift(0.1, sure)).moved == ["confidence", "classes", "features"]
    assert scores(Shift(0.3, unsure), Shift(0.5, unsure), Shift(0.1, unsure)).moved == []
    assert scores(Shift(0.3, sure), Shift(0.1, sure), None, confidence_psi=0.1).moved == []


def test_three_comparisons_together_are_allowed_one_false_alarm_in_a_hundred() -> None:
    unlikely = 0.004  # three times that is more than 0.01
    assert scores(Shift(0.3, unlikely), Shift(0.5, 1), Shift(0.1, 1)).moved == []
    assert scores(Shift(0.3, 0.003), Shift(0.5, 1), Shift(0.1, 1)).moved == ["confidence"]


@pytest.mark.parametrize(("novel", "drifts"), [(0, False), (15, False), (29, False), (60, True), (300, True)])
def test_many_novel_images_are_drift(novel: int, drifts: bool) -> None:
    reference = replace(sample(1, 300), novel=np.arange(300) < 15)
    recent = replace(sample(2, 300), novel=np.arange(300) < novel)
    found = measure_drift(reference, recent)
    assert found is not None
    assert found.novelty is not None
    assert found.novelty.score == novel / 300
    assert ("novelty" in found.moved) is drifts


def test_without_measured_novelty_there_is_no_figure_of_it() -> None:
    found = measure_drift(sample(1, 300), sample(2, 300))
    assert found is not None
    assert found.novelty is None


def test_with_few_known_images_the_share_of_novel_ones_proves_little() -> None:
    reference = replace(sample(1, 300), novel=np.arange(30) < 2)
    recent = replace(sample(2, 300), novel=np.arange(300) < 36)
    found = measure_drift(reference, recent)
    assert found is not None
    assert "novelty" not in found.moved
