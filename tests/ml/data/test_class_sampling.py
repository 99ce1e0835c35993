from collections import Counter

from ml.catalog.annotations import Annotation
from ml.data.class_sampling import take_evenly
from ml.data.evaluation_sets import EvaluationItem

IMAGES = [
    EvaluationItem(f"{i:064x}", f"{i:064x}", None, Annotation(("many" if i % 10 else "few",)), "anchor")
    for i in range(100)
]


def test_classes_are_taken_in_turn_until_one_runs_out() -> None:
    assert Counter(image.annotation.label for image in take_evenly(IMAGES, 8)) == {"many": 4, "few": 4}
    assert Counter(image.annotation.label for image in take_evenly(IMAGES, 50)) == {"many": 40, "few": 10}


def test_the_order_of_the_images_does_not_matter() -> None:
    assert take_evenly(IMAGES[::-1], 20) == take_evenly(IMAGES, 20)


def test_all_are_taken_where_there_are_no_more() -> None:
    assert set(take_evenly(IMAGES, 1000)) == set(IMAGES)
