"""Read `groups.csv`, in which a user names the images that belong together, such as several photos of one mushroom."""

import csv
from collections.abc import Collection
from io import StringIO
from pathlib import Path
from unicodedata import normalize

from ml.errors import SourceError

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
        raise SourceError(f"{path} cannot be read: expected read access, got {error.strerror}.") from error
    return parse_groups(content, names, str(path))


def parse_groups(content: bytes, names: Collection[str], place: str) -> dict[str, str]:
    """Parse the content of a `groups.csv` from any place.

    Args: place, its path or address, for messages. Names and errors as in read_groups.
    """
    groups: dict[str, str] = {}
    for line, row in enumerate(_rows(content, place), start=2):
        name, group = _parsed(row, names, f"{place}, row {line}")
        if groups.setdefault(name, group) != group:
            raise SourceError(f"{place}, row {line}: {name!r} is in group {groups[name]!r} already, got {group!r}.")
    return groups


def _rows(content: bytes, place: str) -> list[list[str]]:
    try:
        rows = list(csv.reader(StringIO(content.decode("utf-8-sig"), newline=""), strict=True))
    except (UnicodeDecodeError, csv.Error) as error:
        raise SourceError(f"{place} cannot be read: expected a CSV file in UTF-8, got {error}.") from error
    if not rows or rows[0] != _HEADER:
        raise SourceError(f"{place}: expected the header file,group, got {','.join(rows[0]) if rows else 'nothing'!r}.")
    return rows[1:]


def _parsed(row: list[str], names: Collection[str], place: str) -> tuple[str, str]:
    if len(row) != len(_HEADER) or not 0 < len(row[1]) <= _LONGEST_GROUP or "\0" in row[1]:
        raise SourceError(f"{place}: expected a file and a group of 1 to {_LONGEST_GROUP} characters, got {row}.")
    name, group = normalize("NFC", row[0]), row[1]
    if name not in names:
        raise SourceError(f"{place}: there is no image file {name!r}. Expected a path like <class>/<image file>.")
    return name, group
