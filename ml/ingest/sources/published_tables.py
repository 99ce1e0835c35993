"""Reading a published table of millions of rows, one at a time: tab or comma separated, packed or not."""

import csv
import gzip
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TextIO

from ml.errors import SourceError


def read_table(path: Path, columns: Sequence[str]) -> Iterator[tuple[str, ...]]:
    """The named columns of each row. A row that cannot be read is skipped: one of another length than the header, as a
    stray line break leaves, or one with a quoted cell that does not end.

    Args: path, packed with gzip where it ends in .gz; a byte order mark may stand first.
    Raises: SourceError, a column is missing, or the file is no such table.
    """
    try:
        with _open(path) as file:
            header = file.readline().rstrip("\r\n")
            delimiter = "\t" if "\t" in header else ","
            names = [name.strip('"') for name in header.split(delimiter)]
            if missing := [column for column in columns if column not in names]:
                raise SourceError(f"{path.name}: expected the columns {', '.join(missing)} too, got {names}.")
            places = [names.index(column) for column in columns]
            for row in _rows(file, delimiter):
                if len(row) == len(names):
                    yield tuple(row[place] for place in places)
    except (OSError, EOFError, zlib.error) as error:
        raise SourceError(f"{path.name} cannot be read: expected a whole table, got: {error}.") from error


def _rows(file: TextIO, delimiter: str) -> Iterator[list[str]]:
    if delimiter == "\t":  # database dumps quote nothing, and names hold quotation marks
        yield from (line.rstrip("\r\n").split(delimiter) for line in file)
        return
    reader = csv.reader(file, delimiter=delimiter)
    while True:
        try:
            yield next(reader)
        except StopIteration:
            return
        except csv.Error:  # a cell of more than csv.field_size_limit(), which is 128 KB; the reader goes on behind it
            continue


def _open(path: Path) -> TextIO:
    if path.suffix == ".gz":
        return gzip.open(path, "rt", encoding="utf-8-sig", errors="replace", newline="")
    return path.open(encoding="utf-8-sig", errors="replace", newline="")
