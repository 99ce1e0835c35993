"""Ingest the new files of a source in batches. Some images, or whole batches, wait for a person."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from itertools import islice

import sqlalchemy as sa

from ml.catalog.annotations import ONE_CLASS, Annotation, AnnotationReader
from ml.catalog.class_names import ClassSpellings
from ml.catalog.database import Catalog
from ml.catalog.images.batches import (
    DOWNLOAD_FAILURES,
    FileOutcome,
    add_batch,
    add_rights,
    find_known_files,
    note_contact_sheet,
)
from ml.catalog.locks import lock_membership
from ml.catalog.logs.outbox import raise_alert
from ml.catalog.object_store import report_key
from ml.data.copies.near_copies import compare_ahead, measure_all
from ml.data.feedback import is_known_label, list_spellings
from ml.data.membership import confirm
from ml.deadlines import Deadline
from ml.errors import InvalidImageError, SourceError, SourceUnavailableError
from ml.ingest.admitting import admit_from_source
from ml.ingest.contact_sheet import SheetEntry, draw_contact_sheet
from ml.ingest.inspection import Inspected, Inspector, learn_spellings
from ml.ingest.layout.class_folders import FOREIGN_REASONS
from ml.ingest.layout.printable_names import printable
from ml.ingest.sources.arrivals import ArrivedFile, Source

BATCH_FILES = 200  # a person checks one batch at a time, and a crash loses at most one

REASONS = {
    "certification": "waits until an admin certifies it",
    "unknown_label": "waits, because no model and no image has this label",
    "quarantine": "waits, because too many files of its batch were rejected",
}

# After so many failed downloads in a row, the server counts as down: the files themselves may be fine.
_UNREACHABLE_IN_A_ROW = 3
# Fewer rejects cause no quarantine: in a small batch, a single bad file is a large share.
_QUARANTINE_REJECTS = 5
_UNJUDGED = frozenset(
    {*DOWNLOAD_FAILURES, *FOREIGN_REASONS, "outside_class_folder", "near_duplicate", "near_evaluation"}
)
_LOOKUP_SIZE = 1000  # names per database query; a collection may offer a hundred thousand


@dataclass(frozen=True)
class BatchRules:
    """The settings of a deployment for batches.

    Args:
        require_certification: whether every image of a source waits until a person certifies it.
        quarantine_share: a batch is quarantined if a larger share of it is rejected, and at least five files are.
        mirrored: whether a mirror image is a copy.
        reader: what the labels of a source mean.
    """

    require_certification: bool
    quarantine_share: float
    mirrored: bool = True
    reader: AnnotationReader = ONE_CLASS


def ingest_source(catalog: Catalog, source: Source, rules: BatchRules, deadline: Deadline) -> list[int]:
    """Ingest the files of a source that its earlier batches do not have.

    A batch is committed whole or not at all. After an interrupted run, the next run continues behind the last batch.

    Args: deadline, no batch starts after it; the next run ingests the remaining files.
    Returns: the ids of the new batches.
    Raises:
        SourceError, SourceUnavailableError: the source gives no more files; the files read so far are stored.
        ImageStoreError, DatabaseUnavailableError: nothing more can be stored; earlier batches are stored.
    """
    files = _new_files(catalog, source)
    inspector = None
    batch_ids: list[int] = []
    while deadline.remaining() and (chunk := list(islice(files, BATCH_FILES))):
        if inspector is None:
            measure_all(catalog)
            inspector = Inspector(catalog, source.url, rules.reader, None, _read_spellings(catalog))
        for file in chunk:
            if file.label is not None and file.problem is None:
                inspector.spellings.settle(file.label)  # the warnings come before anything of the chunk is taken
        found, failure = _inspect(inspector, chunk)
        if found:
            batch_ids.append(_commit(catalog, source.url, rules, found, inspector.spellings))
            _demand_access(found)
        if failure is not None:
            raise failure
    return batch_ids


def _new_files(catalog: Catalog, source: Source) -> Iterator[ArrivedFile]:
    """Yield files that are in no batch, then files whose download failed and may be tried again."""
    offered, again = source.files(), []
    while chunk := list(islice(offered, _LOOKUP_SIZE)):
        with catalog.begin() as connection:
            taken = find_known_files(connection, source.url, [file.name for file in chunk])
        yield from (file for file in chunk if (file.name, file.version) not in taken)
        again += [file for file in chunk if taken.get((file.name, file.version))]
    yield from again


def _read_spellings(catalog: Catalog) -> ClassSpellings:
    with catalog.begin() as connection:
        return ClassSpellings(list_spellings(connection))


def _inspect(
    inspector: Inspector, files: Sequence[ArrivedFile]
) -> tuple[list[Inspected], SourceError | SourceUnavailableError | None]:
    """Inspect files until the source gives no more. Return the results, and the error if the source failed."""
    found: list[Inspected] = []
    try:
        for file in files:
            found.append(inspector.inspect(file))
            _demand_reachable(found)
    except (SourceError, SourceUnavailableError) as error:
        return found, error
    return found, None


def _demand_reachable(found: list[Inspected]) -> None:
    last = found[-_UNREACHABLE_IN_A_ROW:]
    reasons = [each.error.reason for each in last if each.error is not None]
    if reasons == ["unreachable"] * _UNREACHABLE_IN_A_ROW:
        raise SourceUnavailableError(
            f"Expected files from the source, but {_UNREACHABLE_IN_A_ROW} downloads in a row failed. The next run "
            f"continues with other files, and tries these again tomorrow. Last error: {last[-1].error}"
        )


def _commit(
    catalog: Catalog, source: str, rules: BatchRules, inspected: Sequence[Inspected], spellings: ClassSpellings
) -> int:
    """Write a batch with its images. Check each again: others may have written since the inspection."""
    thumbnails = [each.accepted.statistics.thumbnail for each in inspected if each.accepted is not None]
    for in_order in (thumbnails, thumbnails[::-1]):  # `confirm` searches again for copies among the whole batch
        compare_ahead(catalog, in_order, rules.mirrored)
    with catalog.begin() as connection:
        lock_membership(connection, "pool")
        learn_spellings(connection, spellings, [each.accepted for each in inspected if each.accepted is not None])
        found = [_admitted(connection, each, rules, spellings) for each in inspected]
        rejects, share = _count_rejects(found)
        is_quarantined = rejects >= _QUARANTINE_REJECTS and share > rules.quarantine_share
        _add_rights(connection, found)
        files = [_enter_or_wait(connection, source, each, rules, is_quarantined) for each in found]
        batch_id = add_batch(connection, source, files, is_quarantined, share)
        if is_quarantined:
            _alert(connection, batch_id, source, files)
    _keep_contact_sheet(catalog, batch_id, found)
    return batch_id


def _admitted(connection: sa.Connection, found: Inspected, rules: BatchRules, spellings: ClassSpellings) -> Inspected:
    if found.accepted is None:
        return found
    found = replace(found, accepted=(accepted := found.accepted.settle(spellings)))
    try:
        is_new = admit_from_source(connection, accepted, rules.mirrored)
    except InvalidImageError as error:
        return replace(found, accepted=None, error=error)
    return found if is_new else replace(found, accepted=None, known_id=accepted.candidate.item_id)


def _demand_access(found: Sequence[Inspected]) -> None:
    """Raise an error if the source refused every file of a batch: then the access is wrong, not single files."""
    errors = [each.error for each in found if each.error is not None and each.error.reason == "refused"]
    if len(errors) == len(found) >= _QUARANTINE_REJECTS:
        raise SourceError(
            f"Expected files from the source, but it refused all {len(found)} of a batch. Check the access rights. The "
            f"next run continues with other files, and tries these again tomorrow. Last error: {errors[-1]}"
        )


def _count_rejects(found: Sequence[Inspected]) -> tuple[int, float]:
    """Count the rejects, and compute their share of the files that were judged.

    Duplicates and copies of known photos do not count, because they say nothing about the new images. Failed downloads
    and entries that are no files do not count either.
    """
    reasons = [each.error and each.error.reason for each in found if each.known_id is None]
    judged = [reason for reason in reasons if reason not in _UNJUDGED]
    rejects = sum(reason is not None for reason in judged)
    return rejects, rejects / len(judged) if judged else 0.0


def _keep_contact_sheet(catalog: Catalog, batch_id: int, found: Sequence[Inspected]) -> None:
    """Draw the rejects and store the picture. It is stored after the batch: a crash loses only the picture."""
    rejects = [SheetEntry(each.file.name, each.error.reason, each.picture) for each in found if each.error is not None]
    if not rejects:
        return
    sheet = draw_contact_sheet(rejects)
    key = report_key(sha256(sheet).hexdigest())
    catalog.store.put(key, sheet)
    with catalog.begin() as connection:
        note_contact_sheet(connection, batch_id, key)


def _add_rights(connection: sa.Connection, found: Sequence[Inspected]) -> None:
    rights = {
        each.accepted.image_sha256: (each.file.rights.licence, each.file.rights.holder)
        for each in found
        if each.accepted is not None and each.file.rights is not None
    }
    add_rights(connection, rights)


def _enter_or_wait(
    connection: sa.Connection, source: str, found: Inspected, rules: BatchRules, is_quarantined: bool
) -> FileOutcome:
    """Put an accepted image into the pool or the evaluation set unless it must wait. Return the file's outcome."""
    label = None if found.file.label is None else printable(found.file.label)
    stated = found.file.name, found.file.version, label
    if found.error is not None:
        return FileOutcome(*stated, "rejected", found.error.reason, printable(str(found.error)))
    if found.accepted is None:
        return FileOutcome(*stated, "duplicate", item_id=found.known_id)
    item_id, annotation = found.accepted.record.id, found.accepted.candidate.annotation
    reason = _reason_to_wait(connection, annotation, rules, is_quarantined)
    if reason is not None:
        return FileOutcome(*stated, "waiting", reason, item_id=item_id)
    confirm(connection, item_id, annotation, source, rules.mirrored, "curated")
    return FileOutcome(*stated, "entered", item_id=item_id)


def _reason_to_wait(
    connection: sa.Connection, annotation: Annotation, rules: BatchRules, is_quarantined: bool
) -> str | None:
    if is_quarantined:
        return "quarantine"
    if not all(is_known_label(connection, name) for name in annotation.class_names):
        return "unknown_label"
    return "certification" if rules.require_certification else None


def _alert(connection: sa.Connection, batch_id: int, source: str, files: Sequence[FileOutcome]) -> None:
    reasons = Counter(file.reason for file in files if file.outcome == "rejected")
    counts = ", ".join(f"{reason} {count}" for reason, count in reasons.most_common())
    raise_alert(
        connection,
        "quarantine",
        f"quarantine:batch {batch_id}",
        f"Batch {batch_id} is in quarantine: {reasons.total()} of {len(files)} files rejected",
        f"From {source}: {counts}. Look at the rejects with `mycoflow batch show {batch_id} --contact-sheet FILE`. "
        f"Then accept the other files with `mycoflow batch certify {batch_id}`, or refuse them with "
        f"`mycoflow batch reject {batch_id}`.",
    )
