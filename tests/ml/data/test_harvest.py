"""What may be harvested, how much of an account, and what is taken back."""

from collections.abc import Callable
from io import BytesIO
from typing import Any

import pytest
import sqlalchemy as sa

from ml.catalog.annotations import Annotation
from ml.catalog.database import Catalog
from ml.catalog.images.copy_index import ImageStatistics
from ml.catalog.items.image_records import ImageRecord
from ml.catalog.items.item_records import ItemRecord, add_predicted
from ml.catalog.object_store import image_key
from ml.catalog.tables import annotations, feedback, harvests, items, predictions, results
from ml.data import harvest as harvesting
from ml.data.copies.near_copies import measure_images
from ml.ingest.validation import sanitise
from tests.ml.data.copies.test_copy_comparison import scene

AddImages = Callable[..., list[str]]


@pytest.fixture
def accounts(catalog: Catalog) -> list[int]:
    """Two accounts, the older first."""
    statement = "INSERT INTO users.accounts (login, password_hash, role) VALUES (:login, 'x', 'user') RETURNING id"
    with catalog.begin() as connection:
        return [connection.execute(sa.text(statement), {"login": login}).scalar_one() for login in ("ada", "bob")]


@pytest.fixture
def judge(catalog: Catalog) -> Callable[[str, str], None]:
    """judge(image, verdict): somebody asked about an image that nobody knew, and said ok or nok to the answer."""

    def judged(sha256: str, verdict: str) -> None:
        with catalog.begin() as connection:
            add_predicted(connection, ItemRecord("upload", ImageRecord(sha256, "image/png", 32, 32, 100)))
            result = {"item_id": sha256, "model_version": 1, "probabilities": [1.0], "confidence": 1, "margin": 1}
            result_id = connection.execute(sa.insert(results).values(result).returning(results.c.id)).scalar_one()
            asked = sa.insert(predictions).values(result_id=result_id, is_cached=False).returning(predictions.c.id)
            prediction_id = connection.execute(asked).scalar_one()
            connection.execute(sa.insert(feedback).values(prediction_id=prediction_id, verdict=verdict))

    return judged


def is_harvestable(catalog: Catalog, sha256: str, account: int | None = None) -> bool:
    with catalog.begin() as connection:
        return harvesting.is_harvestable(connection, sha256, account)


def note_harvests(catalog: Catalog, sha256s: list[str], account: int) -> None:
    rows = [{"item_id": sha256, "account_id": account, "model_version": 1} for sha256 in sha256s]
    with catalog.begin() as connection:
        connection.execute(sa.insert(harvests), rows)


def say(catalog: Catalog, sha256: str, account: int) -> None:
    row = {"item_id": sha256, "class_names": ["a"], "origin": "confirmed", "said_by": f"account:{account}"}
    with catalog.begin() as connection:
        connection.execute(sa.insert(annotations), row)


def take_back(catalog: Catalog, account: int) -> set[str]:
    """The images that were taken out; as many as were told."""
    with catalog.begin() as connection:
        count = harvesting.take_back(connection, account, "ada")
        out = set(connection.scalars(sa.select(items.c.id).where(items.c.held_back == "suspended")))
    assert count == len(out)
    return out


@pytest.mark.parametrize("disputed", [0, 1, 2])
def test_a_dispute_keeps_out_the_image_that_it_is_about_and_no_other(
    catalog: Catalog, judge: Callable[[str, str], None], disputed: int
) -> None:
    names = ["b" * 64, "c" * 64, "a" * 64]
    for number, sha256 in enumerate(names):
        judge(sha256, "nok" if number == disputed else "ok")
    assert [is_harvestable(catalog, sha256) for sha256 in names] == [number != disputed for number in range(3)]


def test_an_account_has_fifty_images_harvested_a_day(
    catalog: Catalog, add_images: AddImages, accounts: list[int], judge: Callable[[str, str], None]
) -> None:
    judge("a" * 64, "ok")
    harvested = add_images("a", 51, "harvested")
    note_harvests(catalog, harvested[:49], accounts[0])
    assert is_harvestable(catalog, "a" * 64, accounts[0])
    for more in harvested[49:]:  # the fiftieth, and one that a larger limit let in
        note_harvests(catalog, [more], accounts[0])
        assert not is_harvestable(catalog, "a" * 64, accounts[0])
    assert is_harvestable(catalog, "a" * 64, accounts[1])


def test_an_image_whose_group_is_to_measure_with_is_not_harvested(catalog: Catalog, add_images: AddImages) -> None:
    add_images("a", 1, split="evaluation", part="anchor", group="one walk")
    taken = {}
    for seed, group in enumerate(("one walk", "another walk")):
        scene(seed).save(buffer := BytesIO(), "JPEG")
        image = sanitise(buffer.getvalue())
        catalog.store.put(image_key(image.sha256), image.content)
        stored = ImageRecord(image.sha256, image.media_type, image.width, image.height, 1)
        record = ItemRecord("upload", stored, group=group)
        with catalog.begin() as connection:
            add_predicted(connection, record)
        measure_images(catalog, [image.sha256])
        with catalog.begin() as connection:
            taken[group] = harvesting.harvest(connection, image.sha256, Annotation(("a",)), 1, None, True, shows_all)
    assert taken == {"one walk": False, "another walk": True}


def shows_all(_: ImageStatistics) -> bool:
    return True


@pytest.mark.parametrize("whose", [0, 1])
def test_what_was_harvested_from_an_account_is_taken_back_and_nothing_of_another(
    catalog: Catalog, add_images: AddImages, accounts: list[int], whose: int
) -> None:
    harvested = [add_images("a", 2, "harvested") for _ in accounts]
    for account, sha256s in zip(accounts, harvested, strict=True):
        note_harvests(catalog, sha256s, account)
    assert take_back(catalog, accounts[whose]) == set(harvested[whose])


@pytest.mark.parametrize("whose", [0, 1])
def test_what_an_account_said_last_is_taken_back_whoever_spoke_about_other_images(
    catalog: Catalog, add_images: AddImages, accounts: list[int], whose: int
) -> None:
    first, *_, last = sorted(add_images("a", 3, "confirmed"))
    said = {first: accounts[whose], last: accounts[1 - whose]}
    for sha256, account in said.items():
        say(catalog, sha256, account)
    assert take_back(catalog, accounts[whose]) == {first}
    with catalog.begin() as connection:
        assert harvesting.take_back(connection, accounts[1 - whose], "ada") == 1


def test_what_is_out_already_is_not_taken_back(catalog: Catalog, add_images: AddImages, accounts: list[int]) -> None:
    sha256s = add_images("a", 3, "harvested")
    note_harvests(catalog, sha256s, accounts[0])
    for sha256, reason in zip(sha256s, ("copy", "excluded"), strict=False):
        out: dict[str, Any] = {"held_back": reason, "entered_pool_at": None}
        with catalog.begin() as connection:
            connection.execute(sa.update(items).where(items.c.id == sha256).values(out))
    assert take_back(catalog, accounts[0]) == {sha256s[2]}
