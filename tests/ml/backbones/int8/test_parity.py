import numpy as np
import pytest

from ml.backbones.int8.parity import NOTHING, BackboneParity, judge_names, name_images, shown_names
from ml.catalog.annotations import Annotation

TRUTH = np.array(["a", "b"] * 100)
SPOTS = {"a": 0, "b": 1, "c": 2}  # the feature that each class shows in


def wrong_at(*positions: int) -> np.ndarray:
    names = TRUTH.copy()
    names[list(positions)] = "c"
    return names


def judge(fp32: np.ndarray, int8: np.ndarray, minimum_agreement: float = 0.98) -> BackboneParity:
    return judge_names([{name} for name in TRUTH], fp32, int8, 500, minimum_agreement)


def features_of(shown: list[set[str]], seed: int) -> np.ndarray:
    noise = np.random.default_rng(seed).normal(0, 0.1, (len(shown), len(SPOTS)))
    marks = [[float(name in names) for name in SPOTS] for names in shown]
    return (noise + np.array(marks)).astype(np.float32)


def test_int8_is_used_if_nearly_all_its_answers_equal_those_of_fp32() -> None:
    parity = judge(wrong_at(0, 1), wrong_at(1, 2, 3))
    assert (parity.decision, parity.agreement) == ("int8", 0.985)
    assert (parity.fp32_accuracy, parity.int8_accuracy) == (0.99, 0.985)
    assert "gives 98.5% of 200 images the class that fp32 gives" in parity.reason


def test_an_agreement_equal_to_the_minimum_is_enough() -> None:
    assert judge(TRUTH, wrong_at(0, 1, 2, 3)).decision == "int8"


def test_int8_is_refused_below_the_minimum_agreement_even_with_equal_accuracy() -> None:
    parity = judge(wrong_at(0, 1, 2), wrong_at(3, 4, 5))
    assert (parity.decision, parity.mcnemar_p) == ("fp32", 1.0)
    assert parity.reason.startswith("int8 was refused: it gives 97.0%")


def test_int8_is_refused_if_it_is_significantly_worse() -> None:
    parity = judge(TRUTH, wrong_at(*range(6)), minimum_agreement=0.9)
    assert parity.mcnemar_p == pytest.approx(2 / 2**6)
    assert parity.decision == "fp32"


def test_five_more_errors_may_be_chance() -> None:
    parity = judge(TRUTH, wrong_at(*range(5)), minimum_agreement=0.9)
    assert parity.mcnemar_p == pytest.approx(2 / 2**5)
    assert parity.decision == "int8"


def test_int8_is_not_refused_for_being_better() -> None:
    assert judge(wrong_at(*range(20)), TRUTH, minimum_agreement=0.9).decision == "int8"


def test_an_image_of_several_classes_may_be_called_each_of_them() -> None:
    shown = [{"a", "b"}, {"a", "c"}, {NOTHING}] * 20
    names = name_images(features_of(shown, 0), shown, features_of(shown, 1))
    assert all(name in right for name, right in zip(names, shown, strict=True))
    parity = judge_names(shown, names, np.where(names == "a", "b", names), 60, 0.98)
    assert (parity.fp32_accuracy, parity.decision) == (1.0, "fp32")
    assert parity.int8_accuracy == pytest.approx(1 - sum(names[1::3] == "a") / 60)


def test_an_item_may_show_no_class_and_one_class_many_times() -> None:
    assert shown_names(Annotation(())) == {NOTHING}
    assert shown_names(Annotation(("cell", "cell", "rod"))) == {"cell", "rod"}


def test_all_images_may_show_the_same_class() -> None:
    shown = [{"a"}] * 10
    assert list(name_images(features_of(shown, 0), shown, features_of(shown[:3], 1))) == ["a"] * 3
    both = [{"a", "b"}] * 10
    assert set(name_images(features_of(both, 0), both, features_of(both, 1))) <= {"a", "b"}
