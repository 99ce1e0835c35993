"""Read the photos of a ZIP that may be hostile. Nothing is unpacked to disk: one entry at a time is read into memory.

No entry can take more than the bytes of one photo, whatever the ZIP says of its size. So neither the ratio of a
compression nor the sum of all entries matters: 1000 photos are at most 1000 times one photo.
"""

import io
import re
import stat
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import PurePosixPath
from typing import IO

from ml.catalog.logs.prediction_batches import NewPhoto
from ml.errors import ArchiveError
from ml.ingest.pictures.picture_limits import ANSWERING

MOST_PHOTOS = 1000
# The list of contents of a ZIP: 1000 entries with long names need less than 1 MB.
_DIRECTORY_BYTES = 4 * 1024 * 1024
_UTF8_NAME, _ENCRYPTED = 0x800, 0x1 | 0x40
_COMPRESSIONS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)  # LZMA may ask for gigabytes of memory
# What computers add by themselves.
_LITTER = re.compile(r"(^|/)(__MACOSX/|\._|\.DS_Store$|Thumbs\.db$|desktop\.ini$)", re.IGNORECASE)
_NESTED = re.compile(rb"PK\x03\x04|PK\x05\x06|Rar!|7z\xbc\xaf|\x1f\x8b")
# What zipfile raises for damaged files. RuntimeError also stands for what it does not implement, ValueError also for
# names that are no text, OSError for places before the start of the file.
_BROKEN = (zipfile.BadZipFile, zlib.error, EOFError, OSError, RuntimeError, ValueError, KeyError)


class _GuardedFile(io.BufferedIOBase):
    """A file that refuses to read much at once: zipfile would read a list of contents of any size into memory."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file

    def read(self, size: int | None = -1, /) -> bytes:
        """Read some bytes."""
        wanted = -1 if size is None else size  # zipfile asks for all that is left when it reads the end
        content = self._file.read(wanted if 0 <= wanted <= _DIRECTORY_BYTES else _DIRECTORY_BYTES + 1)
        if len(content) > _DIRECTORY_BYTES:
            raise zipfile.BadZipFile("The list of contents is too long.")
        return content

    def seek(self, offset: int, whence: int = 0, /) -> int:
        """Move to a place."""
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        """Return the place."""
        return self._file.tell()

    def seekable(self) -> bool:
        """Return that any place can be read."""
        return True


@contextmanager
def open_zip(file: IO[bytes]) -> Iterator[zipfile.ZipFile]:
    """Open a ZIP.

    Raises: ArchiveError, it is none, it is damaged, or its list of contents is too long.
    """
    try:
        archive = zipfile.ZipFile(_GuardedFile(file))
    except _BROKEN as error:
        raise ArchiveError(
            "not-a-zip", f"Expected a ZIP file whose list of contents can be read, got another file: {error}"
        ) from error
    with closing(archive):
        yield archive


def list_photos(archive: zipfile.ZipFile) -> list[NewPhoto]:
    """Return the files of a ZIP, in its order. Which of them are photos is found out when they are read.

    Folders and what computers add by themselves (`__MACOSX`, `.DS_Store`, `Thumbs.db`) are left out.

    Raises: ArchiveError, there are no files, or more than MOST_PHOTOS.
    """
    photos = [
        NewPhoto(clean_name(_read_name(entry)), place)
        for place, entry in enumerate(archive.infolist())
        if not entry.is_dir() and not _LITTER.search(entry.filename)
    ]
    demand_count(len(photos), "files in the ZIP")
    return photos


def demand_count(count: int, what: str) -> None:
    """Refuse no photos, and too many.

    Raises: ArchiveError.
    """
    if count == 0:
        raise ArchiveError("no-photos", f"Expected 1 to {MOST_PHOTOS} {what}, got none.")
    if count > MOST_PHOTOS:
        raise ArchiveError(
            "too-many-photos", f"Expected at most {MOST_PHOTOS} {what}, got {count}. Divide them into several batches."
        )


def read_photo(archive: zipfile.ZipFile, place: int) -> bytes:
    """Return the bytes of a file in a ZIP.

    Args: place, of the file in the list of contents.
    Raises: ArchiveError, this file is refused or damaged.
    """
    entry = archive.infolist()[place]
    for is_refused, reason, message in _REFUSALS:
        if is_refused(entry):
            raise ArchiveError(reason, message)
    try:
        with archive.open(entry) as file:
            content = _read_at_most(file, ANSWERING.bytes + 1)
    except _BROKEN as error:
        raise ArchiveError(
            "damaged-entry", f"Expected a file that can be unpacked, got a damaged one: {error}"
        ) from error
    if len(content) > ANSWERING.bytes:
        raise ArchiveError("too-large", _TOO_LARGE)
    if _NESTED.match(content):
        raise ArchiveError(
            "nested-archive", "Expected a photo, got another archive. Put its photos into the ZIP itself."
        )
    return content


def clean_name(name: str) -> str:
    """Return a name that the database can store and a page can show: signs that steer a display are replaced."""
    shown = "".join(each if each.isprintable() else "\N{REPLACEMENT CHARACTER}" for each in name)
    return shown[:_LONGEST_NAME]


_LONGEST_NAME = 4096
_TOO_LARGE = f"Expected a photo of at most {ANSWERING.bytes // 1024 // 1024} MB, got a larger file."


def _read_name(entry: zipfile.ZipInfo) -> str:
    """Return the name of an entry. Many programs write UTF-8 without saying so: zipfile then reads code page 437."""
    if entry.flag_bits & _UTF8_NAME:
        return entry.filename
    try:
        return entry.filename.encode("cp437").decode()
    except UnicodeError:
        return entry.filename


def _read_at_most(file: IO[bytes], count: int) -> bytes:
    parts: list[bytes] = []
    while count > 0 and (part := file.read(min(count, 65536))):
        parts.append(part)
        count -= len(part)
    return b"".join(parts)


def _leads_elsewhere(entry: zipfile.ZipInfo) -> bool:
    name = entry.filename.replace("\\", "/")
    return name.startswith("/") or bool(re.match("[A-Za-z]:", name)) or ".." in PurePosixPath(name).parts


def _is_no_file(entry: zipfile.ZipInfo) -> bool:
    kind = stat.S_IFMT(entry.external_attr >> 16)
    return kind not in {0, stat.S_IFREG}


_REFUSALS: tuple[tuple[Callable[[zipfile.ZipInfo], bool], str, str], ...] = (
    (
        _leads_elsewhere,
        "unsafe-name",
        "Expected a name inside the ZIP, got one that leads out of it: / or .. or a drive.",
    ),
    (_is_no_file, "no-file", "Expected a file, got a link or a device."),
    (
        lambda entry: bool(entry.flag_bits & _ENCRYPTED),
        "encrypted",
        "Expected a file without a password, got one with.",
    ),
    (
        lambda entry: entry.compress_type not in _COMPRESSIONS,
        "other-compression",
        "Expected files stored or deflated, as every program writes them, got another compression.",
    ),
    (lambda entry: entry.file_size > ANSWERING.bytes, "too-large", _TOO_LARGE),
)
