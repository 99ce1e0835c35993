"""What became of the files of one ingestion."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from ml.errors import InvalidImageError


@dataclass(frozen=True)
class Reject:
    """A file that was refused.

    Args:
        path: as given, made printable.
        reason: one word, for counting.
        message: what was expected and what came.
    """

    path: str
    reason: str
    message: str


@dataclass
class IngestReport:
    """The sum of accepted, duplicates and rejects is the number of files looked at."""

    accepted: int = 0
    duplicates: int = 0
    rejects: list[Reject] = field(default_factory=list)

    @property
    def rejected(self) -> dict[str, int]:
        """How many files were refused for each reason, most frequent first."""
        return dict(Counter(reject.reason for reject in self.rejects).most_common())

    @contextmanager
    def noting(self, path: Path) -> Iterator[None]:
        """Note the refusal of one file, and let the others go on."""
        try:
            yield
        except InvalidImageError as error:
            printable = str(path).encode(errors="backslashreplace").decode()
            self.rejects.append(Reject(printable, error.reason, str(error)))
