"""What every source offers: files with what it states of them, read one at a time."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Protocol

REASONS = {
    "missing": "the source names the file and does not have it",
    "unreachable": "the file's server did not answer, asked several times; it is asked again another day",
    "refused": "the source names the file and does not hand it out; it is asked again another day",
}


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
    """

    name: str
    version: str
    label: str | None
    group: str | None
    read: Callable[[], bytes]
    rights: Rights | None = None


class Source(Protocol):
    """Somewhere that images come from."""

    @property
    def url(self) -> str:
        """Its name in the catalog. No password stands in it."""

    def files(self) -> Iterator[ArrivedFile]:
        """What it offers, in the order to take it. What was taken before may be among it.

        Raises: SourceError, it does not look as expected; SourceUnavailableError.
        """
