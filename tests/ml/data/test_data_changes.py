"""What certifying, relabelling and excluding do to each kind of image."""

from collections.abc import Callable

import pytest
import sqlalchemy as sa

from ml.catalog.annotations import Annotation
from ml.catalog.database import Catalog
from ml.catalog.items.image_records import ImageRecord
from ml.catalog.items.item_records import ItemRecord, add_predicted
from ml.catalog.tables import annotations, events, items
from ml.data import pool
from ml.data.data_changes import AppliedChange, Change, apply_changes
from ml.data.evaluation_sets import current_evaluation_set
from ml.data.membership import read_states
from ml.errors import ImageChangeError, InvalidImageError, UnknownImageError
from ml.ingest.guard import Candidate, is_known_to_person

AddImages = Callable[..., list[str]]
ACTOR = "account:7"


def change(catalog: Catalog, *changes: Change) -> list[AppliedChange]:
    with catalog.begin() as connection:
        return apply_changes(connection, changes, ACTOR, mirrored=True)


def image(catalog: Catalog, sha256: str) -> sa.Row[tuple[object, ...]]:
    with catalog.begin() as connection:
        return connection.execute(
            sa.select(items, items.c.class_names[1].label("label")).where(items.c.id == sha256)
        ).one()


def label_history(catalog: Catalog, sha256: str) -> list[tuple[str, str, str]]:
    columns = (annotations.c.class_names[1], annotations.c.origin, annotations.c.said_by)
    query = sa.select(*columns).where(annotations.c.item_id == sha256).order_by(annotations.c.id)
    with catalog.begin() as connection:
        return [(row[0], row[1], row[2]) for row in connection.execute(query)]


def audit_log(catalog: Catalog, prefix: str = "data.") -> list[sa.Row[tuple[object, ...]]]:
    with catalog.begin() as connection:
        query = sa.select(events).where(events.c.kind.startswith(prefix)).order_by(events.c.id)
        return list(connection.execute(query))


def hold_back(catalog: Catalog, sha256: str, why: str) -> None:
    with catalog.begin() as connection:
        values = {"held_back": why, "entered_pool_at": None}
        connection.execute(sa.update(items).where(items.c.id == sha256).values(values))


def add_only_predicted(catalog: Catalog) -> str:
    sha256 = "ab" * 32
    with catalog.begin() as connection:
        add_predicted(connection, ItemRecord("upload", ImageRecord(sha256, "image/png", 8, 8, 100)))
    return sha256


@pytest.mark.parametrize("why", [None, "suspended"])
def test_a_harvested_label_is_certified_whether_it_is_in_doubt_or_not(
    catalog: Catalog, add_images: AddImages, why: str | None
) -> None:
    (sha256,) = add_images("amanita", 1, origin="harvested", group="in the pool")
    add_images("amanita", 1, group="in the pool")  # so that it stays on this side
    if why:
        hold_back(catalog, sha256, why)
    (changed,) = change(catalog, Change("certify", sha256))
    assert changed.is_changed
    assert (changed.before.label_origin, changed.before.held_back) == ("harvested", why)
    assert (changed.after.annotation, changed.after.label_origin, changed.after.held_back) == (
        Annotation(("amanita",)),
        "confirmed",
        None,
    )
    assert image(catalog, sha256).entered_pool_at is not None
    assert label_history(catalog, sha256) == [("amanita", "confirmed", ACTOR)]


@pytest.mark.parametrize("origin", ["curated", "confirmed"])
def test_a_label_that_is_a_persons_already_is_left_as_it_is(
    catalog: Catalog, add_images: AddImages, origin: str
) -> None:
    (sha256,) = add_images("amanita", 1, origin=origin)
    before = image(catalog, sha256)
    (changed,) = change(catalog, Change("certify", sha256))
    assert not changed.is_changed
    assert image(catalog, sha256) == before
    assert audit_log(catalog) == []


def test_a_new_label_is_confirmed_and_the_old_one_stays_in_history_and_audit_log(
    catalog: Catalog, add_images: AddImages
) -> None:
    (sha256,) = add_images("amanita", 1)
    change(
        catalog,
        Change("relabel", sha256, Annotation(("boletus",))),
        Change("relabel", sha256, Annotation(("russula",))),
    )
    assert (image(catalog, sha256).label, image(catalog, sha256).label_origin) == ("russula", "confirmed")
    assert label_history(catalog, sha256) == [("boletus", "confirmed", ACTOR), ("russula", "confirmed", ACTOR)]
    first, second = audit_log(catalog)
    assert (first.kind, first.actor, first.detail["image_sha256"]) == ("data.relabel", ACTOR, sha256)
    pool_state = {"split": "pool", "held_back": None}
    assert first.detail["before"] == {"label": "amanita", "label_origin": "curated", **pool_state}
    assert first.detail["after"] == {"label": "boletus", "label_origin": "confirmed", **pool_state}
    assert (second.detail["before"]["label"], second.detail["after"]["label"]) == ("boletus", "russula")


