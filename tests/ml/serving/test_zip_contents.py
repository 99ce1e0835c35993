"""ZIPs of photos, also hostile ones: what is wrong with one file says so, and the others are read."""

import io
import os
import stat
import struct
import zipfile

import pytest

from ml.errors import ArchiveError
from ml.serving.photo_batches import zip_contents
from ml.serving.photo_batches.zip_contents import MOST_PHOTOS, list_photos, open_zip, read_photo

MEGABYTE = 1024 * 1024
PHOTO = b"\x89PNG a photo"


def make_zip(files: dict[str, bytes], compression: int = zipfile.ZIP_DEFLATED) -> io.BytesIO:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", compression) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return file


def add_entry(name: str, **changes: object) -> io.BytesIO:
    """A ZIP with one usual photo, then a file with other properties."""
    file = make_zip({"good.png": PHOTO})
    entry = zipfile.ZipInfo(name)
    for attribute, value in changes.items():
        setattr(entry, attribute, value)
    with zipfile.ZipFile(file, "a") as archive:
        archive.writestr(entry, PHOTO)
    return file


def names_of(file: io.BytesIO) -> list[str]:
    with open_zip(file) as archive:
        return [photo.name for photo in list_photos(archive)]


def read_all(file: io.BytesIO) -> list[bytes | str]:
    """The content of each file, or why it was refused."""
    found: list[bytes | str] = []
    with open_zip(file) as archive:
        for photo in list_photos(archive):
            assert photo.entry is not None
            try:
                found.append(read_photo(archive, photo.entry))
            except ArchiveError as error:
                found.append(error.reason)
    return found


def test_files_are_read_in_their_order_without_folders_and_litter() -> None:
    file = make_zip(
        {"b.png": b"b", "a/": b"", "a/a.png": b"a"}
        | dict.fromkeys(["__MACOSX/a/._a.png", "a/.DS_Store", "a/Thumbs.db", "._b.png", "a/desktop.ini"], b"x")
    )
    assert names_of(file) == ["b.png", "a/a.png"]
    assert read_all(file) == [b"b", b"a"]


@pytest.mark.parametrize("name", ["/etc/passwd", "../up.png", "a/../../up.png", "..\\up.png", "C:\\up.png", "C:up.png"])
def test_a_name_that_leads_out_of_the_zip_is_refused_and_the_others_stay(name: str) -> None:
    assert read_all(make_zip({"good.png": PHOTO, name: PHOTO, "last.png": PHOTO})) == [PHOTO, "unsafe-name", PHOTO]


@pytest.mark.parametrize("kind", [stat.S_IFLNK, stat.S_IFCHR, stat.S_IFIFO, stat.S_IFSOCK])
def test_links_and_devices_are_refused(kind: int) -> None:
    assert read_all(add_entry("link.png", create_system=3, external_attr=(kind | 0o777) << 16)) == [PHOTO, "no-file"]


@pytest.mark.parametrize("mark", [0x1, 0x40, 0x41])
def test_files_with_a_password_are_refused(mark: int) -> None:
    file = add_entry("secret.png")
    content = bytearray(file.getvalue())
    place = content.rindex(b"PK\x01\x02")
    content[place + 8 : place + 10] = struct.pack("<H", mark)
    assert read_all(io.BytesIO(content)) == [PHOTO, "encrypted"]


@pytest.mark.parametrize("compression", [zipfile.ZIP_LZMA, zipfile.ZIP_BZIP2])
def test_rare_compressions_are_refused(compression: int) -> None:
    assert read_all(make_zip({"a.png": PHOTO}, compression)) == ["other-compression"]


def test_a_bomb_is_never_unpacked_beyond_the_bytes_of_a_photo() -> None:
    file = make_zip({"bomb.png": bytes(50 * MEGABYTE), "good.png": PHOTO})
    assert len(file.getvalue()) < 100_000
    assert read_all(file) == ["too-large", PHOTO]


def test_a_bomb_that_declares_a_small_size_is_not_unpacked_either() -> None:
    content = bytearray(make_zip({"bomb.png": bytes(50 * MEGABYTE)}).getvalue())
    for signature, offset in ((b"PK\x03\x04", 22), (b"PK\x01\x02", 24)):
        place = content.index(signature) + offset
        content[place : place + 4] = struct.pack("<I", 1000)
    assert read_all(io.BytesIO(content)) == ["damaged-entry"]


