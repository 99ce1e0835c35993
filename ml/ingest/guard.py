"""Check that no image is stored twice or under two labels, and that the splits share no group and no copy."""

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
    "conflicting_label": "the same image has another label",
    "conflicting_group": "the same image is in another group",
    "excluded": "an admin has excluded the same image",
    "superseded": "the same image has a newer description",
}
_OTHER: dict[Split, Split] = {"pool": "evaluation", "evaluation": "pool"}


@dataclass(frozen=True)
class Candidate:
    """An item that may be added.

    Args: group, as its source states it; None if the source states none.
    """

    item_id: str
    annotation: Annotation
    group: str | None

    @property
    def group_key(self) -> str:
        return self.group or self.item_id


def is_known_to_person(candidate: Candidate, known: State | None, split: Split) -> bool:
    """Whether an image that a person offers is already in the chosen split with a human label.

    An image that a model labelled, or that waits for certification, counts as new: this person labels it.

    Raises: InvalidImageError, with one of REASONS: the candidate contradicts what people stated before.
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
            "in_other_split", f"expected an image that is not in the {known.split} split, got one that is"
        )
    _check_claims(candidate, known)
    return True


def is_known_to_source(candidate: Candidate, known: State | None) -> bool:
    """Whether an image that a source offers is already stored: in either split, or waiting for certification.

    A harvested image counts as new if the source gives it another label than the model: a person then decides.

    Raises: InvalidImageError, with one of REASONS: the candidate contradicts what is stored.
    """
    if known is None:
        return False
    _check_not_out(known)
    if known.annotation is None or (known.label_origin == "harvested" and known.annotation != candidate.annotation):
        return False
    _check_claims(candidate, known)
    return True


def refuse_leaks(
    connection: sa.Connection, candidate: Candidate, split: Split, copies: NearCopies, group_key: str
) -> Obstacles:
    """Refuse an image that has a copy, or an image of its group, in the other split.

    Args: group_key, the group that it would get.
    Returns: obstacles with only the yielding images, which the caller must withdraw.
    Raises: InvalidImageError, with one of REASONS.
    """
    found = find_obstacles(connection, split, candidate.item_id, group_key, copies)
    stated = find_obstacles(connection, split, candidate.item_id, candidate.group_key, NearCopies())
    if found.group or stated.group:
        raise InvalidImageError(
            "group_in_other_split",
            f"expected a group that is not in the {_OTHER[split]} split, got {candidate.group_key!r}, which "
            "is: a model would be scored on images that it learned from",
        )
    if found.copies:
        raise _copy_in_other_split(_OTHER[split], found.copies[0])
    if split == "evaluation" and was_learned(connection, item_ids=[candidate.item_id]):
        raise InvalidImageError(
            "in_other_split",
            "expected an image that no model has learned from, got one that a model has; it is not moved",
        )
    return Obstacles([], [], [*found.yielding, *stated.yielding])


def _copy_in_other_split(other: Split, item_id: str | None) -> InvalidImageError:
    return InvalidImageError(
        "copy_in_other_split",
        f"expected a photo without a copy in the {other} split, got a copy of {item_id}: a model would be scored on "
        "images that it learned from",
    )


def _check_not_out(known: State) -> None:
    if known.held_back == "excluded":
        raise InvalidImageError(
            "excluded", "expected an image that may be used, got one that an admin has excluded; it stays excluded"
        )
    if known.held_back == "superseded":
        raise InvalidImageError(
            "superseded", "expected the current description of an image, got an older one; the current one stays"
        )


def _check_claims(candidate: Candidate, known: State) -> None:
    if known.annotation != candidate.annotation:
        label = label_of(known.annotation)
        raise InvalidImageError(
            "conflicting_label",
            f"expected the stored label {label!r}, got {candidate.annotation.label!r}; the stored one stays",
        )
    is_grouped_as_copy = known.copy_of is not None
    if candidate.group not in (None, known.group_key) and not is_grouped_as_copy:
        raise InvalidImageError(
            "conflicting_group",
            f"expected the stored group {known.group_key!r}, got {candidate.group!r}; the stored one stays",
        )
