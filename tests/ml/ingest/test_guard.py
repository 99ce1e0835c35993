"""Whether an offered image is known already, as a table over everything that the catalog may say of it."""

from typing import Any

import pytest

from ml.catalog.annotations import Annotation
from ml.data.membership import State
from ml.errors import InvalidImageError
from ml.ingest.guard import Candidate, is_known_to_person, is_known_to_source

AMANITA, BOLETUS, RUSSULA = (Annotation((name,)) for name in ("amanita", "boletus", "russula"))
OFFERED = Candidate("item", BOLETUS, "walk 5")
LABELS = pytest.mark.parametrize("other", [AMANITA, RUSSULA], ids=["before", "after"])  # in the order of names


def state(**values: Any) -> State:
    """A curated boletus in the pool, changed."""
    known = {
        "split": "pool",
        "evaluation_part": None,
        "annotation": BOLETUS,
        "label_origin": "curated",
        "held_back": None,
        "group_key": "walk 5",
        "copy_of": None,
    }
    return State(**(known | values))


def refusal(known: State, candidate: Candidate = OFFERED, by_source: bool = True) -> str:
    with pytest.raises(InvalidImageError) as refused:
        is_known_to_source(candidate, known) if by_source else is_known_to_person(candidate, known, "pool")
    return refused.value.reason


@pytest.mark.parametrize("origin", ["curated", "confirmed", "stated", "harvested"])
@pytest.mark.parametrize("split", ["pool", "evaluation", None])
def test_a_source_that_says_what_is_known_brings_nothing_new(origin: str, split: str | None) -> None:
    assert is_known_to_source(OFFERED, state(label_origin=origin, split=split))


def test_an_image_without_a_row_or_a_label_is_new_to_everybody() -> None:
    predicted = state(split=None, annotation=None, label_origin=None)
    for known in (None, predicted):
        assert not is_known_to_source(OFFERED, known)
        assert not is_known_to_person(OFFERED, known, "pool")


@LABELS
def test_a_source_may_contradict_a_guess_and_nobody_else(other: Annotation) -> None:
    assert not is_known_to_source(OFFERED, state(label_origin="harvested", annotation=other))
    for origin in ("curated", "confirmed", "stated"):
        assert refusal(state(label_origin=origin, annotation=other)) == "conflicting_label"


@LABELS
def test_a_person_may_contradict_a_guess_and_what_waits_and_no_other_person(other: Annotation) -> None:
    for known in (state(label_origin="harvested", annotation=other), state(label_origin="stated", annotation=other)):
        assert not is_known_to_person(OFFERED, known, "pool")
    assert not is_known_to_person(OFFERED, state(split=None), "pool")
    for origin in ("curated", "confirmed"):
        assert refusal(state(label_origin=origin, annotation=other), by_source=False) == "conflicting_label"
        assert is_known_to_person(OFFERED, state(label_origin=origin), "pool")


def test_what_is_out_stays_out() -> None:
    for by_source in (True, False):
        assert refusal(state(held_back="excluded"), by_source=by_source) == "excluded"
        assert refusal(state(held_back="superseded"), by_source=by_source) == "superseded"
    for held_back in ("waiting", "suspended", "copy"):
        assert is_known_to_source(OFFERED, state(held_back=held_back))


def test_a_person_is_told_where_the_image_is() -> None:
    assert refusal(state(split="evaluation"), by_source=False) == "in_other_split"
    assert refusal(state(held_back="copy", copy_of="original"), by_source=False) == "copy_in_other_split"
    assert is_known_to_person(OFFERED, state(split="evaluation"), "evaluation")
    with pytest.raises(InvalidImageError, match="not in the pool split"):
        is_known_to_person(OFFERED, state(), "evaluation")


@pytest.mark.parametrize("group", ["walk 4", "walk 6"])
def test_a_group_is_stated_once(group: str) -> None:
    for by_source in (True, False):
        assert refusal(state(), Candidate("item", BOLETUS, group), by_source) == "conflicting_group"
    for candidate, known in (
        (Candidate("item", BOLETUS, None), state(group_key="item")),
        (Candidate("item", BOLETUS, group), state(copy_of="original")),
    ):
        assert is_known_to_source(candidate, known)
        assert is_known_to_person(candidate, known, "pool")


def test_a_group_that_is_not_stated_is_the_item_itself() -> None:
    assert (Candidate("item", BOLETUS, None).group_key, OFFERED.group_key) == ("item", "walk 5")
