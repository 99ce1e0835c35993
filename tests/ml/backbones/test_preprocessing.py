import io

import numpy as np
import pytest
from PIL import Image

from ml.backbones.preprocessing import INPUT_CHANNELS, to_pixels
from ml.errors import InvalidImageError


def encode(pixels: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def test_pixels_are_rgb_squares_of_the_requested_size() -> None:
    picture = np.zeros((48, 100, 3), np.uint8)
    picture[..., 0] = 200
    pixels = to_pixels(encode(picture), 40)
    assert pixels.shape == (40, 40, 3)
    assert pixels.dtype == np.uint8
    assert (pixels == [200, 0, 0]).all()


def test_a_grey_image_gets_three_equal_channels() -> None:
    pixels = to_pixels(encode(np.full((8, 8), 90, np.uint8)), 32)
    assert pixels.shape == (32, 32, INPUT_CHANNELS)
    assert (pixels == 90).all()


def test_shrinking_averages_fine_detail_instead_of_dropping_it() -> None:
    checkerboard = (np.indices((256, 256)).sum(axis=0) % 2 * 255).astype(np.uint8)
    pixels = to_pixels(encode(checkerboard), 32).astype(int)
    assert np.abs(pixels - 127).max() <= 2


@pytest.mark.parametrize("content", [b"", b"no image at all", encode(np.zeros((64, 64), np.uint8))[:60]])
def test_bytes_that_do_not_decode_are_refused(content: bytes) -> None:
    with pytest.raises(InvalidImageError, match="Ingest the image again") as refused:
        to_pixels(content, 32)
    assert refused.value.reason == "unreadable"
