"""Bring a folder of labelled images into the pool or the evaluation set."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from pathlib import Path

import sqlalchemy as sa

from ml.catalog.annotations import ONE_CLASS, AnnotationReader
from ml.catalog.class_names import ClassSpellings
from ml.catalog.database import Catalog
from ml.catalog.items.item_records import Split
from ml.catalog.locks import lock_membership
from ml.data.copies.near_copies import NearCopies, compare_ahead, measure_all
from ml.data.feedback import list_spellings
from ml.data.pool import find_single_groups
from ml.errors import InvalidImageError, SourceError
from ml.ingest.admitting import admit_from_person
from ml.ingest.inspection import Accepted, Inspector, learn_spellings
from ml.ingest.layout.class_folders import SourceFile, demand_inside, list_files, read_content
from ml.ingest.layout.printable_names import printable
from ml.ingest.sources.arrivals import ArrivedFile
from ml.progress import Progress

BATCH_SIZE = 64  # files per transaction: a crash loses at most one batch, and memory holds one

REASONS = {
    "outside_class_folder": "the file is outside the class folders, so it has no label",
}


@dataclass(frozen=True)
class Reject:
    """A file that was refused.

    Args:
        path: in printable characters.
        reason: one word, for counting.
        message: what was expected, and what the file is.
    """

    path: str
    reason: str
    message: str


@dataclass(frozen=True)
class CopyFound:
    """An accepted file that is a copy of an image in the same split. Args: path, in printable characters."""

    path: str
    original_id: str


@dataclass
class IngestReport:
    """The outcome of all files: accepted, duplicates and rejects add up to their number. Copies are accepted too.

    Args: single_groups, classes of the folder whose images in the pool are all in one group, with that group.
    """

    accepted: int = 0
    duplicates: int = 0
    copies: list[CopyFound] = field(default_factory=list)
    rejects: list[Reject] = field(default_factory=list)
    single_groups: dict[str, str] = field(default_factory=dict)

    @property
    def rejected(self) -> dict[str, int]:
        """Return the number of refused files for each reason, most frequent first."""
        return dict(Counter(reject.reason for reject in self.rejects).most_common())

    def refuse(self, path: Path, error: InvalidImageError) -> None:
        """Record that a file was refused."""
        self.rejects.append(Reject(printable(str(path)), error.reason, str(error)))

    def count(self, path: Path, copies: NearCopies | None) -> None:
        """Record an accepted file and its copies; if copies is None, a duplicate."""
        if copies is None:
            self.duplicates += 1
            return
        self.accepted += 1
        self.copies += [CopyFound(printable(str(path)), each.item_id) for each in copies.found[:1]]

    def add(self, other: "IngestReport") -> None:
        """Add the outcomes of another report."""
        self.accepted += other.accepted
        self.duplicates += other.duplicates
        self.copies += other.copies
        self.rejects += other.rejects


def ingest_folder(
    catalog: Catalog,
    folder: Path,
    split: Split,
    received_at: datetime | None = None,
    on_progress: Progress | None = None,
    mirrored: bool = True,
    reader: AnnotationReader = ONE_CLASS,
) -> IngestReport:
    """Validate each file of a folder, and store the valid ones with the name of their class folder as label.

    An invalid file is reported, and the others are still ingested. Images are committed in batches: an interrupted run
    keeps its batches. A second run gives the same end state, because stored images count as duplicates.

    Args:
        folder: one sub-folder per label, and optionally groups.csv.
        split: pool, or evaluation (its fixed part, the anchor).
        received_at: when the images arrived, with a time zone; now if None.
        on_progress: called with (files done, files in all).
        mirrored: whether a mirror image is a copy.
        reader: what the sub-folders' names mean.
    Raises:
        SourceError: the folder does not have that layout, or received_at is not in the past.
        ImageStoreError, DatabaseUnavailableError: nothing more can be stored; earlier batches are stored.
    """
    return ingest_files(catalog, folder, list_files(folder), split, received_at, on_progress, mirrored, reader)


def ingest_files(
    catalog: Catalog,
    folder: Path,
    files: Sequence[SourceFile],
    split: Split,
    received_at: datetime | None = None,
    on_progress: Progress | None = None,
    mirrored: bool = True,
    reader: AnnotationReader = ONE_CLASS,
) -> IngestReport:
    """Ingest some of the files of a folder, as `list_files` gives them.

    Args: files, to ingest; the others as in ingest_folder, and so are the errors.
    """
    _check_received_at(catalog, received_at)
    measure_all(catalog)
    with catalog.begin() as connection:
        spellings = ClassSpellings(list_spellings(connection))
    for file in files:
        if file.label is not None:
            spellings.settle(file.label)  # all warnings come before anything is taken
    run = _Run(catalog, folder, split, received_at, mirrored, reader, spellings)
    for start in range(0, len(files), BATCH_SIZE):
        for done in run.ingest(files[start : start + BATCH_SIZE]):
            if on_progress is not None:
                on_progress(start + done, len(files))
    if split == "pool":
        labels = {spellings.settle(file.label) for file in files if file.label is not None}
        with catalog.begin() as connection:
            run.report.single_groups = find_single_groups(connection, labels)
    return run.report


@dataclass(frozen=True)
class _Run:
    catalog: Catalog
    folder: Path
    split: Split
    received_at: datetime | None
    mirrored: bool
    reader: AnnotationReader
    spellings: ClassSpellings
    report: IngestReport = field(default_factory=IngestReport)

    def ingest(self, batch: Sequence[SourceFile]) -> Iterator[int]:
        """Ingest one batch: store the bytes, then the rows that name them. Yield the number of files done so far."""
        inspector = Inspector(
            self.catalog, f"folder:{printable(self.folder.resolve().name)}", self.reader, self.split, self.spellings
        )
        found: list[tuple[Path, Accepted]] = []
        for done, file in enumerate(batch, start=1):
            accepted = self._inspect(inspector, file)
            if accepted is not None:
                found.append((file.path, accepted))
            if done < len(batch):
                yield done
        if found:
            self._commit(found)
        yield len(batch)

    def _inspect(self, inspector: Inspector, file: SourceFile) -> Accepted | None:
        """Inspect one file, and record it unless it is accepted."""
        try:
            if file.problem is not None:
                raise file.problem
            demand_inside(self.folder, file.path)
        except InvalidImageError as error:
            self.report.refuse(file.path, error)
            return None
        arrived = ArrivedFile(str(file.path), "", file.label, file.group, partial(read_content, file.path))
        inspected = inspector.inspect(arrived)
        if inspected.error is not None:
            self.report.refuse(file.path, inspected.error)
        elif inspected.accepted is None:
            self.report.duplicates += 1
        return inspected.accepted

    def _commit(self, found: Sequence[tuple[Path, Accepted]]) -> None:
        """Write the rows. Check each image again, now under the lock: others may have written since the inspection."""
        report = IngestReport()
        compare_ahead(self.catalog, [accepted.statistics.thumbnail for _, accepted in found], self.mirrored)
        with self.catalog.begin() as connection:
            lock_membership(connection, "pool")
            learn_spellings(connection, self.spellings, [accepted for _, accepted in found])
            for path, accepted in found:
                try:
                    settled = accepted.settle(self.spellings)
                    copies = admit_from_person(connection, settled, self.split, self.mirrored, self.received_at)
                except InvalidImageError as error:
                    report.refuse(path, error)
                    continue
                report.count(path, copies)
        self.report.add(report)


def _check_received_at(catalog: Catalog, received_at: datetime | None) -> None:
    if received_at is None:
        return
    if received_at.tzinfo is None:
        raise SourceError(f"received_at: expected a time with its zone, as in {received_at}+00:00, got {received_at}.")
    with catalog.begin() as connection:
        now = connection.execute(sa.select(sa.func.clock_timestamp())).scalar_one()
    if received_at > now:
        raise SourceError(f"received_at: expected a time up to now ({now}), got {received_at}, in the future.")
