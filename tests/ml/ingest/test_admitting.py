"""What a source brings is new, known, a copy of what is known, or contradicts it. The evaluation set is told first."""

from collections.abc import Callable
from io import BytesIO

import pytest
from PIL import Image

from ml.catalog.annotations import Annotation
from ml.catalog.database import Catalog
from ml.catalog.items.item_records import ItemRecord, Split, add_predicted
from ml.data import membership
from ml.data.copies.image_statistics import measure
from ml.errors import InvalidImageError
from ml.ingest.admitting import admit_from_person, admit_from_source
from ml.ingest.guard import Candidate
from ml.ingest.inspection import Accepted
from ml.ingest.validation import sanitise
from tests.ml.data.copies.test_copy_comparison import scene

BOLETUS, AMANITA = Annotation(("boletus",)), Annotation(("amanita",))
COPIES: dict[str, Callable[[Image.Image], Image.Image]] = {
    "turned": lambda image: image.rotate(90, expand=True),
    "cut": lambda image: image.crop((20, 5, 236, 175)),
}


def offer(picture: Image.Image, annotation: Annotation = BOLETUS, group: str | None = None) -> Accepted:
    """A picture as it comes out of the inspection."""
    buffer = BytesIO()
    picture.save(buffer, "JPEG", quality=88)
    image = sanitise(buffer.getvalue())
    record = ItemRecord("file:///drop", image.record, group=group)
    return Accepted(Candidate(record.id, annotation, group), record, image.sha256, measure(image.content))


def bring(catalog: Catalog, accepted: Accepted, split: Split | None = None) -> str:
    """Let a source bring an item; if a split is given, let a person bring it. Returns: the item's id."""
    with catalog.begin() as connection:
        if split is None:
            assert admit_from_source(connection, accepted, mirrored=True)
        else:
            assert admit_from_person(connection, accepted, split, True, None) is not None
    return accepted.record.id


def refusal(catalog: Catalog, accepted: Accepted) -> tuple[str, str]:
    with pytest.raises(InvalidImageError) as refused, catalog.begin() as connection:
        admit_from_source(connection, accepted, mirrored=True)
    with catalog.begin() as connection:
        assert membership.read_states(connection, [accepted.record.id]) == {}
    return refused.value.reason, str(refused.value)


def state(catalog: Catalog, item_id: str) -> membership.State:
    with catalog.begin() as connection:
        return membership.read_states(connection, [item_id])[item_id]


def test_what_is_new_waits_and_what_is_known_is_not_new(catalog: Catalog) -> None:
    accepted = offer(scene(1), group="walk 1")
    waiting = state(catalog, bring(catalog, accepted))
    assert (waiting.held_back, waiting.label_origin, waiting.split) == ("waiting", "stated", None)
    assert (waiting.annotation, waiting.group_key) == (BOLETUS, "walk 1")
    with catalog.begin() as connection:
        assert admit_from_source(connection, accepted, mirrored=True) is False
    assert state(catalog, accepted.record.id) == waiting


@pytest.mark.parametrize("kind", COPIES)
def test_a_copy_is_refused_with_the_id_of_what_it_copies(catalog: Catalog, kind: str) -> None:
    evaluated = bring(catalog, offer(scene(1)), "evaluation")
    learned = bring(catalog, offer(scene(2)), "pool")
    waiting = bring(catalog, offer(scene(3)))
    told = [refusal(catalog, offer(COPIES[kind](scene(number)))) for number in (1, 2, 3)]
    assert [reason for reason, _ in told] == ["near_evaluation", "near_duplicate", "near_duplicate"]
    assert [text.partition("got a copy of the ")[2] for _, text in told] == [
        f"evaluation image {evaluated}",
        f"image {learned}",
        f"image {waiting}",
    ]


def test_a_copy_of_several_names_the_most_alike_and_the_evaluation_set_first(catalog: Catalog) -> None:
    whole = bring(catalog, offer(scene(1)), "pool")
    bring(catalog, offer(scene(1).crop((20, 5, 236, 175))), "pool")
    small = scene(1).resize((180, 135))
    assert refusal(catalog, offer(small))[1].endswith(f"a copy of the image {whole}")
    with catalog.begin() as connection:
        membership.exclude(connection, whole, "ada")
    evaluated = bring(catalog, offer(scene(2)), "evaluation")
    waiting = offer(scene(3))
    bring(catalog, waiting)
    assert refusal(catalog, offer(scene(2).rotate(180))) == (
        "near_evaluation",
        f"expected a new photo, got a copy of the evaluation image {evaluated}",
    )


def test_a_source_that_contradicts_a_guess_is_heard_and_one_that_contradicts_a_person_is_not(catalog: Catalog) -> None:
    guessed, stated = offer(scene(1), AMANITA), offer(scene(2))
    with catalog.begin() as connection:
        add_predicted(connection, guessed.record)
        membership.harvest(connection, guessed.record.id, BOLETUS, 1)
    bring(catalog, guessed)
    found = state(catalog, guessed.record.id)
    assert (found.held_back, found.annotation, found.split) == ("waiting", AMANITA, None)
    bring(catalog, stated, "pool")
    with catalog.begin() as connection, pytest.raises(InvalidImageError) as refused:
        admit_from_source(connection, offer(scene(2), AMANITA), mirrored=True)
    assert refused.value.reason == "conflicting_label"


@pytest.mark.parametrize("origin", ["harvested", "stated"])
def test_a_person_who_is_refused_still_corrects_a_guess_and_nothing_else(catalog: Catalog, origin: str) -> None:
    """The photo is a guess in the pool, and its group stays there: so does it, under its right name."""
    accepted = offer(scene(1), AMANITA, group="walk 1")
    with catalog.begin() as connection:
        if origin == "stated":
            admit_from_source(connection, offer(scene(1), BOLETUS, group="walk 1"), mirrored=True)
        else:
            membership.enter(connection, [membership.Arrival(accepted.record, BOLETUS)], "pool", "folder")
            connection.exec_driver_sql("UPDATE training.items SET label_origin = 'harvested'")
    companion = offer(scene(2), group="walk 2")
    bring(catalog, companion, "pool" if origin == "harvested" else "evaluation")
    with catalog.begin() as connection:
        connection.exec_driver_sql(
            "UPDATE training.items SET group_key = 'walk 1', split = %s WHERE id = %s",
            ("pool" if origin == "harvested" else "evaluation", companion.record.id),
        )
    with catalog.begin() as connection:
        try:
            admit_from_person(connection, accepted, "evaluation" if origin == "harvested" else "pool", True, None)
        except InvalidImageError as error:
            assert error.reason == "group_in_other_split"
        else:
            pytest.fail("expected a refusal")
    found = state(catalog, accepted.record.id)
    assert (found.annotation, found.label_origin) == (
        (AMANITA, "curated") if origin == "harvested" else (BOLETUS, "stated")
    )
