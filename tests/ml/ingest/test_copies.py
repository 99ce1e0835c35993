"""Near copies and guesses, when a person brings images: taken, told and grouped, or refused where they would cross."""

from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from PIL import Image, ImageOps

from ml.catalog.annotations import Annotation
from ml.catalog.database import Catalog
from ml.catalog.images.copy_index import ImageStatistics
from ml.catalog.items.item_records import ItemRecord, Split, add_predicted
from ml.catalog.object_store import image_key
from ml.catalog.tables import annotations, items
from ml.data import harvest as harvesting
from ml.data import membership
from ml.data.copies.near_copies import measure_images
from ml.data.snapshot_rules import SnapshotRules, create_snapshot
from ml.ingest.folder import ingest_folder
from ml.ingest.validation import sanitise
from tests.ml.data.copies.test_copy_comparison import scene

Put = Callable[..., Path]
COPIES: dict[str, Callable[[Image.Image], Image.Image]] = {
    "the same": lambda image: image,
    "smaller": lambda image: image.resize((130, 97)),
    "turned": lambda image: image.rotate(90, expand=True),
    "mirrored": ImageOps.mirror,
    "cut": lambda image: image.crop((20, 5, 236, 175)),
}


@pytest.fixture
def put(tmp_path: Path) -> Put:
    """put(folder, label, name, picture) -> the folder, with this JPEG in it."""

    def written(folder: str, label: str, name: str, picture: Image.Image) -> Path:
        path = tmp_path / folder / label / f"{name}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        picture.save(path, quality=88)
        return tmp_path / folder

    return written


def rows(catalog: Catalog) -> list[Any]:
    with catalog.begin() as connection:
        return list(
            connection.execute(
                sa.select(items, items.c.class_names[1].label("label")).order_by(items.c.received_at, items.c.id)
            )
        )


def harvest(
    catalog: Catalog, picture: Image.Image, label: str = "wrong", account: int | None = None
) -> tuple[str, bool]:
    """Somebody asked about a picture, and the model was sure. Its hash, and whether it is in the pool now."""
    buffer = BytesIO()
    picture.save(buffer, "JPEG", quality=88)
    image = sanitise(buffer.getvalue())
    catalog.store.put(image_key(image.sha256), image.content)
    record = ItemRecord("upload", image.record)
    with catalog.begin() as connection:
        add_predicted(connection, record)
    measure_images(catalog, [image.sha256])
    with catalog.begin() as connection:
        taken = harvesting.harvest(connection, image.sha256, Annotation((label,)), 1, account, True, shows_all)
    return image.sha256, taken


def shows_all(_: ImageStatistics) -> bool:
    return True


@pytest.mark.parametrize("kind", [kind for kind in COPIES if kind != "the same"])
def test_a_persons_copy_is_taken_told_and_grouped(catalog: Catalog, put: Put, kind: str) -> None:
    ingest_folder(catalog, put("first", "a", "original", scene(1)), "pool")
    report = ingest_folder(catalog, put("second", "a", "copy", COPIES[kind](scene(1))), "pool")
    original, copy = rows(catalog)
    assert (report.accepted, report.rejected) == (1, {})
    assert [(Path(found.path).name, found.original_id) for found in report.copies] == [("copy.jpg", original.id)]
    assert (copy.group_key, copy.copy_of, copy.split) == (original.id, original.id, "pool")
    again = ingest_folder(catalog, put("second", "a", "copy", COPIES[kind](scene(1))), "pool")
    assert (again.accepted, again.duplicates, again.rejected) == (0, 1, {})


@pytest.mark.parametrize(("first", "second"), [("pool", "evaluation"), ("evaluation", "pool")])
@pytest.mark.parametrize("kind", [kind for kind in COPIES if kind != "the same"])
def test_a_copy_does_not_cross(catalog: Catalog, put: Put, kind: str, first: Split, second: Split) -> None:
    ingest_folder(catalog, put("first", "a", "original", scene(1)), first)
    folder = put("second", "a", "copy", COPIES[kind](scene(1)))
    report = ingest_folder(catalog, put("second", "a", "new", scene(2)), second)
    assert (report.accepted, report.rejected) == (1, {"copy_in_other_split": 1})
    assert folder.exists() and len(rows(catalog)) == 2


def test_a_mirror_image_is_another_photo_where_left_and_right_differ(catalog: Catalog, put: Put) -> None:
    ingest_folder(catalog, put("first", "a", "original", scene(1)), "pool")
    folder = put("second", "a", "copy", ImageOps.mirror(scene(1)))
    assert ingest_folder(catalog, folder, "evaluation", mirrored=False).accepted == 1


def test_copies_in_one_folder_are_one_group_and_nothing_is_chained(catalog: Catalog, put: Put) -> None:
    put("first", "a", "1", scene(1))
    put("first", "a", "2", scene(1).rotate(180))
    ingest_folder(catalog, put("first", "a", "3", scene(1).resize((100, 75))), "pool")
    assert len({row.group_key for row in rows(catalog)}) == 1
    assert sum(row.copy_of is None for row in rows(catalog)) == 1


def test_faint_dark_and_soft_images_are_taken_from_a_person(catalog: Catalog, put: Put) -> None:
    put("first", "a", "dark", Image.new("RGB", (64, 64), (3, 3, 3)))
    put("first", "a", "white", Image.new("RGB", (64, 64), "white"))
    report = ingest_folder(catalog, put("first", "a", "grey", Image.new("RGB", (64, 64), "grey")), "pool")
    assert (report.accepted, report.copies, report.rejected) == (3, [], {})


