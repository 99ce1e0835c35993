"""The index finds exactly what its rule says; copies are grouped, and nothing is chained."""

import random
from collections.abc import Callable
from io import BytesIO

import pytest
import sqlalchemy as sa
from PIL import Image

from ml.catalog.annotations import Annotation
from ml.catalog.database import Catalog
from ml.catalog.images.copy_index import (
    ImageStatistics,
    IndexedHash,
    index_image,
    propose_copies,
    save_statistics,
)
from ml.catalog.items.image_records import ImageRecord
from ml.catalog.items.item_records import ItemRecord, add_predicted
from ml.catalog.object_store import image_key
from ml.catalog.tables import image_statistics, images
from ml.data.copies.near_copies import copies_of, index_items, measure_all, measure_images
from ml.data.membership import Arrival, enter
from tests.ml.data.copies.test_copy_comparison import scene

AddImages = Callable[..., list[str]]


def hash_of(kind: int, bits: int) -> IndexedHash:
    return IndexedHash(kind, bits, bits >> 47, bits >> 31 & 0xFFFF)


def is_near(first: IndexedHash, second: IndexedHash) -> bool:
    words = (first.low_word ^ second.low_word, first.high_word ^ second.high_word)
    return min(word.bit_count() for word in words) <= 1 and (first.bits ^ second.bits).bit_count() <= 14


def test_the_search_finds_exactly_what_is_near(catalog: Catalog, add_images: AddImages) -> None:
    draw = random.Random(0)
    base = draw.getrandbits(63)
    hashes = {}
    for sha256 in add_images("boletus", 300):
        turned = sum({1 << draw.randrange(63) for _ in range(draw.randrange(22))})
        hashes[sha256] = hash_of(draw.randrange(3), base ^ turned)
    with catalog.begin() as connection:
        for sha256, stored in hashes.items():
            save_statistics(connection, {sha256: ImageStatistics(bytes(1024), 0, 0, 0, 1)})
            index_image(connection, sha256, [stored])
        sought = hash_of(0, base)
        for kind in range(3):
            found = {each.item_id for each in propose_copies(connection, [(kind, sought)], 14, 1000)}
            assert found == {key for key, each in hashes.items() if each.kind == kind and is_near(sought, each)}
            assert found
        nearest = propose_copies(connection, [(0, sought)], 14, 5)
    distances = [(hashes[each.item_id].bits ^ base).bit_count() for each in nearest]
    assert distances == sorted(distances)


@pytest.fixture
def keep(catalog: Catalog) -> Callable[[Image.Image], str]:
    """keep(picture) -> the hash of an image that is stored, only predicted so far."""

    def kept(picture: Image.Image) -> str:
        buffer = BytesIO()
        picture.save(buffer, "PNG")
        content = buffer.getvalue()
        sha256 = f"{random.Random(content).getrandbits(256):064x}"
        catalog.store.put(image_key(sha256), content)
        with catalog.begin() as connection:
            add_predicted(connection, ItemRecord("test", ImageRecord(sha256, "image/png", *picture.size, len(content))))
        return sha256

    return kept


def enter_pool(catalog: Catalog, sha256: str) -> None:
    with catalog.begin() as connection:
        row = connection.execute(sa.select(images).where(images.c.sha256 == sha256)).one()
        record = ImageRecord(*(getattr(row, name) for name in ImageRecord.__dataclass_fields__))
        enter(connection, [Arrival(ItemRecord("test", record), Annotation(("boletus",)))], "pool", "test")


def test_images_are_measured_once_and_found_once_they_belong_somewhere(
    catalog: Catalog, keep: Callable[[Image.Image], str]
) -> None:
    original, copy, predicted = keep(scene(1)), keep(scene(1).resize((120, 90))), keep(scene(1).rotate(90, expand=True))
    measure_images(catalog, [original, copy, predicted])
    enter_pool(catalog, original)
    with catalog.begin() as connection:
        assert [each.item_id for each in copies_of(connection, copy, mirrored=True).found] == [original]
        assert copies_of(connection, original, mirrored=True).found == []  # the others are only predicted
        index_items(connection, [original])
    measure_all(catalog)
    with catalog.begin() as connection:
        assert connection.scalar(sa.select(sa.func.count()).select_from(image_statistics)) == 3
        assert [each.item_id for each in copies_of(connection, copy, mirrored=True).found] == [original]


def test_what_was_never_measured_is_found_after_measuring_all(
    catalog: Catalog, keep: Callable[[Image.Image], str]
) -> None:
    original, copy = keep(scene(1)), keep(scene(1).crop((12, 0, 240, 180)))
    enter_pool(catalog, original)
    measure_images(catalog, [copy])
    with catalog.begin() as connection:
        assert copies_of(connection, copy, mirrored=True).found == []
    measure_all(catalog)
    with catalog.begin() as connection:
        assert [each.item_id for each in copies_of(connection, copy, mirrored=True).found] == [original]
