"""Class by class: how much of each is found, and what is taken for what."""

from collections.abc import Sequence
from dataclasses import dataclass
from string import ascii_uppercase

from ml.reporting.health import PartAccuracy
from ml.reporting.report.colours import BLUE, VERMILLION, shade

MOST_CLASSES = 20  # more make no readable table: then the worst are shown, and the columns would lack letters
MOST_CONFUSIONS = 10
_STRONGEST = 0.85  # shade of a cell that holds a whole row
_DARK = 0.6  # from this shade on, white is read better


@dataclass(frozen=True)
class ClassFigures:
    """One class of the evaluation set; recall and precision 0 to 1."""

    name: str
    image_count: int
    recall: float
    precision: float


@dataclass(frozen=True)
class Cell:
    """One cell of the confusion matrix, with its colours."""

    count: int
    background: str
    colour: str


@dataclass(frozen=True)
class MatrixRow:
    """The images that truly are of one class. Args: letter, that names its column."""

    name: str
    letter: str
    cells: Sequence[Cell]


@dataclass(frozen=True)
class Confusion:
    """Images of one class that were taken for another. Args: share, of that class."""

    true_name: str
    predicted_name: str
    count: int
    share: float


def class_figures(part: PartAccuracy) -> list[ClassFigures]:
    """The classes that have images, the least found first; no more than MOST_CLASSES."""
    rows = [
        ClassFigures(name, int(figures["image_count"]), figures["recall"], figures["precision"])
        for name, figures in part.per_class.items()
        if figures["image_count"]
    ]
    return sorted(rows, key=lambda row: (row.recall, row.name))[:MOST_CLASSES]


def confusion_matrix(part: PartAccuracy, classes: Sequence[str]) -> list[MatrixRow]:
    """The matrix; empty where there are more than MOST_CLASSES.

    Args: classes, in the order of the rows.
    """
    if len(classes) > MOST_CLASSES:
        return []
    return [
        MatrixRow(name, ascii_uppercase[row], _cells(counts, row))
        for row, (name, counts) in enumerate(zip(classes, part.confusion, strict=True))
    ]


def most_frequent_confusions(part: PartAccuracy, classes: Sequence[str]) -> list[Confusion]:
    """What is taken for what most often, in images; no more than MOST_CONFUSIONS."""
    found = [
        Confusion(true_name, predicted_name, count, count / sum(counts))
        for true_name, counts in zip(classes, part.confusion, strict=True)
        for predicted_name, count in zip(classes, counts, strict=True)
        if count and true_name != predicted_name
    ]
    return sorted(found, key=lambda confusion: -confusion.count)[:MOST_CONFUSIONS]


def _cells(counts: Sequence[int], diagonal: int) -> list[Cell]:
    return [_cell(count, sum(counts), column == diagonal) for column, count in enumerate(counts)]


def _cell(count: int, row_total: int, is_right: bool) -> Cell:
    share = count / row_total if row_total else 0.0
    strength = _STRONGEST * (share if is_right else share**0.5)  # rare mistakes are to be seen too
    background = shade(BLUE if is_right else VERMILLION, strength)
    return Cell(count, background, "#ffffff" if strength > _DARK else "#1f2328")