@pytest.mark.parametrize("split", ["pool", "evaluation"])
@pytest.mark.parametrize("label", ["right", "wrong"])
def test_a_persons_label_replaces_a_models_across_splits(catalog: Catalog, put: Put, split: Split, label: str) -> None:
    sha256, taken = harvest(catalog, scene(1), label)
    assert taken
    report = ingest_folder(catalog, put("mine", "right", "photo", scene(1)), split)
    (image,) = rows(catalog)
    assert (report.accepted, report.rejected) == (1, {})
    assert (image.id, image.split, image.label, image.label_origin) == (sha256, split, "right", "curated")
    with catalog.begin() as connection:
        origins = connection.scalars(sa.select(annotations.c.origin).order_by(annotations.c.id)).all()
    assert origins == ["harvested", "curated"]


@pytest.mark.parametrize("kind", [kind for kind in COPIES if kind != "the same"])
def test_a_harvested_copy_leaves_the_pool_for_a_persons_image_to_measure_with(
    catalog: Catalog, put: Put, kind: str
) -> None:
    sha256, _ = harvest(catalog, COPIES[kind](scene(1)))
    assert ingest_folder(catalog, put("mine", "a", "photo", scene(1)), "evaluation").accepted == 1
    guess = next(row for row in rows(catalog) if row.id == sha256)
    assert (guess.held_back, guess.entered_pool_at) == ("copy", None)


def test_what_a_model_has_learned_from_is_never_measured_with_but_gets_the_persons_label(
    catalog: Catalog, put: Put, add_images: Callable[..., list[str]]
) -> None:
    guesses = [harvest(catalog, scene(seed), "a")[0] for seed in range(4)]
    for label in ("a", "b"):
        add_images(label, 20)
    with catalog.begin() as connection:
        create_snapshot(connection, SnapshotRules(100, 0.20, 0.30), None)
        learned = set(connection.scalars(sa.text("SELECT item_id FROM training.snapshot_items")))
    assert learned & set(guesses)
    for seed, sha256 in enumerate(guesses):
        report = ingest_folder(catalog, put(f"mine {seed}", "b", "photo", scene(seed)), "evaluation")
        image = next(row for row in rows(catalog) if row.id == sha256)
        assert (image.label, image.label_origin) == ("b", "curated")
        assert image.split == ("pool" if sha256 in learned else "evaluation")
        assert report.rejected == ({"in_other_split": 1} if sha256 in learned else {})


def test_a_confirmed_copy_of_an_image_to_measure_with_goes_there_too(catalog: Catalog, put: Put) -> None:
    ingest_folder(catalog, put("first", "a", "original", scene(1)), "evaluation")
    sha256, taken = harvest(catalog, COPIES["turned"](scene(1)))
    assert not taken
    with catalog.begin() as connection:
        assert membership.confirm(connection, sha256, Annotation(("a",)), "account:7", mirrored=True)
    original, copy = rows(catalog)
    assert (copy.split, copy.evaluation_part, copy.group_key) == ("evaluation", "recent", original.group_key)


@pytest.mark.parametrize("kind", COPIES)
@pytest.mark.parametrize("split", ["pool", "evaluation"])
def test_harvest_takes_a_photo_once(catalog: Catalog, put: Put, kind: str, split: Split) -> None:
    ingest_folder(catalog, put("first", "a", "original", scene(1)), split)
    assert harvest(catalog, COPIES[kind](scene(1)))[1] is False
    assert harvest(catalog, scene(2))[1] is True
    assert harvest(catalog, COPIES[kind](scene(2)))[1] is False


def test_harvest_takes_a_bounded_number_of_an_account_and_day(
    catalog: Catalog, monkeypatch: pytest.MonkeyPatch, accounts: list[int]
) -> None:
    monkeypatch.setattr(harvesting, "HARVESTED_PER_DAY", 3)
    first, second = accounts
    assert [harvest(catalog, scene(seed), account=first)[1] for seed in range(4)] == [True, True, True, False]
    assert harvest(catalog, scene(9), account=second)[1] is True
    with catalog.begin() as connection:
        connection.execute(sa.text("UPDATE training.harvests SET harvested_at = harvested_at - interval '25 hours'"))
    assert harvest(catalog, scene(8), account=first)[1] is True


def test_all_of_an_account_is_taken_back_at_once(catalog: Catalog, accounts: list[int]) -> None:
    first, second = accounts
    theirs = {harvest(catalog, scene(seed), account=first)[0] for seed in range(3)}
    other, _ = harvest(catalog, scene(9), account=second)
    named, _ = harvest(catalog, scene(8), account=second)
    corrected = min(theirs)
    with catalog.begin() as connection:
        membership.confirm(connection, named, Annotation(("a",)), f"account:{first}", mirrored=True)
        membership.confirm(connection, corrected, Annotation(("a",)), f"account:{second}", mirrored=True)
        assert harvesting.take_back(connection, first, "ada") == 3
        assert harvesting.take_back(connection, first, "ada") == 0
    out = {row.id for row in rows(catalog) if row.held_back == "suspended"}
    assert out == (theirs - {corrected}) | {named}
    assert next(row for row in rows(catalog) if row.id == other).held_back is None


@pytest.fixture
def accounts(catalog: Catalog) -> list[int]:
    statement = "INSERT INTO users.accounts (login, password_hash, role) VALUES (:login, 'x', 'user') RETURNING id"
    with catalog.begin() as connection:
        return [connection.execute(sa.text(statement), {"login": login}).scalar_one() for login in ("ada", "bob")]