def test_a_relabelled_evaluation_image_stays_there_and_makes_a_new_version_of_the_set(
    catalog: Catalog, add_images: AddImages
) -> None:
    sha256, other = add_images("amanita", 2, split="evaluation", part="anchor")
    with catalog.begin() as connection:
        version, _ = current_evaluation_set(connection)
    change(catalog, Change("relabel", sha256, Annotation(("boletus",))))
    with catalog.begin() as connection:
        next_version, members = current_evaluation_set(connection)
    assert next_version != version
    assert {member.item_id: (member.annotation.label, member.part) for member in members} == {
        sha256: ("boletus", "anchor"),
        other: ("amanita", "anchor"),
    }
    assert image(catalog, sha256).entered_pool_at is None


def test_an_excluded_image_is_in_neither_pool_nor_evaluation_set_until_it_is_certified(
    catalog: Catalog, add_images: AddImages
) -> None:
    (in_pool,) = add_images("amanita", 1)
    evaluated, other = add_images("amanita", 2, split="evaluation", part="recent")
    change(catalog, Change("exclude", in_pool), Change("exclude", evaluated))
    with catalog.begin() as connection:
        assert pool.newest_labelled(connection, 10) == []
        assert [member.item_id for member in current_evaluation_set(connection)[1]] == [other]
    assert [each.detail["after"]["held_back"] for each in audit_log(catalog)] == ["excluded", "excluded"]
    assert not change(catalog, Change("exclude", in_pool))[0].is_changed

    change(catalog, Change("certify", in_pool), Change("relabel", evaluated, Annotation(("boletus",))))
    with catalog.begin() as connection:
        assert [each.item_id for each in pool.newest_labelled(connection, 10)] == [in_pool]
        members = current_evaluation_set(connection)[1]
    assert {(member.item_id, member.annotation.label, member.part) for member in members} == {
        (evaluated, "boletus", "recent"),
        (other, "amanita", "recent"),
    }


def test_an_excluded_image_does_not_come_back_with_an_ingestion(catalog: Catalog) -> None:
    sha256 = add_only_predicted(catalog)
    change(catalog, Change("exclude", sha256))
    candidate = Candidate(sha256, Annotation(("amanita",)), None)
    with catalog.begin() as connection, pytest.raises(InvalidImageError) as refusal:
        is_known_to_person(candidate, read_states(connection, [sha256])[sha256], "pool")
    assert refusal.value.reason == "excluded"


def test_an_image_without_a_label_can_be_relabelled_but_not_certified(catalog: Catalog) -> None:
    sha256 = add_only_predicted(catalog)
    with pytest.raises(ImageChangeError, match="Relabel it"):
        change(catalog, Change("certify", sha256))
    assert change(catalog, Change("relabel", sha256, Annotation(("amanita",))))[0].after.label_origin == "confirmed"


def test_nothing_is_changed_when_one_image_is_unknown(catalog: Catalog, add_images: AddImages) -> None:
    (sha256,) = add_images("amanita", 1)
    unknown = "0" * 64
    with pytest.raises(UnknownImageError, match=unknown):
        change(catalog, Change("relabel", sha256, Annotation(("boletus",))), Change("exclude", unknown))
    assert image(catalog, sha256).label == "amanita"
    assert (label_history(catalog, sha256), audit_log(catalog, "")) == ([], [])


@pytest.mark.parametrize("spelling", ["AMANITA", "amanita_", " Amanita", "ama\u200dnita", "\uff41manita"], ids=ascii)
def test_a_relabel_takes_the_spelling_that_other_items_have(
    catalog: Catalog, add_images: AddImages, spelling: str
) -> None:
    add_images("amanita", 2)
    (boletus, *_) = add_images("boletus", 2)
    (changed,) = change(catalog, Change("relabel", boletus, Annotation((spelling,))))
    assert changed.after.annotation == Annotation(("amanita",))
    (new,) = change(catalog, Change("relabel", boletus, Annotation(("Russula",))))
    assert new.after.annotation == Annotation(("Russula",))


def test_relabelling_a_whole_class_changes_its_spelling(catalog: Catalog, add_images: AddImages) -> None:
    ids = add_images("amanita", 3)
    some = [Change("relabel", each, Annotation(("Amanita",))) for each in ids[:2]]
    assert {each.after.annotation for each in change(catalog, *some)} == {Annotation(("amanita",))}
    all_of_them = [*some, Change("relabel", ids[2], Annotation(("Amanita",)))]
    assert {each.after.annotation for each in change(catalog, *all_of_them)} == {Annotation(("Amanita",))}
