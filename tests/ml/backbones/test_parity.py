import numpy as np
import pytest

from ml.backbones.parity import BackboneParity, judge_answers

TRUTH = np.array(["a", "b"] * 100)


def wrong_at(*positions: int) -> np.ndarray:
    answers = TRUTH.copy()
    answers[list(positions)] = "c"
    return answers


def judge(fp32: np.ndarray, int8: np.ndarray, minimum_agreement: float = 0.98) -> BackboneParity:
    return judge_answers(TRUTH, fp32, int8, 500, minimum_agreement)


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
