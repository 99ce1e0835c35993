"""Bring a folder of labelled images into the pool or the evaluation set."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from hashlib import sha256
from pathlib import Path

import sqlalchemy as sa

from ml.catalog.database import Catalog
from ml.catalog.images.image_records import ImageRecord, LabelledImage, Split, add_members
from ml.catalog.locks import hold_membership
from ml.catalog.object_store import image_key
from ml.errors import InvalidImageError, SourceError
from ml.ingest.class_folders import SourceFile, demand_inside, list_files, read_content
from ml.ingest.guard import Candidate, open_guard
from ml.ingest.ingest_outcomes import IngestReport
from ml.ingest.validation import sanitise
from ml.progress import Progress

BATCH_SIZE = 64  # files per transaction: what a crash can cost, and what memory holds

REASONS = {
    "outside_class_folder": "the file lies beside the class folders, so it has no label",
    "link_outside": "a link to something outside the folder",
}


@dataclass(frozen=True)
class _Arrival:
    """A file that was read, and what it claims to be."""

    path: Path
    candidate: Candidate
    content: bytes


def ingest_folder(
    catalog: Catalog,
    folder: Path,
    split: Split,
    received_at: datetime | None = None,
    on_progress: Progress | None = None,
) -> IngestReport:
    """Validate each file of a folder and store the good ones, labelled by the class folder they lie in.

    A bad file is reported and the rest goes on. Images are committed in batches: an interrupted run keeps what it
    did, and running again ends in the same state, since what is known counts as duplicate.

    Args:
        folder: one sub-folder per class, and optionally groups.csv.
        split: pool, or evaluation (its fixed part, the anchor).
        received_at: when the images arrived, with a time zone; now when None.
        on_progress: told the files done and the files in all.
    Raises:
        SourceError: not that layout, or a received_at that is no moment of the past.
        ImageStoreError, DatabaseUnavailableError: nothing more can be stored; earlier batches are.
    """
    files = list_files(folder)
    _check_received_at(catalog, received_at)
    run = _Run(catalog, folder, split, received_at)
    for start in range(0, len(files), BATCH_SIZE):
        for done in run.ingest(files[start : start + BATCH_SIZE]):
            if on_progress is not None:
                on_progress(start + done, len(files))
    return run.report


@dataclass(frozen=True)
class _Run:
    catalog: Catalog
    folder: Path
    split: Split
    received_at: datetime | None
    report: IngestReport = field(default_factory=IngestReport)

    def ingest(self, batch: Sequence[SourceFile]) -> Iterator[int]:
        """Take one batch in: bytes first, then the rows that name them. Yields the number of files done so far."""
        arrivals = [arrival for arrival in map(self._read, batch) if arrival is not None]
        with self.catalog.begin() as connection:
            guard = open_guard(connection, [arrival.candidate for arrival in arrivals], self.split)
        stored: list[tuple[_Arrival, ImageRecord]] = []
        for done, arrival in enumerate(arrivals, start=len(batch) - len(arrivals)):
            yield done
            with self.report.noting(arrival.path):
                if guard.is_duplicate(arrival.candidate):
                    self.report.duplicates += 1
                else:
                    stored.append((arrival, self._store(arrival)))
                    guard.admit(arrival.candidate)
        if stored:
            self._commit(stored)
        yield len(batch)

    def _read(self, file: SourceFile) -> _Arrival | None:
        with self.report.noting(file.path):
            demand_inside(self.folder, file.path)
            if file.label is None:
                raise InvalidImageError("outside_class_folder", "expected a file in a class folder")
            content = read_content(file.path)
            return _Arrival(file.path, Candidate(sha256(content).hexdigest(), file.label, file.group), content)
        return None

    def _store(self, arrival: _Arrival) -> ImageRecord:
        image = sanitise(arrival.content)
        self.catalog.store.put(image_key(image.sha256), image.content)
        return ImageRecord(
            sha256=image.sha256,
            group_key=arrival.candidate.group_key,
            source=f"folder:{self.folder.resolve().name}",
            media_type=image.media_type,
            width=image.width,
            height=image.height,
            byte_count=len(image.content),
        )

    def _commit(self, stored: Sequence[tuple[_Arrival, ImageRecord]]) -> None:
        """Write the rows. Others may have written since the first look, so the guard looks again, now alone."""
        members = []
        with self.catalog.begin() as connection:
            hold_membership(connection, self.split)
            guard = open_guard(connection, [arrival.candidate for arrival, _ in stored], self.split)
            for arrival, image in stored:
                with self.report.noting(arrival.path):
                    if guard.is_duplicate(arrival.candidate):
                        self.report.duplicates += 1
                    else:
                        members.append(LabelledImage(image, arrival.candidate.label))
            add_members(connection, members, self.split, self.received_at)
        self.report.accepted += len(members)


def _check_received_at(catalog: Catalog, received_at: datetime | None) -> None:
    if received_at is None:
        return
    if received_at.tzinfo is None:
        raise SourceError(f"received_at: expected a time with its zone, as in {received_at}+00:00, got {received_at}.")
    with catalog.begin() as connection:
        now = connection.execute(sa.select(sa.func.clock_timestamp())).scalar_one()
    if received_at > now:
        raise SourceError(f"received_at: expected a moment up to now ({now}), got {received_at}, in the future.")
