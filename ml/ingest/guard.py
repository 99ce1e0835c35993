"""Who may come in: no image twice, none under two labels, and pool and evaluation set share no group and no copy."""

from dataclasses import dataclass

import sqlalchemy as sa

from ml.catalog.annotations import Annotation, label_of
from ml.catalog.images.label_origins import HUMAN_ORIGINS
from ml.catalog.items.item_records import Split
from ml.data.copies.near_copies import NearCopies
from ml.data.membership import Obstacles, State, find_obstacles, was_learned
from ml.errors import InvalidImageError

REASONS = {
    "in_other_split": "the same image is in the other split",
    "group_in_other_split": "an image of the same group is in the other split",
    "copy_in_other_split": "a copy of the same photo is in the other split",
    "conflicting_label": "the same image is known under another label",
    "conflicting_group": "the same image is known in another group",
    "excluded": "an admin has taken the same image out",
    "superseded": "the same image has another description now",
}
_OTHER: dict[Split, Split] = {"pool": "evaluation", "evaluation": "pool"}


@dataclass(frozen=True)
class Candidate:
    """An item that asks to come in.

    Args: group, as its source states it; None where nothing is known.
    """

    item_id: str
    annotation: Annotation
    group: str | None

    @property
    def group_key(self) -> str:
        return self.group or self.item_id


def is_known_to_person(candidate: Candidate, known: State | None, split: Split) -> bool:
    """Whether a person's image is in the split of its choice already, by a person's word.

    What a model named, and what waits for a person, is no obstacle: this is that person.

    Raises: InvalidImageError, with one of REASONS: the candidate contradicts what people said.
    """
    if known is None:
        return False
    _check_not_out(known)
    if known.split is None or known.label_origin not in HUMAN_ORIGINS:
        return False
    if known.held_back == "copy":
        raise _copy_in_other_split(_OTHER["pool"], known.copy_of)
    if known.split != split:
        raise InvalidImageError(
            "in_other_split", f"expected an image that is new to the {known.split} split, got one that is in it"
        )
    _check_claims(candidate, known)
    return True


def is_known_to_source(candidate: Candidate, known: State | None) -> bool:
    """Whether an arrival whose split nobody chose is there already: in either split, or waiting for its certificate.

    Under another name than a model gave it, it is new: a person is to say.

    Raises: InvalidImageError, with one of REASONS: the candidate contradicts what is known.
    """
    if known is None:
        return False
    _check_not_out(known)
    if known.annotation is None or (known.label_origin == "harvested" and known.annotation != candidate.annotation):
        return False
    _check_claims(candidate, known)
    return True


def demand_no_crossing(
    connection: sa.Connection, candidate: Candidate, split: Split, copies: NearCopies, group_key: str
) -> Obstacles:
    """Refuse an image that would have its copy, or its group, on the other side.

    Args: group_key, the group that it would be in.
    Returns: what it meets there; the images that yield are to be withdrawn.
    Raises: InvalidImageError, with one of REASONS.
    """
    found = find_obstacles(connection, split, candidate.item_id, group_key, copies)
    stated = find_obstacles(connection, split, candidate.item_id, candidate.group_key, NearCopies())
    if found.group or stated.group:
        raise InvalidImageError(
            "group_in_other_split",
            f"expected a group that is not in the {_OTHER[split]} split, got {candidate.group_key!r}, which "
            "is: a model would be scored on what it learnt",
        )
    if found.copies:
        raise _copy_in_other_split(_OTHER[split], found.copies[0])
    if split == "evaluation" and was_learned(connection, item_ids=[candidate.item_id]):
        raise InvalidImageError(
            "in_other_split", "expected an image to measure with, got one that a model has learned from; it stays there"
        )
    return Obstacles([], [], [*found.yielding, *stated.yielding])


def _copy_in_other_split(other: Split, item_id: str | None) -> InvalidImageError:
    return InvalidImageError(
        "copy_in_other_split",
        f"expected a photo of which the {other} split has no copy, got one of {item_id}: a model would be scored on "
        "what it learnt",
    )


def _check_not_out(known: State) -> None:
    if known.held_back == "excluded":
        raise InvalidImageError(
            "excluded", "expected an image that may be used, got one that an admin has taken out; it stays out"
        )
    if known.held_back == "superseded":
        raise InvalidImageError(
            "superseded", "expected the current description of an image, got a former one; the current one stays"
        )


def _check_claims(candidate: Candidate, known: State) -> None:
    if known.annotation != candidate.annotation:
        label = label_of(known.annotation)
        raise InvalidImageError(
            "conflicting_label",
            f"expected label {label!r} as known, got {candidate.annotation.label!r}; the known one stays",
        )
    is_grouped_as_copy = known.copy_of is not None
    if candidate.group not in (None, known.group_key) and not is_grouped_as_copy:
        raise InvalidImageError(
            "conflicting_group",
            f"expected group {known.group_key!r} as known, got {candidate.group!r}; groups are stated the first time",
        )
