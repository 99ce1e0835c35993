"""sanitise: what is let in, what comes out, and why the rest is refused."""

import json
import resource
import struct
import sys
import zlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from hashlib import sha256
from io import BytesIO, TextIOWrapper

import numpy as np
import pytest
from PIL import ExifTags, Image, PngImagePlugin

from ml.errors import InvalidImageError
from ml.ingest import heic_child, validation
from ml.ingest.pictures.picture_limits import ANSWERING, INGESTION
from ml.ingest.validation import REASONS, sanitise
from tests.ml.ingest.pictures.picture_making import HEIC

Encode = Callable[..., bytes]
Photo = Callable[..., Image.Image]


def stored(content: bytes) -> Image.Image:
    return Image.open(BytesIO(sanitise(content).content))


def pixels(image: Image.Image) -> np.ndarray:
    return np.asarray(image.convert("RGB")).astype(int)


def reason_for(content: bytes) -> str:
    with pytest.raises(InvalidImageError) as refusal:
        sanitise(content)
    assert refusal.value.reason in REASONS
    assert "expected" in str(refusal.value)
    return refusal.value.reason


def png_of_size(width: int, height: int) -> bytes:
    """A PNG that claims a size and has no such pixels: a decompression bomb's header."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    data = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0")) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + data


@pytest.mark.parametrize("file_format", ["JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF"])
def test_the_usual_formats_become_upright_rgb(file_format: str, photo: Photo, encode: Encode) -> None:
    content = encode(photo(), file_format)
    image = sanitise(content)
    assert image.media_type == ("image/jpeg" if file_format == "JPEG" else "image/png")
    assert (image.width, image.height) == (48, 40)
    assert image.sha256 == sha256(content).hexdigest()
    decoded = Image.open(BytesIO(image.content))
    assert decoded.mode == "RGB"
    assert np.abs(pixels(decoded) - pixels(Image.open(BytesIO(content)))).max() <= 12


def test_lossless_images_keep_every_pixel(photo: Photo, encode: Encode) -> None:
    assert np.array_equal(pixels(stored(encode(photo(), "PNG"))), pixels(photo()))


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("file_format", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_exif_rotation_is_applied(orientation: int, file_format: str, photo: Photo, encode: Encode) -> None:
    upright = photo(size=(48, 40))
    undo = {2: 0, 3: 3, 4: 1, 5: 5, 6: 2, 7: 6, 8: 4}  # the Transpose that the camera's position amounts to
    as_taken = upright if orientation == 1 else upright.transpose(Image.Transpose(undo[orientation]))
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    result = stored(encode(as_taken, file_format, exif=exif, quality=95))
    assert result.size == (48, 40)
    assert np.abs(pixels(result) - pixels(upright)).mean() < 4


@pytest.mark.filterwarnings("ignore:Corrupt EXIF data")
def test_a_damaged_exif_block_does_not_matter(photo: Photo, encode: Encode) -> None:
    assert stored(encode(photo(), "JPEG", exif=b"Exif\0\0II*\0\xff\xff\xff\xff")).size == (48, 40)


@pytest.mark.parametrize("file_format", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_position_and_identity_are_dropped(file_format: str, photo: Photo, encode: Encode) -> None:
    exif = Image.Exif()
    exif[ExifTags.Base.Artist] = "Clementine"
    exif.get_ifd(ExifTags.IFD.GPSInfo)[ExifTags.GPS.GPSLatitudeRef] = "Clementine"
    text = PngImagePlugin.PngInfo()
    text.add_text("Author", "Clementine")
    options = {"PNG": {"pnginfo": text}, "JPEG": {"comment": b"Clementine"}}.get(file_format, {})
    content = encode(photo(), file_format, exif=exif, icc_profile=b"Clementine", **options)
    assert b"Clementine" in content
    image = sanitise(content)
    assert b"Clementine" not in image.content
    decoded = Image.open(BytesIO(image.content))
    assert not decoded.getexif()
    assert set(decoded.info) <= {"jfif", "jfif_version", "jfif_unit", "jfif_density"}


def test_a_phones_jpeg_with_embedded_previews_counts_as_one_picture(photo: Photo, encode: Encode) -> None:
    content = encode(photo(1), "MPO", save_all=True, append_images=[photo(2)])
    assert sanitise(content).media_type == "image/jpeg"
    assert np.abs(pixels(stored(content)) - pixels(photo(1))).mean() < 8


def test_cmyk_is_converted(encode: Encode) -> None:
    for file_format in ("JPEG", "TIFF"):
        red = Image.new("CMYK", (40, 40), (0, 255, 255, 0))
        assert np.abs(pixels(stored(encode(red, file_format))) - (255, 0, 0)).max() <= 6


@pytest.mark.parametrize("file_format", ["PNG", "TIFF"])
def test_sixteen_bits_are_scaled_not_clipped(file_format: str, encode: Encode) -> None:
    ramp = np.linspace(0, 65535, 64 * 64).reshape(64, 64).astype(np.uint16)
    result = pixels(stored(encode(Image.fromarray(ramp), file_format)))
    assert np.abs(result[..., 0] - ramp / 257).max() <= 0.5
    assert np.array_equal(result[..., 0], result[..., 2])


def test_big_endian_sixteen_bits_are_scaled_too(encode: Encode) -> None:
    grey = Image.frombytes("I;16B", (40, 40), np.full((40, 40), 0x8000, dtype=">u2").tobytes())
    assert np.all(pixels(stored(encode(grey, "TIFF"))) == 128)


@pytest.mark.parametrize("mode", ["1", "L", "P"])
def test_grey_palette_and_bilevel_images_are_converted(mode: str, photo: Photo, encode: Encode) -> None:
    image = photo().convert(mode)
    assert np.array_equal(pixels(stored(encode(image, "PNG"))), pixels(image))


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_transparency_lies_over_white(mode: str, encode: Encode) -> None:
    clear = Image.new(mode, (40, 40), (0, 0, 0, 0) if mode == "RGBA" else (0, 0))
    assert np.all(pixels(stored(encode(clear, "PNG"))) == 255)


def test_a_transparent_palette_colour_lies_over_white(encode: Encode) -> None:
    image = Image.new("P", (40, 40), 1)
    image.putpalette([0, 0, 0, 255, 0, 0])
    for file_format in ("PNG", "GIF"):
        assert np.all(pixels(stored(encode(image, file_format, transparency=1))) == 255)


def test_floating_point_pixels_have_no_agreed_white(encode: Encode) -> None:
    assert reason_for(encode(Image.new("F", (40, 40), 0.5), "TIFF")) == "not_convertible"


def test_an_empty_file_is_refused() -> None:
    assert reason_for(b"") == "zero_byte"


def test_four_megabytes_are_the_limit_of_a_request(photo: Photo, encode: Encode) -> None:
    content = encode(photo(), "PNG")
    assert sanitise(content + bytes(ANSWERING.bytes - len(content)), ANSWERING).width == 48
    with pytest.raises(InvalidImageError) as refused:
        sanitise(content + bytes(ANSWERING.bytes - len(content) + 1), ANSWERING)
    assert refused.value.reason == "too_large"


@pytest.mark.parametrize("content", [b"hello", b"%PDF-1.7", b"<svg xmlns='http://www.w3.org/2000/svg'/>", b"\0" * 500])
def test_what_is_no_image_is_refused(content: bytes) -> None:
    assert reason_for(content) == "not_an_image"


@pytest.mark.parametrize("file_format", ["ICO", "PPM", "TGA", "PCX", "EPS", "PDF"])
def test_exotic_formats_are_not_even_tried(file_format: str, photo: Photo, encode: Encode) -> None:
    assert reason_for(encode(photo(), file_format)) == "not_an_image"


@pytest.mark.parametrize("file_format", ["JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF"])
@pytest.mark.parametrize("kept", [0.1, 0.5, 0.8])
def test_truncated_files_are_refused(file_format: str, kept: float, encode: Encode) -> None:
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8))
    content = encode(noise, file_format)
    assert reason_for(content[: int(len(content) * kept)]) == "unreadable"


def test_damaged_pixels_are_refused(photo: Photo, encode: Encode) -> None:
    content = bytearray(encode(photo(), "PNG"))
    content[len(content) // 2] ^= 0xFF
    assert reason_for(bytes(content)) == "unreadable"


def test_thirty_two_pixels_are_the_least(photo: Photo, encode: Encode) -> None:
    assert sanitise(encode(photo(size=(32, 32)), "PNG")).width == 32
    assert reason_for(encode(photo(size=(31, 32)), "PNG")) == "too_small"
    assert reason_for(encode(photo(size=(500, 31)), "PNG")) == "too_small"


@pytest.mark.parametrize("side", [10_001, 20_000, 60_000])
def test_a_decompression_bomb_is_refused_by_its_header(side: int) -> None:
    assert reason_for(png_of_size(side, side)) == "too_many_pixels"


def test_a_request_may_bring_fewer_pixels_than_ingestion() -> None:
    with pytest.raises(InvalidImageError, match="at most 13 megapixels in a PNG, got 3606 x 3606"):
        sanitise(png_of_size(3606, 3606), ANSWERING)


@pytest.mark.parametrize("file_format", ["GIF", "PNG", "WEBP", "TIFF"])
def test_animated_and_many_paged_files_are_refused(file_format: str, photo: Photo, encode: Encode) -> None:
    content = encode(photo(1), file_format, save_all=True, append_images=[photo(2), photo(3)])
    assert reason_for(content) == "animated"


def test_many_threads_may_sanitise_at_once(photo: Photo, encode: Encode) -> None:
    contents = [encode(photo(seed), "PNG" if seed % 2 else "JPEG") for seed in range(24)]
    expected = [sanitise(content) for content in contents]
    with ThreadPoolExecutor(8) as threads:
        assert list(threads.map(sanitise, contents)) == expected


@pytest.mark.parametrize("step", ["read_picture_file", "open_profile", "decode", "encode", "_sanitised"])
def test_a_picture_for_which_there_is_no_memory_is_too_complex_whatever_step_needs_it(
    step: str, photo: Photo, encode: Encode, monkeypatch: pytest.MonkeyPatch
) -> None:
    def run_out(*_: object, **__: object) -> None:
        raise MemoryError

    monkeypatch.setattr(validation, step, run_out)
    with pytest.raises(InvalidImageError, match="in less memory") as refused:
        sanitise(encode(photo(), "PNG"))
    assert refused.value.reason == "too_complex"


@pytest.mark.parametrize(
    ("end", "reason"),
    [
        ("SIGKILL", "unreachable"),
        ("SIGXCPU", "too_complex"),
        ("compute", "too_complex"),
        ("sleep", "too_complex"),
        ("SIGSEGV", "unreadable"),
        ("SIGABRT", "unreadable"),
        ("SIGBUS", "unreadable"),
    ],
)
def test_however_the_process_that_reads_a_heic_ends_only_that_picture_is_refused(
    end: str, reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as other:
        other.setattr(validation, "_HEIC_CHILD", "tests.ml.ingest.pictures.ending_child")
        other.setattr(validation, "_HEIC_SECONDS", 2.0 if end == "sleep" else 60.0)
        with pytest.raises(InvalidImageError) as refused:
            sanitise(HEIC + f"\n{end}".encode())
    assert refused.value.reason == reason
    assert sanitise(HEIC).width == 40


def test_the_process_that_reads_a_heic_has_bounds(
    monkeypatch: pytest.MonkeyPatch, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    bounds = dict[int, tuple[int, int]]()
    monkeypatch.setattr(heic_child.resource, "setrlimit", bounds.__setitem__)
    monkeypatch.setattr(sys, "argv", ["heic_child", json.dumps(asdict(INGESTION))])
    for content, expected in ((HEIC, b"image/png"), (HEIC[:100], b"unreadable")):
        monkeypatch.setattr(sys, "stdin", TextIOWrapper(BytesIO(content)))
        heic_child.main()
        assert expected in capfdbinary.readouterr().out
    soft, hard = bounds[resource.RLIMIT_CPU]
    assert soft <= 60
    assert hard == resource.RLIM_INFINITY or hard > soft  # the kernel sends SIGKILL at the second one
    assert max(bounds[resource.RLIMIT_AS]) <= 4 * 2**30


def test_whatever_a_step_raises_for_a_heic_refuses_that_picture_only(
    monkeypatch: pytest.MonkeyPatch, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise SystemError

    monkeypatch.setattr(heic_child.resource, "setrlimit", lambda *_: None)
    monkeypatch.setattr(validation, "encode", fail)
    monkeypatch.setattr(sys, "argv", ["heic_child", json.dumps(asdict(INGESTION))])
    monkeypatch.setattr(sys, "stdin", TextIOWrapper(BytesIO(HEIC)))
    heic_child.main()
    assert b"unreadable" in capfdbinary.readouterr().out