@pytest.mark.parametrize(
    "inner", [make_zip({"a.png": PHOTO}).getvalue(), b"Rar!\x1a\x07", b"7z\xbc\xaf'", b"\x1f\x8b\x08"]
)
def test_an_archive_in_an_archive_is_refused(inner: bytes) -> None:
    assert read_all(make_zip({"inner.zip": inner, "good.png": PHOTO})) == ["nested-archive", PHOTO]


def test_a_damaged_file_does_not_stop_the_others() -> None:
    content = bytearray(make_zip({"a.png": os.urandom(1000), "b.png": PHOTO}).getvalue())
    content[60:200] = bytes(140)
    assert read_all(io.BytesIO(content)) == ["damaged-entry", PHOTO]


def test_files_of_one_name_are_each_read() -> None:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive, pytest.warns(UserWarning, match="Duplicate name"):
        archive.writestr("a.png", b"1")
        archive.writestr("a.png", b"2")
    assert names_of(file) == ["a.png", "a.png"]
    assert read_all(file) == [b"1", b"2"]


def test_as_many_photos_as_a_batch_may_have_are_taken_and_not_one_more() -> None:
    most = make_zip({f"{number}.png": b"x" for number in range(MOST_PHOTOS)})
    assert len(names_of(most)) == MOST_PHOTOS
    with zipfile.ZipFile(most, "a") as archive:
        archive.writestr("more.png", b"x")
    with pytest.raises(ArchiveError, match="at most 1000") as caught:
        names_of(most)
    assert caught.value.reason == "too-many-photos"


@pytest.mark.parametrize("files", [{}, {"a/": b""}, {"__MACOSX/x": b"x"}])
def test_a_zip_without_photos_is_refused(files: dict[str, bytes]) -> None:
    with pytest.raises(ArchiveError) as caught:
        names_of(make_zip(files))
    assert caught.value.reason == "no-photos"


@pytest.mark.parametrize(
    "content",
    [b"", b"no ZIP", PHOTO, make_zip({"a": b"x"}).getvalue()[:-5], b"PK\x05\x06" + b"\xff" * 18, b"PK\x03\x04" * 50],
    ids=["empty", "text", "photo", "cut", "nonsense", "beginnings"],
)
def test_what_is_no_zip_is_refused(content: bytes) -> None:
    with pytest.raises(ArchiveError) as caught:
        names_of(io.BytesIO(content))
    assert caught.value.reason == "not-a-zip"


def test_a_list_of_contents_that_is_too_long_is_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(zip_contents, "_DIRECTORY_BYTES", 100_000)
    file = make_zip({f"{'x' * 200}{number}.png": b"x" for number in range(500)})
    with pytest.raises(ArchiveError, match="too long") as caught:
        names_of(file)
    assert caught.value.reason == "not-a-zip"


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        ("Pfifferling é.png".encode(), "Pfifferling é.png"),
        ("蘑菇.png".encode(), "蘑菇.png"),
        (b"caf\x82.png", "café.png"),  # code page 437
        (b"a\x1b[2Jb\x07.png", "a\N{REPLACEMENT CHARACTER}[2Jb\N{REPLACEMENT CHARACTER}.png"),
    ],
)
def test_names_in_odd_encodings_can_be_read(raw: bytes, expected: str) -> None:
    placeholder = "x" * len(raw)
    content = make_zip({placeholder: PHOTO}).getvalue().replace(placeholder.encode(), raw)
    assert names_of(io.BytesIO(content)) == [expected]


def test_a_name_that_turns_the_direction_of_text_is_shown_as_it_is() -> None:
    assert names_of(make_zip({"photo\u202egpj.exe": PHOTO})) == ["photo\N{REPLACEMENT CHARACTER}gpj.exe"]


def test_a_zip_behind_other_bytes_is_read() -> None:
    content = b"#!/bin/sh\n" + make_zip({"a.png": PHOTO}).getvalue()
    assert read_all(io.BytesIO(content)) == [PHOTO]
