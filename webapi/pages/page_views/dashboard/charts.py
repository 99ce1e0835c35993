"""What a chart is: the script draws it, and the page writes it as a table."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Literal

from flask_babel import format_decimal
from flask_babel import gettext as _
from pydantic import BaseModel, Field

from ml.reporting.figures_over_time.reading import Table
from webapi.pages.page_words.template_words import write_percent

Unit = Literal["share", "count", "score"]
MOST_ROWS = 100  # of a table; the range finds the others


class Line(BaseModel):
    """One column of a chart.

    Args: look, how it is drawn: an edge bounds the band of an interval; colour, its number in the style sheet.
    """

    key: str
    label: str
    look: Literal["line", "edge", "dots", "bar"] = "line"
    colour: int = 1


class Level(BaseModel):
    """A value that does not change: a floor or a threshold."""

    label: str
    value: float


class Mark(BaseModel):
    """A move of the alias. Args: at, seconds since 1970; version, the new one."""

    at: int
    kind: str
    version: int | None


class Chart(BaseModel):
    """One chart.

    Args:
        at: seconds since 1970, oldest first.
        columns: key of a line -> a value for each time; None where there is none.
        moments: `at` for the table.
        words: label -> values, columns of the table that are not drawn.
    """

    name: str
    title: str
    meaning: str
    unit: Unit
    by_day: bool
    lines: list[Line]
    at: list[int]
    columns: dict[str, list[float | None]]
    level: Level | None = None
    moments: list[datetime] = Field(exclude=True)
    words: dict[str, list[Any]] = Field(default_factory=dict, exclude=True)

    @property
    def summary(self) -> str:
        """The chart in words: sums of what is counted by day; else the last, the lowest and the highest value."""
        told = [self._sum_up(line) for line in self.lines if line.look != "edge"]
        return " ".join(filter(None, told)) or str(_("No figures in this time."))

    @property
    def latest(self) -> list[tuple[datetime, list[str]]]:
        """The rows of the table, newest first, MOST_ROWS at most."""
        drawn = [[self.write(value) for value in self.columns[line.key][-MOST_ROWS:]] for line in self.lines]
        more = [[_write(value) for value in values[-MOST_ROWS:]] for values in self.words.values()]
        cells = [list(row) for row in zip(*drawn, *more, strict=True)]
        return list(zip(self.moments[-MOST_ROWS:], cells, strict=True))[::-1]

    def write(self, value: float | None) -> str:
        """Write a value in the reader's language; nothing for None."""
        if value is None:
            return ""
        if self.unit == "share":
            return write_percent(value)
        return str(format_decimal(value, "#,##0" if self.unit == "count" else "#,##0.####"))

    def _sum_up(self, line: Line) -> str:
        known = [value for value in self.columns[line.key] if value is not None]
        if not known or line.look == "dots":
            return ""
        if self.by_day and line.look == "bar":
            return str(_("%(name)s: %(sum)s in all.", name=line.label, sum=self.write(sum(known))))
        return str(
            _(
                "%(name)s: last %(last)s, lowest %(lowest)s, highest %(highest)s.",
                name=line.label,
                last=self.write(known[-1]),
                lowest=self.write(min(known)),
                highest=self.write(max(known)),
            )
        )


def draw(
    name: str,
    title: str,
    meaning: str,
    unit: Unit,
    table: Table,
    lines: Sequence[Line],
    by_day: bool = False,
    level: Level | None = None,
    words: Mapping[str, str] | None = None,
) -> Chart:
    """Return a chart of a table. Args: words, column of the table -> label, of columns that are not drawn."""
    return Chart(
        name=name,
        title=title,
        meaning=meaning,
        unit=unit,
        by_day=by_day,
        lines=list(lines),
        at=[int(moment.timestamp()) for moment in table.at],
        columns={line.key: list(table.columns[line.key]) for line in lines},
        level=level,
        moments=list(table.at),
        words={label: list(table.columns[key]) for key, label in (words or {}).items()},
    )


def _write(value: object) -> str:
    return "" if value is None else str(value)
