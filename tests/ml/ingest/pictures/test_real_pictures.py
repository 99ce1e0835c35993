"""Pictures as cameras, phones and programs write them: each is read as people see it."""

import re
import struct
import time
import zlib
from collections.abc import Callable
from io import BytesIO
from typing import Any

import numpy as np
import pytest
from PIL import ExifTags, Image, ImageCms, PngImagePlugin

from ml.errors import InvalidImageError
from ml.ingest.pictures.picture_limits import ANSWERING, INGESTION
from ml.ingest.validation import sanitise
from tests.ml.ingest.pictures.hostile_pictures import many_frames, one_tile
from tests.ml.ingest.pictures.picture_making import (
    FATAL_HEIC,
    HEIC,
    adobe_rgb,
    bmp_32_bit,
    chunk,
    display_p3,
    png_16_bit,
    tiff_16_bit,
    with_chunks,
    with_segments,
    write,
)

Photo = Callable[..., Image.Image]
TURNED = b"Exif\0\0MM\0*" + struct.pack(">LHHHLHHL", 8, 1, 274, 3, 1, 6, 0, 0)


def seen(content: bytes) -> np.ndarray:
    return np.asarray(Image.open(BytesIO(sanitise(content).content)).convert("RGB")).astype(int)


def as_array(image: Image.Image) -> np.ndarray:
    return np.asarray(image.convert("RGB")).astype(int)


def refusal_of(content: bytes) -> InvalidImageError:
    with pytest.raises(InvalidImageError) as refused:
        sanitise(content)
    return refused.value


@pytest.mark.parametrize("profile", [adobe_rgb(), display_p3()])
@pytest.mark.parametrize("file_format", ["JPEG", "PNG", "WEBP", "TIFF", "BMP"])
def test_colours_are_those_that_the_profile_names(file_format: str, profile: bytes) -> None:
    colours = Image.fromarray(np.array([[[200, 80, 40], [60, 160, 90]]], np.uint8)).resize((64, 64), 0)
    opened = ImageCms.getOpenProfile(BytesIO(profile))
    expected = as_array(ImageCms.profileToProfile(colours, opened, ImageCms.createProfile("sRGB")) or colours)
    options = {"JPEG": {"quality": 95, "subsampling": 0}, "WEBP": {"lossless": True}}.get(file_format, {})
    if file_format == "BMP":
        content = bmp_32_bit(np.asarray(colours), 255, profile)
    else:
        content = write(colours, file_format, icc_profile=profile, **options)
    assert np.abs(expected - as_array(colours)).max() > 10
    assert np.abs(seen(content) - expected).max() <= 4
    assert "icc_profile" not in Image.open(BytesIO(sanitise(content).content)).info


def test_transparent_and_palette_pictures_have_their_colours_converted_too() -> None:
    opened = ImageCms.getOpenProfile(BytesIO(adobe_rgb()))
    colour = Image.new("RGB", (40, 40), (200, 80, 40))
    expected = as_array(ImageCms.profileToProfile(colour, opened, ImageCms.createProfile("sRGB")) or colour)
    for image in (colour.convert("RGBA"), colour.quantize(4)):
        assert np.abs(seen(write(image, "PNG", icc_profile=adobe_rgb())) - expected).max() <= 2


def test_a_jpeg_in_srgb_keeps_its_coded_pixels(photo: Photo) -> None:
    plain = write(photo(), "JPEG", quality=70)
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    for content in (plain, write(photo(), "JPEG", quality=70, icc_profile=profile), plain + b"a video"):
        assert sanitise(content).content == sanitise(plain).content
        assert len(sanitise(content).content) <= len(plain)
        assert np.array_equal(seen(content), as_array(Image.open(BytesIO(plain))))


