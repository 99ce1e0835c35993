"""Who may come in: no image twice, none under two labels, and pool and evaluation set never share a group."""

from collections.abc import Sequence
from dataclasses import dataclass

import sqlalchemy as sa

from ml.catalog.images.image_records import Membership, Split, find_groups_in, find_memberships
from ml.errors import InvalidImageError

REASONS = {
    "in_other_split": "the same image is in the other split",
    "group_in_other_split": "an image of the same group is in the other split",
    "conflicting_label": "the same image is known under another label",
    "conflicting_group": "the same image is known in another group",
    "excluded": "an admin has taken the same image out",
}
_OTHER: dict[Split, Split] = {"pool": "evaluation", "evaluation": "pool"}


@dataclass(frozen=True)
class Candidate:
    """An image that asks to come in.

    Args: group, as its source states it; None where nothing is known.
    """

    sha256: str
    label: str
    group: str | None

    @property
    def group_key(self) -> str:
        return self.group or self.sha256


@dataclass(frozen=True)
class Guard:
    """What the catalog knows about a batch of candidates."""

    split: Split
    known: dict[str, Membership]
    foreign_groups: set[str]

    def is_duplicate(self, candidate: Candidate) -> bool:
        """Whether the very same image is in this split already.

        Raises: InvalidImageError, with one of REASONS: the candidate contradicts what is known.
        """
        known = self.known.get(candidate.sha256)
        if known is not None:
            _check_not_excluded(known)
        if known is not None and known.split is not None:
            _check_same_split(known, self.split)
            _check_claims(candidate, known)
            return True
        if candidate.group_key in self.foreign_groups:
            raise InvalidImageError(
                "group_in_other_split",
                f"expected a group that is not in the {_OTHER[self.split]} split, got {candidate.group_key!r}, which "
                "is: a model would be scored on what it learnt",
            )
        return False

    def admit(self, candidate: Candidate) -> None:
        """Know a candidate as a member from now on."""
        self.known[candidate.sha256] = Membership(self.split, candidate.label, candidate.group_key)


def open_guard(connection: sa.Connection, candidates: Sequence[Candidate], split: Split) -> Guard:
    """Look up what is known about these candidates.

    Inside `hold_membership` the answer stays true until the transaction ends; outside it is good for a first look.
    """
    return Guard(
        split,
        find_memberships(connection, [candidate.sha256 for candidate in candidates]),
        find_groups_in(connection, _OTHER[split], [candidate.group_key for candidate in candidates]),
    )


def is_known(candidate: Candidate, known: Membership | None) -> bool:
    """Whether an arrival whose split nobody chose is there already: in either split, or waiting for its certificate.

    Raises: InvalidImageError, with one of REASONS: the candidate contradicts what is known.
    """
    if known is None:
        return False
    _check_not_excluded(known)
    if known.label is None:
        return False
    _check_claims(candidate, known)
    return True


def _check_not_excluded(known: Membership) -> None:
    if known.held_back == "excluded":
        raise InvalidImageError(
            "excluded", "expected an image that may be used, got one that an admin has taken out; it stays out"
        )


def _check_same_split(known: Membership, split: Split) -> None:
    if known.split != split:
        raise InvalidImageError(
            "in_other_split", f"expected an image that is new to the {known.split} split, got one that is in it"
        )


def _check_claims(candidate: Candidate, known: Membership) -> None:
    if known.label != candidate.label:
        raise InvalidImageError(
            "conflicting_label",
            f"expected label {known.label!r} as known, got {candidate.label!r}; the known one stays",
        )
    if candidate.group not in (None, known.group_key):
        raise InvalidImageError(
            "conflicting_group",
            f"expected group {known.group_key!r} as known, got {candidate.group!r}; groups are stated the first time",
        )
