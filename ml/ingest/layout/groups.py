"""Read `groups.csv`, in which a user names the images that belong together, such as several photos of one mushroom."""

import csv
from collections.abc import Collection
from dataclasses import dataclass, field
from io import StringIO
from pathlib import Path
from unicodedata import normalize

from ml.errors import InvalidImageError, SourceError
from ml.ingest.layout.printable_names import printable

GROUPS_FILE = "groups.csv"
_HEADER = ["file", "group"]
_LONGEST_GROUP = 200
_SHOWN = 200  # characters of a name


@dataclass(frozen=True)
class Groups:
    """The content of a `groups.csv`.

    Args:
        of_files: the group of each file.
        problems: for each named file that does not exist, the row to report.
    """

    of_files: dict[str, str] = field(default_factory=dict)
    problems: dict[str, InvalidImageError] = field(default_factory=dict)


def read_groups(folder: Path, names: Collection[str]) -> Groups:
    """Read the group of each file that `groups.csv` names; no groups if there is no `groups.csv`.

    The columns are `file`, relative to the folder, and `group`, any text. A group's name means the same group in all
    folders that are ever ingested.

    Args: names, the files that exist, relative to the folder, with forward slashes.
    Raises: SourceError, it is not in that format, or gives a file two groups.
    """
    path = folder / GROUPS_FILE
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return Groups()
    except OSError as error:
        raise SourceError(
            f"{printable(str(path))!r} cannot be read: expected read access, got {error.strerror}."
        ) from error
    return parse_groups(content, names, repr(printable(str(path))))


def parse_groups(content: bytes, names: Collection[str], place: str) -> Groups:
    """Parse the content of a `groups.csv` from any place.

    Args: place, its path or address, for messages. Names and errors as in read_groups.
    """
    groups = Groups()
    for line, row in _rows(content, place):
        name, group = _parsed(row, f"{place}, row {line}")
        if name not in names:
            groups.problems[printable(name[:_SHOWN])] = InvalidImageError(
                "no_such_file",
                f"row {line} names {name[:_SHOWN]!r}: expected an image file, as in <class>/<image file>, got none",
            )
        elif groups.of_files.setdefault(name, group) != group:
            known = groups.of_files[name]
            raise SourceError(f"{place}, row {line}: {name!r} is in group {known!r} already, got {group!r}.")
    return groups


def _rows(content: bytes, place: str) -> list[tuple[int, list[str]]]:
    """Return the rows behind the header with their numbers, without rows that are blank."""
    try:
        table = csv.reader(StringIO(content.decode("utf-8-sig"), newline=""), strict=True)
        rows = [(number, row) for number, row in enumerate(table, start=1) if any(map(str.strip, row))]
    except (UnicodeDecodeError, csv.Error) as error:
        raise SourceError(f"{place} cannot be read: expected a CSV file in UTF-8, got {error}.") from error
    if not rows or rows[0][1] != _HEADER:
        found = ",".join(rows[0][1]) if rows else "nothing"
        raise SourceError(f"{place}: expected the header file,group, got {found!r}.")
    return rows[1:]


def _parsed(row: list[str], place: str) -> tuple[str, str]:
    if len(row) != len(_HEADER) or not 0 < len(row[1]) <= _LONGEST_GROUP or "\0" in row[1]:
        raise SourceError(f"{place}: expected a file and a group of 1 to {_LONGEST_GROUP} characters, got {row}.")
    return normalize("NFC", row[0]), row[1]
