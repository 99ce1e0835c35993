"""What every source offers: files with what it states of them, read one at a time."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Protocol

from ml.errors import InvalidImageError
from ml.ingest.layout.printable_names import printable

REASONS = {
    "invalid_text": "the source states a label, group, licence or holder that is damaged or too long to store",
    "missing": "the source names the file and does not have it",
    "unreachable": "the file's server did not answer, or memory ran out; the file is asked for again another day",
    "refused": "the source names the file and does not hand it out; it is asked again another day",
}

_LONGEST_INDEXED = 500  # characters; PostgreSQL's indices take 2704 bytes
_LONGEST_RIGHT = 2000
_SHOWN = 60


@dataclass(frozen=True)
class Rights:
    """Under which licence an image may be used, and whom to name."""

    licence: str
    holder: str


@dataclass(frozen=True)
class ArrivedFile:
    """One file that a source offers.

    Args:
        name: within the source.
        version: another one when the file changes; a file is taken once per version.
        label: what the source says that it shows; None where it says nothing.
        group: what belongs together, as the source states it; None where it says nothing.
        read: gives the bytes. Raises InvalidImageError for this file alone, SourceError or SourceUnavailableError for
            all that follow.
        rights: None where the source says nothing.
        problem: for an entry that is no file of a class; it is not read.
    """

    name: str
    version: str
    label: str | None
    group: str | None
    read: Callable[[], bytes]
    rights: Rights | None = None
    problem: InvalidImageError | None = None

    def demand_texts(self) -> None:
        """Check what the source states in words. The database has no place for other words, and then for no file.

        Raises: InvalidImageError, invalid_text.
        """
        rights = self.rights or Rights("", "")
        indexed = {"label": self.label, "group": self.group}
        for name, text in {**indexed, "licence": rights.licence, "holder": rights.holder}.items():
            longest = _LONGEST_INDEXED if name in indexed else _LONGEST_RIGHT
            if text is not None and (len(text) > longest or printable(text) != text):
                shown = f"{text[:_SHOWN]!r}{f' and {len(text) - _SHOWN} more' if len(text) > _SHOWN else ''}"
                raise InvalidImageError(
                    "invalid_text", f"expected a {name} of up to {longest} characters without NUL, got {shown}"
                )


class Source(Protocol):
    """Somewhere that images come from."""

    @property
    def url(self) -> str:
        """Its name in the catalog. No password stands in it."""

    def files(self) -> Iterator[ArrivedFile]:
        """What it offers, in the order to take it. What was taken before may be among it.

        Raises: SourceError, it does not look as expected; SourceUnavailableError.
        """
