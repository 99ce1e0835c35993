"""Decoding in a process of its own: what hostile pictures cost, and what they cannot do."""

import io
import os
import signal
import struct
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import numpy as np
import psutil
import pytest
from PIL import Image

from ml.backbones.preprocessing import to_pixels
from ml.deadlines import Deadline
from ml.errors import BusyError, InvalidImageError, TimeOverError
from ml.ingest.pictures.decoding_work import estimate_seconds
from ml.ingest.pictures.picture_limits import ANSWERING
from ml.serving.picture_decoder import decoder_process
from ml.serving.picture_decoder.decoder_process import DecoderProcess
from tests.ml.ingest.pictures.hostile_pictures import HOSTILE, one_tile
from tests.ml.ingest.pictures.picture_making import (
    FATAL_HEIC,
    HEIC,
    adobe_rgb,
    bmp_32_bit,
    chunk,
    directory,
    png_16_bit,
    with_chunks,
    with_segments,
    write,
)

SIDE = 64
PEAK_BYTES = 600_000_000  # of the process; a container has 1 GB, and the service itself takes 300 MB


@pytest.fixture(scope="module")
def decoder() -> Iterator[DecoderProcess]:
    decoder = DecoderProcess()
    yield decoder
    decoder.close()


@pytest.fixture
def picture() -> Image.Image:
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, (80, 96, 3), dtype=np.uint8))


def pid_of_decoder() -> int:
    """Return the id of the process that was started last to decode pictures."""
    running = [each for each in psutil.Process().children() if "decoder_child" in " ".join(each.cmdline())]
    return max(running, key=lambda each: (each.create_time(), each.pid)).pid


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_picture_takes_little_time_and_memory(name: str, decoder: DecoderProcess) -> None:
    content = HOSTILE[name]()
    assert len(content) <= ANSWERING.bytes + 100_000
    decoder.start()
    running = psutil.Process(pid_of_decoder())
    before = running.cpu_times()
    try:
        decoder.decode(content, SIDE, Deadline(120))
    except InvalidImageError as error:
        assert error.reason in ("too_many_pixels", "too_complex", "animated", "unreadable")
    after = running.cpu_times()  # the process goes on
    assert after.user + after.system - before.user - before.system < 1
    peak = next(line for line in Path(f"/proc/{running.pid}/status").read_text().splitlines() if "VmHWM" in line)
    assert int(peak.split()[1]) * 1024 < PEAK_BYTES


@pytest.mark.parametrize("name", HOSTILE)
def test_the_service_reads_what_a_hostile_picture_says_of_itself_at_once(name: str) -> None:
    content = HOSTILE[name]()
    began_at = time.thread_time()
    with suppress(InvalidImageError):
        estimate_seconds(content, ANSWERING)
    assert time.thread_time() - began_at < 0.5


def test_the_estimate_counts_whole_tiles() -> None:
    plain = estimate_seconds(one_tile(64), ANSWERING)
    assert estimate_seconds(one_tile(128), ANSWERING) == pytest.approx(4 * plain)
    assert estimate_seconds(one_tile(3584), ANSWERING) > 1000 * plain


def test_every_format_arrives_as_the_model_sees_its_stored_bytes(decoder: DecoderProcess, picture: Image.Image) -> None:
    array = np.asarray(picture)
    contents = [write(picture, each) for each in ("JPEG", "PNG", "WEBP", "GIF", "TIFF", "BMP")]
    contents += [HEIC, bmp_32_bit(array, 0), png_16_bit(array.astype(np.uint16) * 16)]
    contents += [write(picture, "JPEG", icc_profile=adobe_rgb(), exif=b"Exif\0\0MM\0*\0\0\0\x08\0\0\0\0\0\0")]
    for content in contents:
        decoded = decoder.decode(content, SIDE, Deadline(60))
        assert np.array_equal(decoded.pixels, to_pixels(decoded.image.content, SIDE))
        stored = Image.open(io.BytesIO(decoded.image.content))
        assert stored.size == (decoded.image.width, decoded.image.height)


def test_a_picture_that_is_not_decoded_at_the_deadline_is_given_up_and_the_next_one_is_answered(
    decoder: DecoderProcess, picture: Image.Image
) -> None:
    content = write(picture.resize((4000, 4000)), "PNG", compress_level=1)[: ANSWERING.bytes]
    decoder.start()
    began_at = time.monotonic()
    os.kill(pid_of_decoder(), signal.SIGSTOP)  # a picture that never ends
    with pytest.raises(TimeOverError, match="in the time of a request"):
        decoder.decode(content, SIDE, Deadline(0.3))
    assert time.monotonic() - began_at < 30
    assert decoder.decode(write(picture, "PNG"), SIDE, Deadline(60)).image.width == 96


