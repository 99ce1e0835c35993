"""Reading a published table of millions of rows, one at a time: tab or comma separated, packed or not."""

import csv
import gzip
import logging
import zlib
from collections import deque
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TextIO

from ml.errors import SourceError

logger = logging.getLogger(__name__)

_LONGEST_ROW = 4_000_000  # characters; behind a quotation mark that is never closed, the search for its end stops here


def read_table(path: Path, columns: Sequence[str]) -> Iterator[tuple[str, ...]]:
    """Yield the named columns of each row. Skip rows that cannot be read, and log their number.

    Such a row has another length than the header, as a stray line break leaves, or a quoted cell that does not end.

    Args: path, packed with gzip where it ends in .gz; a byte order mark may stand first.
    Raises: SourceError, a column is missing, or the file is no such table.
    """
    skipped = 0
    try:
        with _open(path) as file:
            header = file.readline().rstrip("\r\n")
            delimiter = "\t" if "\t" in header else ","
            names = [name.strip('"') for name in header.split(delimiter)]
            if missing := [column for column in columns if column not in names]:
                raise SourceError(f"{path.name}: expected the columns {', '.join(missing)} too, got {names}.")
            places = [names.index(column) for column in columns]
            for row in _rows(file, delimiter, len(names)):
                if len(row) == len(names):
                    yield tuple(row[place] for place in places)
                else:
                    skipped += 1
    except (OSError, EOFError, zlib.error) as error:
        raise SourceError(f"{path.name} cannot be read: expected a whole table, got: {error}.") from error
    if skipped:
        logger.warning("%s: %d rows cannot be read, and are skipped.", path.name, skipped)


def _rows(file: TextIO, delimiter: str, width: int) -> Iterator[list[str]]:
    """Yield the cells of each row; of a damaged row, another number than width."""
    if delimiter == "\t":  # database dumps quote nothing, and names hold quotation marks
        yield from (line.rstrip("\r\n").split(delimiter) for line in file)
        return
    csv.field_size_limit(_LONGEST_ROW)
    waiting: deque[str] = deque()  # lines that were read as a part of a damaged row
    while line := _next_line(waiting, file):
        if '"' not in line:
            yield line.rstrip("\r\n").split(delimiter)
            continue
        lines = [line]
        row = _parse(_follow(lines, waiting, file))
        if len(row) != width:  # the lines behind the first may be rows of their own
            waiting.extendleft(reversed(lines[1:]))
        yield row if len(row) == width else []


def _parse(lines: Iterator[str]) -> list[str]:
    try:
        return next(csv.reader(lines, strict=True))
    except csv.Error:
        return []


def _follow(lines: list[str], waiting: deque[str], file: TextIO) -> Iterator[str]:
    """Yield the line in lines, then those behind it, which are added to lines, as far as one row may reach."""
    yield lines[0]
    length = len(lines[0])
    while length < _LONGEST_ROW and (line := _next_line(waiting, file)):
        lines.append(line)
        length += len(line)
        yield line


def _next_line(waiting: deque[str], file: TextIO) -> str:
    return waiting.popleft() if waiting else file.readline()


def _open(path: Path) -> TextIO:
    if path.suffix == ".gz":
        return gzip.open(path, "rt", encoding="utf-8-sig", errors="replace", newline="")
    return path.open(encoding="utf-8-sig", errors="replace", newline="")
