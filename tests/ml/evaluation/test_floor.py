"""What is below the floor: one decision, exact at the floor, for all classes together and for each."""

import pytest

from ml.catalog.models.evaluations import Shortfall
from ml.evaluation.floor import Floor, measured_recalls

FLOOR = Floor(0.7, {"amanita": 0.8, "boletus": 0.75})


@pytest.mark.parametrize(("accuracy", "is_below"), [(0.7, False), (0.699, True), (0.0, True), (1.0, False)])
def test_a_figure_that_equals_its_floor_is_not_below_it(accuracy: float, is_below: bool) -> None:
    assert FLOOR.shortfalls(accuracy, {}) == ([Shortfall(None, accuracy, 0.7)] if is_below else [])


def test_no_share_of_images_is_below_the_same_share_written_as_a_decimal() -> None:
    for percent in range(101):
        assert not any(Floor(percent / 100).shortfalls(count * percent / (100 * count), {}) for count in range(1, 1001))


def test_each_class_is_compared_with_its_own_floor() -> None:
    found = FLOOR.shortfalls(0.6, {"boletus": 0.74, "amanita": 0.5, "russula": 0.1})
    assert [str(each) for each in found] == [
        "Accuracy 60.0% is below the floor of 70.0%.",
        "Recall 50.0% of amanita is below its floor of 80.0%.",
        "Recall 74.0% of boletus is below its floor of 75.0%.",
    ]


def test_a_floor_that_nothing_is_compared_with_is_told() -> None:
    figures = {"image_count": 4, "recall": 0.9}
    recalls = measured_recalls({"boletus": figures, "amanita": {**figures, "image_count": 0}})
    assert FLOOR.shortfalls(0.9, recalls) == []
    (sentence,) = FLOOR.describe_unmeasured(recalls)
    assert sentence.startswith("MYCOFLOW_CLASS_FLOORS names amanita: ")
    assert FLOOR.describe_unmeasured({"amanita": 1, "boletus": 1, "without a floor": 1}) == []


def test_each_compared_floor_has_a_state_and_all_are_described() -> None:
    recalls = {"boletus": 0.74, "russula": 0.1}
    assert FLOOR.states(FLOOR.shortfalls(0.8, recalls), recalls) == {None: False, "boletus": True}
    assert FLOOR.describe() == "The floor is 70.0%, of amanita a recall of 80.0%, of boletus a recall of 75.0%."
