"""Read `groups.csv`, in which a user names the images that belong together, such as several photos of one mushroom."""

import csv
from collections.abc import Collection
from io import StringIO
from pathlib import Path
from unicodedata import normalize

from ml.errors import SourceError
from ml.ingest.layout.printable_names import printable

GROUPS_FILE = "groups.csv"
_HEADER = ["file", "group"]
_LONGEST_GROUP = 200


def read_groups(folder: Path, names: Collection[str]) -> dict[str, str]:
    """Read the group of each file that `groups.csv` names; an empty dict if there is no `groups.csv`.

    The columns are `file`, relative to the folder, and `group`, any text. A group's name means the same group in all
    folders that are ever ingested.

    Args: names, the files that exist, relative to the folder, with forward slashes.
    Raises: SourceError, it is not in that format, or names a file that does not exist, or gives a file two groups.
    """
    path = folder / GROUPS_FILE
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise SourceError(
            f"{printable(str(path))!r} cannot be read: expected read access, got {error.strerror}."
        ) from error
    return parse_groups(content, names, repr(printable(str(path))))


def parse_groups(content: bytes, names: Collection[str], place: str) -> dict[str, str]:
    """Parse the content of a `groups.csv` from any place.

    Args: place, its path or address, for messages. Names and errors as in read_groups.
    """
    groups: dict[str, str] = {}
    for line, row in _rows(content, place):
        name, group = _parsed(row, names, f"{place}, row {line}")
        if groups.setdefault(name, group) != group:
            raise SourceError(f"{place}, row {line}: {name!r} is in group {groups[name]!r} already, got {group!r}.")
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


def _parsed(row: list[str], names: Collection[str], place: str) -> tuple[str, str]:
    if len(row) != len(_HEADER) or not 0 < len(row[1]) <= _LONGEST_GROUP or "\0" in row[1]:
        raise SourceError(f"{place}: expected a file and a group of 1 to {_LONGEST_GROUP} characters, got {row}.")
    name, group = normalize("NFC", row[0]), row[1]
    if name not in names:
        raise SourceError(f"{place}: there is no image file {name!r}. Expected a path like <class>/<image file>.")
    return name, group
