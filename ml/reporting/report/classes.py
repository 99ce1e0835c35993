"""Figures per class: recall, precision and the confusion matrix."""

from collections.abc import Sequence
from dataclasses import dataclass
from string import ascii_uppercase

from ml.reporting.health import PartFigures
from ml.reporting.report.colours import BLUE, VERMILLION, shade

MOST_CLASSES = 20  # of more classes, the report shows only the worst: a larger table is hard to read
MOST_CONFUSIONS = 10
_STRONGEST = 0.85  # shade of a cell that has all images of its row
_DARK = 0.6  # above this shade, white text is easier to read


@dataclass(frozen=True)
class ClassFigures:
    """One class of the evaluation set; recall, precision and F1 from 0 to 1."""

    name: str
    image_count: int
    recall: float
    precision: float
    f1: float


@dataclass(frozen=True)
class Cell:
    """One cell of the confusion matrix, with its colours."""

    count: int
    background: str
    colour: str


@dataclass(frozen=True)
class MatrixRow:
    """The images of one true class. Args: letter, the heading of this class's column."""

    name: str
    letter: str
    cells: Sequence[Cell]


@dataclass(frozen=True)
class Confusion:
    """Images of one class that the model gave another class. Args: share, of the true class's images, 0 to 1."""

    true_name: str
    predicted_name: str
    count: int
    share: float


def class_figures(part: PartFigures) -> list[ClassFigures]:
    """Return the classes that have images, lowest recall first; at most MOST_CLASSES."""
    rows = [
        ClassFigures(name, int(figures["image_count"]), figures["recall"], figures["precision"], figures["f1"])
        for name, figures in part.per_class.items()
        if figures["image_count"]
    ]
    return sorted(rows, key=lambda row: (row.recall, row.name))[:MOST_CLASSES]


def confusion_matrix(part: PartFigures, classes: Sequence[str]) -> list[MatrixRow]:
    """Return the rows of the confusion matrix; none if there is no such matrix, or more than MOST_CLASSES classes.

    Args: classes, in the order of the rows.
    """
    if part.confusion is None or len(classes) > MOST_CLASSES:
        return []
    return [
        MatrixRow(name, ascii_uppercase[row], _cells(counts, row))
        for row, (name, counts) in enumerate(zip(classes, part.confusion, strict=True))
    ]


def most_frequent_confusions(part: PartFigures, classes: Sequence[str]) -> list[Confusion]:
    """Return the confusions with the most images; at most MOST_CONFUSIONS, none if there is no confusion matrix."""
    confusions = [
        Confusion(true_name, predicted_name, count, count / sum(counts))
        for true_name, counts in zip(classes, part.confusion or (), strict=False)
        for predicted_name, count in zip(classes, counts, strict=True)
        if count and true_name != predicted_name
    ]
    return sorted(confusions, key=lambda confusion: -confusion.count)[:MOST_CONFUSIONS]


def _cells(counts: Sequence[int], diagonal: int) -> list[Cell]:
    return [_cell(count, sum(counts), column == diagonal) for column, count in enumerate(counts)]


def _cell(count: int, row_total: int, is_right: bool) -> Cell:
    share = count / row_total if row_total else 0.0
    strength = _STRONGEST * (share if is_right else share**0.5)  # the root makes rare mistakes visible
    background = shade(BLUE if is_right else VERMILLION, strength)
    return Cell(count, background, "#ffffff" if strength > _DARK else "#1f2328")