def test_metadata_that_is_too_large_or_damaged_does_not_matter(photo: Photo) -> None:
    png, jpeg, webp = write(photo(), "PNG"), write(photo(), "JPEG"), write(photo(), "WEBP", lossless=True)
    long_text = b"Comment\0\0" + zlib.compress(bytes(3_000_000))
    long_profile = b"icc\0\0" + zlib.compress(bytes(20_000_000))
    broken = chunk(b"tEXt", b"Author\0nobody")[:-4] + b"\0\0\0\0"
    for chunks in (
        [chunk(b"zTXt", long_text)],
        [chunk(b"iTXt", b"Comment\0\1\0\0\0" + zlib.compress(bytes(3_000_000)))] * 40,
        [chunk(b"tEXt", b"Comment\0" + b"x" * 2_000_000)],
        [chunk(b"iCCP", long_profile)],
        [chunk(b"iCCP", b"icc\0\0no zlib")],
        [chunk(b"iCCP", b"icc\0\0" + zlib.compress(b"no profile"))],
        [chunk(b"eXIf", b"II*\0\xff\xff\xff\xff")],
        [chunk(b"eXIf", b"")],
        [chunk(b"pHYs", b"x"), chunk(b"gAMA", b""), chunk(b"cHRM", b"?"), chunk(b"sRGB", b"")],
        [broken],
    ):
        assert np.array_equal(seen(with_chunks(png, *chunks)), as_array(photo()))
    expected = as_array(Image.open(BytesIO(jpeg)))
    icc = b"ICC_PROFILE\0"
    for segments in (
        [(0xFE, b"x" * 60_000)] * 30,
        [(0xE1, b"Exif\0\0" + b"\xff" * 60_000)],
        [(0xE2, icc + b"\1\1no profile")],
        [(0xE2, icc + bytes([number, 99]) + bytes(65_000)) for number in range(1, 99)],
        [(0xE2, icc + b"\2\3" + adobe_rgb())],
        [(0xED, b"Photoshop 3.0\0" + b"8BIM" * 10_000)],
        [(0xE0, b"JFIF\0\1\1\0\0\1\0\1\xff\xff")],
    ):
        assert np.array_equal(seen(with_segments(jpeg, *segments)), expected)
    exif = b"EXIF" + struct.pack("<L", 4) + b"\xff\xff\xff\xff"
    assert np.array_equal(seen(webp + exif), as_array(photo()))