def test_a_picture_gets_a_few_seconds_of_computing(
    decoder: DecoderProcess, picture: Image.Image, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = write(picture.resize((4000, 3000)), "JPEG", quality=60)
    with monkeypatch.context() as few:
        few.setattr(decoder_process, "CPU_SECONDS", 0.02)
        with pytest.raises(InvalidImageError, match="seconds of computing") as refused:
            decoder.decode(content, SIDE, Deadline(60))
    assert refused.value.reason == "too_complex"
    assert decoder.decode(content, SIDE, Deadline(60)).image.width == 4000


@pytest.mark.parametrize(
    ("sign", "refusal"),
    [
        (signal.SIGKILL, BusyError),
        (signal.SIGSEGV, InvalidImageError),
        (signal.SIGABRT, InvalidImageError),
    ],
)
def test_where_the_process_ends_only_one_picture_is_refused_and_may_be_sent_again_if_it_is_no_fault_of_it(
    sign: signal.Signals, refusal: type[Exception], decoder: DecoderProcess, picture: Image.Image
) -> None:
    decoder.start()
    pid = pid_of_decoder()
    os.kill(pid, signal.SIGSTOP)
    with ThreadPoolExecutor(1) as threads:
        asked = threads.submit(decoder.decode, write(picture, "PNG"), SIDE, Deadline(60))
        time.sleep(0.3)
        os.kill(pid, sign)
        os.kill(pid, signal.SIGCONT)
        with pytest.raises(refusal) as refused:
            asked.result()
    assert not isinstance(refused.value, InvalidImageError) or refused.value.reason == "unreadable"
    assert decoder.decode(write(picture, "PNG"), SIDE, Deadline(60)).image.width == 96


@pytest.mark.parametrize(
    "answer",
    [
        b"x" * 3_000_000,
        b"\n",
        b"null\n",
        b"{}\n",
        b"[1]\n",
        b'{"reason": "a reason of its own", "message": "x"}\n',
        b'{"reason": "unreadable"}\n',
        b'{"reason": "unreadable", "message": 7}\n',
        b'{"media_type": "text/html", "width": 1, "height": 1, "bytes": 1}\n',
        b'{"media_type": "image/png", "width": 1, "height": 1, "bytes": -1}\n',
        b'{"media_type": "image/png", "width": 1, "height": 1, "bytes": 99999999999}\n',
        b'{"media_type": "image/png", "width": -1, "height": 1, "bytes": 1}\n',
        b'{"media_type": "image/png", "width": "1", "height": 1, "bytes": 1}\n',
        b'{"media_type": "image/png", "width": 1, "bytes": 1}\n',
        b'{"media_type": "image/png", "width": 1, "height": 1, "bytes": true}\n',
        b'\xff{"media_type"\n',
    ],
)
def test_a_process_that_a_picture_has_taken_over_is_not_believed_and_ended(
    answer: bytes, picture: Image.Image, monkeypatch: pytest.MonkeyPatch
) -> None:
    decoder = DecoderProcess()
    with monkeypatch.context() as taken_over:
        taken_over.setattr(decoder_process, "_CHILD", "tests.ml.serving.strange_decoder")
        with pytest.raises(InvalidImageError, match="expected a whole picture") as refused:
            decoder.decode(answer, SIDE, Deadline(60))
    assert refused.value.reason == "unreadable"
    assert decoder.decode(write(picture, "PNG"), SIDE, Deadline(60)).image.width == 96
    decoder.close()


def test_a_process_that_does_not_start_is_no_fault_of_the_picture(
    picture: Image.Image, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(decoder_process, "_CHILD", "ml.no_such_module")
    with pytest.raises(RuntimeError, match="ends with status 1"):
        DecoderProcess().decode(write(picture, "PNG"), SIDE, Deadline(60))
    assert "no_such_module" in capfd.readouterr().err


def test_a_heic_that_makes_its_decoder_fail_is_damaged(decoder: DecoderProcess, picture: Image.Image) -> None:
    with pytest.raises(InvalidImageError) as refused:
        decoder.decode(FATAL_HEIC, SIDE, Deadline(60))
    assert refused.value.reason == "unreadable"
    assert decoder.decode(write(picture, "PNG"), SIDE, Deadline(60)).image.width == 96


def test_many_threads_share_the_process(decoder: DecoderProcess, picture: Image.Image) -> None:
    contents = [write(picture.rotate(angle), "PNG") for angle in range(0, 240, 10)]
    with ThreadPoolExecutor(8) as threads:
        found = list(threads.map(lambda each: decoder.decode(each, SIDE, Deadline(60)), contents))
    for content, decoded in zip(contents, found, strict=True):
        assert np.array_equal(decoded.pixels, to_pixels(content, SIDE))


def test_the_process_has_no_secrets_and_ends_with_the_service(
    picture: Image.Image, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgresql://a:secret@host/b")
    decoder = DecoderProcess()
    decoder.decode(write(picture, "PNG"), SIDE, Deadline(60))
    running = psutil.Process(pid_of_decoder())
    assert "secret" not in str(running.environ())
    decoder.close()
    assert not running.is_running()


@pytest.mark.parametrize("kind", ["TIFF", "JPEG", "PNG"])
def test_odd_metadata_writes_no_line(
    kind: str, decoder: DecoderProcess, picture: Image.Image, capfd: pytest.CaptureFixture[str]
) -> None:
    decoder.start()
    if kind == "TIFF":
        content = odd_tiff(10_000)
    elif kind == "JPEG":
        content = with_segments(write(picture, "JPEG"), (0xE1, b"Exif\0\0II*\0\xff\xff\xff\xff" + b"\xff" * 5000))
    else:
        content = with_chunks(write(picture, "PNG"), *[chunk(b"zTXt", b"a\0\0broken")] * 1000)
    decoder.decode(content, SIDE, Deadline(60))
    assert capfd.readouterr() == ("", "")


def odd_tiff(count: int) -> bytes:
    """A TIFF with tags that nobody knows, and with some that have more values than they may."""
    fields = [(256, 4, 1, 64), (257, 4, 1, 64), (258, 3, 1, 8), (259, 3, 1, 1), (262, 3, 1, 1), (273, 4, 1, 8)]
    fields += [(277, 3, 1, 1), (278, 4, 1, 64), (279, 4, 1, 4096), (282, 5, 90_000, 8), (305, 2, 2**31, 8)]
    fields += [(40_000 + number, 4, 1, 8) for number in range(count)]
    return b"II*\0" + struct.pack("<L", 8 + 4096) + bytes(4096) + directory(fields)
