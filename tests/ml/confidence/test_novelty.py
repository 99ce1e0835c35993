from pathlib import Path

import numpy as np
import pytest

from ml.confidence.novelty import NoveltyMeasure, References, Surprise, load_novelty, save_novelty
from ml.errors import ModelLoadError

FEATURES = 32


def near(random: np.random.Generator, count: int) -> np.ndarray:
    """Features around one direction."""
    return (np.eye(FEATURES)[0] * 4 + random.normal(size=(count, FEATURES)) / 2).astype(np.float32)


@pytest.fixture
def measure() -> NoveltyMeasure:
    random = np.random.default_rng(0)
    references = References.of(near(random, 300))
    return NoveltyMeasure.of(references, references.distances(near(random, 400)), random.beta(8, 2, 400))


def test_the_threshold_calls_one_known_image_in_twenty_novel(measure: NoveltyMeasure) -> None:
    random = np.random.default_rng(1)
    novelties = measure.measure(near(random, 2000), random.beta(8, 2, 2000))
    assert (novelties > 1).mean() == pytest.approx(0.05, abs=0.02)


def test_what_is_far_away_is_novel_although_the_model_is_sure(measure: NoveltyMeasure) -> None:
    far = np.random.default_rng(2).normal(size=(50, FEATURES)).astype(np.float32)
    assert (measure.measure(far, np.full(50, 0.99)) > 1).all()


def test_a_doubtful_answer_is_more_novel_than_a_sure_one(measure: NoveltyMeasure) -> None:
    features = near(np.random.default_rng(3), 20)
    assert (measure.measure(features, np.full(20, 0.2)) > measure.measure(features, np.full(20, 0.95))).all()


def test_novelty_goes_on_growing_beyond_all_known_images() -> None:
    surprise = Surprise.of(np.linspace(0, 1, 500))
    values = surprise.measure(np.array([-1.0, 0.5, 1.0, 1.5, 2.0]))
    assert (np.diff(values) > 0).all()
    assert values[0] == 0


@pytest.mark.parametrize("count", [1, 3, 5000])
def test_any_number_of_references_will_do(count: int) -> None:
    references = References.of(near(np.random.default_rng(0), count))
    assert len(references.directions) == min(count, 2000)
    assert np.isfinite(references.distances(near(np.random.default_rng(1), 4))).all()


def test_features_of_length_zero_have_a_distance() -> None:
    references = References.of(np.zeros((3, FEATURES), np.float32))
    assert references.distances(np.zeros((2, FEATURES), np.float32)).tolist() == [1, 1]


def test_known_images_without_any_variation_have_a_threshold() -> None:
    measure = NoveltyMeasure.of(References.of(np.ones((9, 4), np.float32)), np.zeros(40), np.ones(40))
    same, other = measure.measure(np.ones((2, 4), np.float32), np.array([1.0, 0.5]))
    assert same <= 1
    assert other > 1


def test_a_model_that_is_always_right_does_not_call_a_little_doubt_novel() -> None:
    random = np.random.default_rng(0)
    references = References.of(near(random, 60))
    confidences = random.uniform(0.9, 0.99, 60)
    measure = NoveltyMeasure.of(references, references.distances(near(random, 60)), confidences)
    assert (measure.measure(near(random, 40), np.full(40, 0.93)) <= 1).mean() > 0.8


def test_a_measure_is_the_same_after_reading_it(tmp_path: Path, measure: NoveltyMeasure) -> None:
    save_novelty(measure, tmp_path / "novelty.npz")
    read = load_novelty(tmp_path / "novelty.npz", FEATURES)
    features, confidences = near(np.random.default_rng(4), 10), np.linspace(0.1, 1, 10)
    assert read.measure(features, confidences).tolist() == measure.measure(features, confidences).tolist()


def damage(measure: NoveltyMeasure, path: Path, how: str) -> None:
    save_novelty(measure, path)
    match how:
        case "missing":
            path.unlink()
        case "empty":
            path.write_bytes(b"")
        case "cut":
            path.write_bytes(path.read_bytes()[:200])
        case "no numbers":
            np.savez(path, references=np.zeros((2, FEATURES)), distance=np.zeros(201), doubt=np.zeros(201))
        case "flat":
            np.savez(
                path, references=np.zeros(FEATURES), distance=np.zeros(201), doubt=np.zeros(201), scalars=np.ones(3)
            )
        case "NaN":
            np.savez(
                path,
                references=np.zeros((2, FEATURES)),
                distance=np.zeros(201),
                doubt=np.zeros(201),
                scalars=np.full(3, np.nan),
            )


@pytest.mark.parametrize("how", ["missing", "empty", "cut", "no numbers", "flat", "NaN"])
def test_a_damaged_file_is_refused_with_what_to_do(tmp_path: Path, measure: NoveltyMeasure, how: str) -> None:
    damage(measure, tmp_path / "novelty.npz", how)
    with pytest.raises(ModelLoadError, match=r"Expected .* again"):
        load_novelty(tmp_path / "novelty.npz", FEATURES)


def test_a_measure_of_other_features_is_refused(tmp_path: Path, measure: NoveltyMeasure) -> None:
    save_novelty(measure, tmp_path / "novelty.npz")
    with pytest.raises(ModelLoadError, match="references of 8 features"):
        load_novelty(tmp_path / "novelty.npz", 8)
