"""Write pictures anew, without metadata, in not much more space than their file took."""

from io import BytesIO

from PIL import Image

_QUALITIES = (95, 85, 75)
_MOST_TIMES = 4  # as large as the file as received
_MOST_JPEG_BYTES = 1024 * 1024 * 1024  # never reached: the limits on stored pixels bound a JPEG at the last quality
_SMALL_BYTES = 1024 * 1024  # what any picture may take


class _FullError(Exception):
    """More bytes than the buffer may take."""


class _BoundedBuffer(BytesIO):
    def __init__(self, most_bytes: int) -> None:
        super().__init__()
        self._most_bytes = most_bytes

    def write(self, data: bytes) -> int:  # type: ignore[override]
        if self.tell() + len(data) > self._most_bytes:
            raise _FullError
        return super().write(data)


def encode(image: Image.Image, received_bytes: int, is_jpeg: bool) -> tuple[bytes, str]:
    """Write an image. A JPEG stays one, anything else becomes a PNG, or a JPEG if the PNG would be far larger.

    Args: received_bytes, size of the file as received.
    Returns: the bytes and their media type.
    """
    image.info = {}  # Pillow would write the comment and the colour profile in it
    most_bytes = max(_MOST_TIMES * received_bytes, _SMALL_BYTES)
    if not is_jpeg:
        try:
            # Level 6 takes 4 times as long.
            return _save(image, most_bytes, format="PNG", compress_level=1), "image/png"
        except _FullError:
            pass
    for quality in _QUALITIES[:-1]:
        try:
            return _save(image, most_bytes, format="JPEG", quality=quality, subsampling=0), "image/jpeg"
        except _FullError:
            pass
    return _save(image, _MOST_JPEG_BYTES, format="JPEG", quality=_QUALITIES[-1]), "image/jpeg"


def _save(image: Image.Image, most_bytes: int, **options: object) -> bytes:
    buffer = _BoundedBuffer(most_bytes)
    image.save(buffer, **options)  # type: ignore[arg-type]
    return buffer.getvalue()
