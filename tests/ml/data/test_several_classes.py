"""Items that show several classes, from their entry to a snapshot, the evaluation set and the counts."""

from collections import Counter
from collections.abc import Callable

import pytest
import sqlalchemy as sa

from ml.catalog.annotations import Annotation
from ml.catalog.database import Catalog
from ml.catalog.images.image_queries import ImageFilter, query_images
from ml.catalog.images.label_origins import NewImages
from ml.catalog.snapshots.stored_snapshots import Snapshot, load_snapshot
from ml.catalog.tables import items
from ml.data import membership, pool
from ml.data.class_sampling import rarest_class, take_evenly
from ml.data.copies.near_copies import NearCopies
from ml.data.evaluation_sets import current_evaluation_set, load_evaluation_set
from ml.data.feedback import Opinion, is_known_label, known_labels
from ml.data.new_classes import NEW_CLASS_EVALUATION_IMAGES, large_classes
from ml.data.selection import Selection, SnapshotRules, select_items
from ml.data.snapshot_rules import count_new_images, create_snapshot

AddImages = Callable[..., list[str]]
BOTH = ("cat", "dog")


def rules(mode: str = "newest", size: int = 1000) -> SnapshotRules:
    return SnapshotRules(size, 0.2, 0.3, Selection(mode))  # type: ignore[arg-type]


def snap(catalog: Catalog, wanted: SnapshotRules, champion: list[str] | None = None) -> Snapshot:
    with catalog.begin() as connection:
        return load_snapshot(connection, create_snapshot(connection, wanted, champion))


@pytest.fixture
def animals(catalog: Catalog, add_images: AddImages) -> dict[str, set[str]]:
    """60 cats, 40 pictures of a cat and a dog, 30 dogs."""
    return {
        "cat": set(add_images("cat", 60)),
        "both": set(add_images(BOTH, 40)),
        "dog": set(add_images("dog", 30)),
    }


def test_an_item_counts_for_each_class_that_it_shows_once(
    catalog: Catalog, add_images: AddImages, animals: dict[str, set[str]]
) -> None:
    add_images(("dog", "dog", "fox"), 1)
    with catalog.begin() as connection:
        assert pool.count_by_class(connection) == {"cat": 100, "dog": 71, "fox": 1}
        assert known_labels(connection) == {"cat", "dog", "fox"}
        assert is_known_label(connection, "fox") and not is_known_label(connection, "owl")
        assert large_classes(connection) == {"cat", "dog"}
        assert large_classes(connection, ["dog", "fox"]) == {"dog"}


def test_a_page_of_a_class_has_the_items_that_show_it_once(
    catalog: Catalog, add_images: AddImages, animals: dict[str, set[str]]
) -> None:
    twice = add_images(("dog", "dog"), 1)
    with catalog.begin() as connection:
        page = query_images(connection, ImageFilter(class_name="dog"), 500)
        rest = query_images(connection, ImageFilter(class_name="dog"), 60)
        last = query_images(connection, ImageFilter(class_name="dog"), 60, rest.next_cursor)
    assert {each.id for each in page.items} == animals["both"] | animals["dog"] | set(twice)
    assert len(page.items) == 71
    assert [each.id for each in [*rest.items, *last.items]] == [each.id for each in page.items]
    assert {each.annotation.label for each in page.items if each.annotation} == {"cat, dog", "dog", "dog, dog"}


def test_a_snapshot_holds_an_item_of_two_classes_once_with_both(catalog: Catalog, animals: dict[str, set[str]]) -> None:
    taken = snap(catalog, rules())
    assert taken.classes == BOTH
    assert {item.item_id for item in taken.items} == animals["cat"] | animals["both"] | animals["dog"]
    assert {item.item_id for item in taken.items if item.annotation == Annotation(BOTH)} == animals["both"]
    for name in BOTH:
        folds = Counter(item.fold for item in taken.items if name in item.annotation.class_names)
        assert folds["validation"] / folds.total() == pytest.approx(0.2, abs=0.05)


def test_a_balanced_snapshot_counts_an_item_for_the_rarest_of_its_classes(
    catalog: Catalog, animals: dict[str, set[str]]
) -> None:
    taken = snap(catalog, rules("balanced", size=120))
    # Dogs are rarer: the newest 60 that count for them are all dogs alone and the newest of both.
    counts = Counter(item.annotation.class_names for item in taken.items)
    assert counts == {("cat",): 60, ("dog",): 30, BOTH: 30}


def test_an_item_that_names_a_class_twice_is_taken_and_counted_once(catalog: Catalog, add_images: AddImages) -> None:
    for name in BOTH:
        add_images(name, 20)
        add_images((name, name), 10)
        add_images((name, name), 20, origin="harvested")
    for mode in ("newest", "balanced"):
        taken = snap(catalog, rules(mode, size=100)).items
        assert len({item.item_id for item in taken}) == len(taken)
        of_people = Counter(set(item.annotation.class_names).pop() for item in taken if item.label_origin == "curated")
        of_models = Counter(set(item.annotation.class_names).pop() for item in taken if item.label_origin != "curated")
        assert of_people == dict.fromkeys(BOTH, 30)
        assert of_models == dict.fromkeys(BOTH, 12)  # of 42: a share of 0.3 at most