@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"restart_marker_blocks": 2}, {"optimize": True}])
@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
def test_a_jpeg_without_its_end_marker_is_whole_if_every_row_is_there(
    mode: str, options: dict[str, object], textured: Photo
) -> None:
    content = write(textured().convert(mode), "JPEG", **options)
    for cut in (1, 2):
        assert np.array_equal(seen(content[:-cut]), seen(content))
    for cut in (40, len(content) // 10, len(content) // 2):
        assert refusal_of(content[:-cut]).reason == "unreadable"


@pytest.mark.parametrize("options", [{"restart_marker_rows": 1}, {"restart_marker_blocks": 7}])
@pytest.mark.parametrize("more", [{}, {"progressive": True}, {"subsampling": 0}])
@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_a_jpeg_that_is_cut_at_a_restart_is_not_whole(
    mode: str, more: dict[str, object], options: dict[str, object], textured: Photo
) -> None:
    content = write(textured(size=(160, 160)).convert(mode), "JPEG", **options, **more)
    assert np.array_equal(seen(content[:-2]), seen(content))
    restarts = [each.start() for each in re.finditer(rb"\xff[\xd0-\xd7]", content)]
    assert len(restarts) >= 9  # their numbers begin again after eight
    for restart in restarts:
        for cut in range(3):
            assert refusal_of(content[: restart + cut]).reason == "unreadable"


def test_a_progressive_jpeg_without_its_last_scan_is_not_whole(textured: Photo) -> None:
    content = write(textured(), "JPEG", progressive=True)
    assert refusal_of(content[: content.rindex(b"\xff\xda")]).reason == "unreadable"


def test_a_plain_jpeg_whose_lower_half_is_plain_is_still_truncated_in_it() -> None:
    content = write(Image.new("RGB", (400, 400), (128, 128, 128)), "JPEG")
    assert seen(content[:-2]).shape == (400, 400, 3)
    assert refusal_of(content[:-30]).reason == "unreadable"


def test_pngs_and_gifs_without_their_end_are_whole_too(photo: Photo) -> None:
    png, gif = write(photo(), "PNG"), write(photo(), "GIF")
    assert np.array_equal(seen(png[:-12]), seen(png))
    assert np.array_equal(seen(gif[:-1]), seen(gif))


@pytest.mark.parametrize("alpha", [0, 255])
def test_an_unused_alpha_of_a_bitmap_is_no_transparency(alpha: int, photo: Photo) -> None:
    assert np.array_equal(seen(bmp_32_bit(np.asarray(photo()), alpha)), as_array(photo()))


@pytest.mark.parametrize("write_grey", [png_16_bit, tiff_16_bit])
@pytest.mark.parametrize("white", [4095, 65535])
def test_twelve_and_sixteen_bits_are_told_apart(white: int, write_grey: Callable[[np.ndarray], bytes]) -> None:
    ramp = np.linspace(0, white, 64 * 64).reshape(64, 64).astype(np.uint16)
    for values in (ramp, np.dstack([ramp, ramp // 2, ramp[::-1]])):
        expected = values.astype(float) * 255 / white
        got = seen(write_grey(values))
        assert np.abs((got if values.ndim == 3 else got[..., 0]) - expected).max() <= 1


@pytest.mark.parametrize("opaque", [4095, 65535])
def test_twelve_bits_may_have_transparency(opaque: int) -> None:
    ramp = np.linspace(0, 4095, 64 * 64).reshape(64, 64).astype(np.uint16)
    alpha = np.full_like(ramp, opaque)
    for values in (np.dstack([ramp, alpha]), np.dstack([ramp, ramp, ramp, alpha])):
        assert np.abs(seen(png_16_bit(values))[..., 0] - ramp.astype(float) * 255 / 4095).max() <= 1


def test_a_tiff_may_say_what_white_is() -> None:
    values = np.full((40, 40), 512, np.uint16)
    assert np.all(seen(tiff_16_bit(values, white=1023)) == 128)
    assert np.all(seen(tiff_16_bit(values, ">", white=1023)) == 128)
    assert np.all(seen(tiff_16_bit(values, white=100)) == 32)  # what cannot be white is not


def test_a_black_picture_of_sixteen_bits_stays_black() -> None:
    assert not seen(png_16_bit(np.zeros((40, 40), np.uint16))).any()


@pytest.mark.parametrize("where", ["xmp", "raw profile", "exif in png", "big-endian"])
def test_the_orientation_is_found_wherever_programs_write_it(where: str) -> None:
    picture = Image.new("RGB", (48, 40), "red")
    xmp = b"<x:xmpmeta><rdf:Description tiff:Orientation='6'/></x:xmpmeta>"
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    if where == "xmp":
        contents = [
            with_segments(write(picture, "JPEG"), (0xE1, b"http://ns.adobe.com/xap/1.0/\0" + xmp)),
            with_chunks(write(picture, "PNG"), chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + xmp)),
            write(picture, "WEBP", xmp=xmp),
        ]
    elif where == "raw profile":
        digits = (b"Exif\0\0" + exif.tobytes().removeprefix(b"Exif\0\0")).hex().encode()
        text = b"\nexif\n%8d\n" % (len(digits) // 2) + digits
        png = write(picture, "PNG")
        contents = [
            with_chunks(png, chunk(b"tEXt", b"Raw profile type exif\0" + text)),
            with_chunks(png, chunk(b"zTXt", b"Raw profile type exif\0\0" + zlib.compress(text))),
        ]
    elif where == "exif in png":
        contents = [write(picture, "PNG", exif=exif)]
    else:
        contents = [with_segments(write(picture, "JPEG"), (0xE1, TURNED))]
    for content in contents:
        assert (sanitise(content).width, sanitise(content).height) == (40, 48)


def test_heic_is_read_whatever_its_name_says_and_loses_its_metadata() -> None:
    image = sanitise(HEIC)
    assert b"Clementine" in HEIC
    assert b"Clementine" not in image.content
    assert (image.media_type, image.width, image.height) == ("image/png", 40, 48)
    assert refusal_of(FATAL_HEIC).reason == "unreadable"
    for cut in (0.3, 0.6, 0.95):
        assert refusal_of(HEIC[: int(len(HEIC) * cut)]).reason == "unreadable"


@pytest.mark.parametrize(
    ("content", "name"),
    [
        (b"\0\0\0\x20ftypavif\0\0\0\0avifmif1miaf", "AVIF"),
        (b"\0\0\0\x20ftypmif1\0\0\0\0mif1avifmiaf", "AVIF"),
        (b"\0\0\0\x18ftypmp42\0\0\0\0mp42isom", "video"),
        (b"\0\0\0\x0cjP  \r\n\x87\n", "JPEG 2000"),
        (b"\xff\x4f\xff\x51\0\0", "JPEG 2000"),
        (b"\0\0\0\x0cJXL \r\n\x87\n", "JPEG XL"),
        (b"8BPS\0\1", "PSD"),
        (b"%!PS-Adobe-3.0 EPSF-3.0", "EPS"),
        (b"%PDF-1.7", "PDF"),
        (b"\0\0\1\0\1\0", "ICO"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "SVG"),
        (b"RIFF\0\0\0\0AVI LIST", "RIFF"),
    ],
)
def test_other_formats_are_refused_by_their_name(content: bytes, name: str) -> None:
    refused = refusal_of(content + bytes(100))
    assert refused.reason == "not_an_image"
    assert name in str(refused)
    assert "JPEG, PNG, WebP, BMP, GIF, TIFF or HEIC" in str(refused)


@pytest.mark.parametrize("file_format", ["JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF"])
def test_a_refusal_tells_nothing_of_the_library(file_format: str, textured: Photo) -> None:
    content = write(textured(), file_format)
    damaged = [content[:length] for length in range(1, len(content), max(1, len(content) // 60))]
    damaged += [content[:at] + b"\xff\0\xff" * 3 + content[at + 9 :] for at in range(0, 200, 5)]
    for each in damaged:
        try:
            sanitise(each)
        except InvalidImageError as error:
            assert not any(word in str(error) for word in ("0x", "object", "PIL", "BytesIO", "buffer", "<", "Error"))
            assert str(error).startswith("expected")


def test_ingestion_takes_the_photos_of_today_s_cameras(textured: Photo) -> None:
    content = write(textured(size=(4000, 3000)), "JPEG", quality=95)
    assert 4 * 2**20 < len(content) < INGESTION.bytes
    image = sanitise(content)
    assert (image.width, image.height) == (4000, 3000)
    with pytest.raises(InvalidImageError, match="at most 4,194,304 bytes"):
        sanitise(content, ANSWERING)


def test_a_picture_of_a_hundred_megapixels_is_stored_smaller() -> None:
    content = write(Image.new("RGB", (10_000, 10_000), (200, 80, 40)), "JPEG", quality=50)
    image = sanitise(content)
    assert (image.width, image.height) == (2500, 2500)
    assert np.abs(seen(content) - (200, 80, 40)).max() <= 4


def test_texts_of_a_png_are_not_stored(photo: Photo) -> None:
    text = PngImagePlugin.PngInfo()
    for kind in ("Author", "GPS", "XML:com.adobe.xmp"):
        text.add_itxt(kind, "Clementine")
    assert b"Clementine" not in sanitise(write(photo(), "PNG", pnginfo=text)).content


@pytest.mark.parametrize("file_format", ["GIF", "PNG", "WEBP", "TIFF"])
def test_a_thousand_frames_are_refused_at_the_second(file_format: str) -> None:
    content = many_frames(file_format)
    began_at = time.process_time()
    assert refusal_of(content).reason == "animated"
    assert time.process_time() - began_at < 0.1


def test_bytes_that_hide_in_a_jpeg_are_not_stored() -> None:
    content = write(Image.effect_noise((64, 64), 50), "JPEG")
    hidden = b"Clementine" * 10_000
    for each in (
        content[:-2] + hidden + content[-2:],
        content + hidden,
        with_segments(content, (0xEC, hidden[:60_000])),
    ):
        assert b"Clementine" not in sanitise(each).content


def test_what_is_stored_is_bounded_by_what_came(textured: Photo) -> None:
    photo = textured(size=(3000, 2400))
    for file_format, options in (("WEBP", {"quality": 60}), ("GIF", {}), ("JPEG", {"quality": 30, "exif": TURNED})):
        content = write(photo, file_format, **options)
        for limits in (ANSWERING, INGESTION):
            if len(content) <= limits.bytes:
                assert len(sanitise(content, limits).content) <= 4 * len(content)


@pytest.mark.parametrize("side", [64, 256])
def test_tiles_of_a_tiff_may_be_larger_than_the_picture(side: int) -> None:
    assert seen(one_tile(side)).shape == (64, 64, 3)


@pytest.mark.parametrize("options", [{}, {"kind": 9}, {"tags": (322,)}, {"tags": (323,)}])
def test_a_tile_beyond_all_pictures_is_not_unpacked(options: dict[str, Any]) -> None:
    content = one_tile(11_008, **options)
    assert refusal_of(content).reason == ("unreadable" if options else "too_complex")


def test_odd_tags_of_a_tiff_write_no_line_here_either(capfd: pytest.CaptureFixture[str], textured: Photo) -> None:
    content = write(textured(), "TIFF", compression="tiff_lzw")
    at = struct.unpack_from("<L", content, 4)[0]
    count = struct.unpack_from("<H", content, at)[0]
    entries = content[at + 2 : at + 2 + 12 * count]
    odd = b"".join(struct.pack("<HHLL", 40_000 + number, 4, 1, 8) for number in range(10_000))
    directory = struct.pack("<H", count + 10_000) + entries + odd + bytes(4)
    content = content[:4] + struct.pack("<L", len(content)) + content[8:] + directory
    assert np.array_equal(seen(content), as_array(textured()))
    assert capfd.readouterr() == ("", "")
