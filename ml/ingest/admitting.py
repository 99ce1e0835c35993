"""Admit or refuse an inspected image, after a check against all stored images. Call `lock_membership` first."""

from dataclasses import replace
from datetime import datetime

import sqlalchemy as sa

from ml.catalog.images.copy_index import save_statistics
from ml.catalog.items.item_records import Split
from ml.data import membership
from ml.data.copies.near_copies import NearCopies, find_near_copies, index_items
from ml.data.membership import Arrival, read_states
from ml.errors import InvalidImageError
from ml.ingest.guard import Candidate, is_known_to_person, is_known_to_source, refuse_leaks
from ml.ingest.inspection import Accepted


def admit_from_person(
    connection: sa.Connection, accepted: Accepted, split: Split, mirrored: bool, received_at: datetime | None
) -> NearCopies | None:
    """Add an image to the split that a person chose. A copy joins the group of its original.

    The person's annotation replaces an annotation by a model or a source. When the image enters the evaluation set,
    harvested copies of it and harvested images of its group leave the pool, unless a model has learned from them.

    Returns: its copies in that split; None if the image was in it already.
    Raises: InvalidImageError, with one of the REASONS of ml.ingest.guard.
    """
    candidate = accepted.candidate
    known = read_states(connection, [candidate.item_id]).get(candidate.item_id)
    if is_known_to_person(candidate, known, split):
        return None
    image = (accepted.image_sha256, accepted.statistics.thumbnail)
    copies = find_near_copies(connection, *image, mirrored, [candidate.item_id])
    original = copies.original_in(split)
    group_key = candidate.group_key if original is None else original.group_key
    try:
        obstacles = refuse_leaks(connection, candidate, split, copies, group_key)
    except InvalidImageError:
        _confirm_harvested(connection, candidate, known, accepted.record.source, mirrored)
        raise
    record = replace(accepted.record, group=group_key)
    arrival = Arrival(record, candidate.annotation, None if original is None else original.item_id)
    membership.enter(connection, [arrival], split, record.source, received_at)
    for harvested_id in obstacles.yielding:
        membership.withdraw(connection, harvested_id, candidate.item_id, accepted.record.source)
    _keep_statistics(connection, accepted)
    return NearCopies(copies.of_split(split))


def admit_from_source(connection: sa.Connection, accepted: Accepted, mirrored: bool) -> bool:
    """Add an image of a source as waiting for certification, unless it is a copy of a stored image.

    Returns: whether it is new; False if the image itself was stored already.
    Raises: InvalidImageError, near_evaluation, near_duplicate or one of the REASONS of ml.ingest.guard.
    """
    candidate = accepted.candidate
    known = read_states(connection, [candidate.item_id]).get(candidate.item_id)
    if is_known_to_source(candidate, known):
        return False
    image = (accepted.image_sha256, accepted.statistics.thumbnail)
    copies = find_near_copies(connection, *image, mirrored, [candidate.item_id])
    if found := copies.of_split("evaluation") or copies.found:
        is_evaluated = found[0].split == "evaluation"
        raise InvalidImageError(
            "near_evaluation" if is_evaluated else "near_duplicate",
            f"expected a new photo, got a copy of the {'evaluation ' if is_evaluated else ''}image {found[0].item_id}",
        )
    membership.wait(connection, [Arrival(accepted.record, candidate.annotation)], accepted.record.source)
    _keep_statistics(connection, accepted)
    return True


def _confirm_harvested(
    connection: sa.Connection, candidate: Candidate, known: membership.State | None, source: str, mirrored: bool
) -> None:
    """Replace a model's annotation by the person's, although the image must stay in the split that it is in."""
    if known is not None and known.label_origin == "harvested":
        membership.confirm(connection, candidate.item_id, candidate.annotation, source, mirrored, "curated")


def _keep_statistics(connection: sa.Connection, accepted: Accepted) -> None:
    save_statistics(connection, {accepted.image_sha256: accepted.statistics})
    index_items(connection, [accepted.record.id])