def test_harvested_items_take_the_share_of_the_rarest_of_their_classes(catalog: Catalog, add_images: AddImages) -> None:
    for name in BOTH:
        add_images(name, 70 if name == "cat" else 35)
    add_images(BOTH, 100, origin="harvested")
    with catalog.begin() as connection:
        taken = select_items(connection, rules(), list(BOTH)).items
    assert Counter(item.label_origin for item in taken) == {"curated": 105, "harvested": 15}  # 15 of 50 dogs


def test_an_item_with_an_unknown_class_waits_for_it(catalog: Catalog, add_images: AddImages) -> None:
    for name in BOTH:
        add_images(name, 30)
    with_fox = set(add_images(("dog", "fox"), 5))
    taken = snap(catalog, rules(), list(BOTH))
    assert not with_fox & {item.item_id for item in taken.items}
    assert taken.classes == BOTH


def test_new_items_count_once_where_a_snapshot_can_use_all_that_they_show(
    catalog: Catalog, add_images: AddImages
) -> None:
    for name in BOTH:
        add_images(name, 30)
    cutoff = snap(catalog, rules()).cutoff
    add_images(BOTH, 7)
    add_images(("dog", "fox"), 5)
    with catalog.begin() as connection:
        assert count_new_images(connection, cutoff, rules(), list(BOTH)) == NewImages(7, 0)
        add_images(("dog", "fox"), 45)  # enough foxes to become a class
    with catalog.begin() as connection:
        assert count_new_images(connection, cutoff, rules(), list(BOTH)) == NewImages(57, 0)


def test_a_class_that_never_comes_alone_is_admitted_and_held_out(catalog: Catalog, add_images: AddImages) -> None:
    for name in BOTH:
        add_images(name, 30)
        add_images(name, 15, split="evaluation", part="anchor")
    foxes = set(add_images(("dog", "fox"), 60))
    taken = snap(catalog, rules(), list(BOTH))
    assert taken.classes == ("cat", "dog", "fox")
    with catalog.begin() as connection:
        version, members = current_evaluation_set(connection)
        assert load_evaluation_set(connection, version) == members
    held_out = {member.item_id for member in members if "fox" in member.annotation.class_names}
    assert len(held_out) >= NEW_CLASS_EVALUATION_IMAGES
    assert held_out < foxes
    assert {item.item_id for item in taken.items if "fox" in item.annotation.class_names} == foxes - held_out


def test_another_annotation_of_the_same_classes_makes_another_version_of_the_set(
    catalog: Catalog, add_images: AddImages
) -> None:
    add_images(BOTH, 3, split="evaluation", part="anchor")
    versions = []
    for detail in (None, {"boxes": [[1, 2, 3, 4]]}, {"boxes": [[1, 2, 3, 5]]}, {"boxes": [[1, 2, 3, 4]]}):
        with catalog.begin() as connection:
            connection.execute(sa.update(items).values(annotation=detail))
            versions.append(current_evaluation_set(connection)[0])
    first, second, third, again = versions
    assert len({first, second, third}) == 3
    assert again == second


def test_people_and_models_say_several_classes(catalog: Catalog, add_images: AddImages) -> None:
    (guess,) = add_images(BOTH, 1, origin="harvested", group="walk 7")
    with catalog.begin() as connection:
        said = Annotation(("cat", "fox"), {"why": "ears"})
        assert membership.confirm(connection, guess, said, "account:1", mirrored=True)
        assert not membership.confirm(connection, guess, said, "account:1", mirrored=True)
        assert membership.confirm(connection, guess, Annotation(("cat", "fox")), "account:1", mirrored=True)
        state = membership.read_states(connection, [guess])[guess]
        obstacles = membership.find_obstacles(connection, "pool", guess, "walk 7", NearCopies())
    assert (state.annotation, state.label_origin) == (Annotation(("cat", "fox")), "confirmed")
    assert obstacles.blocking == []


@pytest.mark.parametrize(
    ("opinion", "contradicts"),
    [
        (Opinion("ok", "cat", None), False),
        (Opinion("ok", "fox", None), True),
        (Opinion("nok", "dog", None), True),
        (Opinion("nok", "fox", None), False),
        (Opinion("nok", "fox", Annotation(("dog",))), False),
        (Opinion("nok", "cat", Annotation(("dog",))), True),
        (Opinion("nok", "cat", Annotation(BOTH)), False),
        (Opinion("nok", "cat", Annotation(("dog", "fox"))), True),
    ],
)
def test_an_opinion_contradicts_what_does_not_have_its_name(opinion: Opinion, contradicts: bool) -> None:
    assert opinion.contradicts(Annotation(BOTH)) is contradicts


def test_what_is_taken_evenly_has_turns_by_the_rarest_class(catalog: Catalog, animals: dict[str, set[str]]) -> None:
    taken = take_evenly(snap(catalog, rules()).items, 20)
    assert Counter(rarest_class(item.annotation, {"cat": 100, "dog": 70}) for item in taken) == {"cat": 10, "dog": 10}
