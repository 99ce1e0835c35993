"""Views of training images."""

import numpy as np
import pytest

from ml.backbones.views import VIEWS, training_views

SIZE = 64


@pytest.fixture
def bar() -> np.ndarray:
    """A white upright bar, right of the middle, on grey."""
    image = np.full((1, SIZE, SIZE, 3), 128, np.uint8)
    image[:, :, 40:44] = 255
    return image


def centre(image: np.ndarray, row: int) -> float:
    """The column around which a row is brightest."""
    brightness = image[row, :, 0].astype(float) - 128
    return float((brightness * np.arange(SIZE)).sum() / brightness.sum())


@pytest.mark.parametrize("view", VIEWS)
def test_a_view_keeps_size_and_type_and_makes_nothing_up(view: str, bar: np.ndarray) -> None:
    images = np.concatenate([bar, bar[:, :, ::-1]])
    before = images.copy()
    shown = VIEWS[view](images)
    assert (shown.shape, shown.dtype) == (images.shape, np.uint8)
    assert shown.min() >= 127  # no empty corner
    assert np.array_equal(images, before)
    assert np.array_equal(VIEWS[view](images), shown)
    assert np.array_equal(VIEWS[view](bar)[0], shown[0])


def test_views_show_what_they_are_called(bar: np.ndarray) -> None:
    shown = {view: show(bar)[0] for view, show in VIEWS.items()}
    top, bottom = 5, SIZE - 6
    assert centre(shown["identity"], top) == pytest.approx(41.5)
    assert centre(shown["mirrored"], top) == pytest.approx(SIZE - 1 - 41.5)
    assert centre(shown["rotated_left"], top) < centre(shown["rotated_left"], bottom) - 5
    assert centre(shown["rotated_right"], top) > centre(shown["rotated_right"], bottom) + 5
    assert centre(shown["zoomed"], top) == pytest.approx(31.5 + 10 / 0.85, abs=0.2)


def test_training_takes_the_views_that_are_on_and_always_the_image_itself() -> None:
    assert training_views(False, False, False) == ["identity"]
    assert training_views(True, False, False) == ["identity", "mirrored"]
    assert training_views(False, True, True) == ["identity", "rotated_left", "rotated_right", "zoomed"]
    assert set(training_views(True, True, True)) == set(VIEWS)
