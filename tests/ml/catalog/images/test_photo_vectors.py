"""Similar photos by pgvector: what is shown, what never is, and who may make the index."""

from collections.abc import Callable

import numpy as np
import pytest
import sqlalchemy as sa
from numpy.typing import NDArray

from ml.catalog.database import Catalog, migrate
from ml.catalog.images.batches import FileOutcome, add_batch, add_rights
from ml.catalog.images.photo_vectors import (
    count_vectors,
    find_similar_photos,
    find_unstored,
    index_vectors,
    save_vectors,
)
from ml.catalog.tables import accounts, images, items
from ml.catalog.vector_extension import find_extension
from ml.settings import Settings

BACKBONE = f"{'a' * 64}:1"
AddImages = Callable[..., list[str]]


def directions(count: int, dimensions: int = 8) -> dict[int, NDArray[np.float32]]:
    """Vectors that turn away from the first one, step by step."""
    angles = np.linspace(0, 1.5, count)
    return {
        place: np.float32([np.cos(angle), np.sin(angle), *np.zeros(dimensions - 2)])
        for place, angle in enumerate(angles)
    }


def store(catalog: Catalog, hashes: list[str], dimensions: int = 8) -> NDArray[np.float32]:
    """Give images vectors that are the less similar to the first the later they come. Return the first."""
    vectors = directions(len(hashes), dimensions)
    with catalog.begin() as connection:
        save_vectors(connection, BACKBONE, {sha256: vectors[place] for place, sha256 in enumerate(hashes)})
        index_vectors(connection, BACKBONE)
    return vectors[0]


def look_for(catalog: Catalog, vector: NDArray[np.float32], outside_group: str = "none") -> list[str]:
    with catalog.begin() as connection:
        found = find_similar_photos(connection, BACKBONE, vector, 6, outside_group)
    return [each.image_sha256 for each in found]


def test_the_most_similar_known_photos_come_first_with_species_and_credit(
    catalog: Catalog, add_images: AddImages
) -> None:
    hashes = [*add_images("chanterelle", 5), *add_images("deathcap", 5, origin="confirmed")]
    with catalog.begin() as connection:
        add_rights(connection, {hashes[0]: ("CC BY 4.0", "Ada")})
    vector = store(catalog, hashes)
    with catalog.begin() as connection:
        found = find_similar_photos(connection, BACKBONE, vector, 6, "none")
    assert [each.image_sha256 for each in found] == hashes[:6]
    assert [each.annotation.label for each in found] == ["chanterelle"] * 5 + ["deathcap"]
    assert [(each.licence, each.holder) for each in found[:2]] == [("CC BY 4.0", "Ada"), (None, None)]
    assert found[0].similarity == pytest.approx(1)
    assert [each.similarity for each in found] == sorted((each.similarity for each in found), reverse=True)


def test_no_uploads_evaluation_images_harvested_labels_or_photos_held_back_are_shown(
    catalog: Catalog, add_images: AddImages
) -> None:
    kinds = {
        "uploaded": add_images("a", 1, origin="confirmed"),
        "fetched": add_images("a", 1, origin="confirmed"),
        "sent and ingested later": add_images("a", 1),
        "evaluation": add_images("a", 1, split="evaluation", part="anchor"),
        "recent": add_images("a", 1, origin="confirmed", split="evaluation", part="recent"),
        "harvested": add_images("a", 1, origin="harvested"),
        "suspended": add_images("a", 1),
        "from a source without a licence": add_images("a", 1, origin="confirmed"),
    }
    known = add_images("a", 7)
    of_source = known[3]
    with catalog.begin() as connection:
        for kind, source in {"uploaded": "upload", "fetched": "url"}.items():
            connection.execute(sa.update(items).where(items.c.id == kinds[kind][0]).values(source=source))
        values = {"login": "ada", "password_hash": "none", "role": "user"}
        account_id = connection.execute(sa.insert(accounts).values(values).returning(accounts.c.id)).scalar_one()
        of_account = sa.update(images).where(images.c.sha256 == kinds["sent and ingested later"][0])
        connection.execute(of_account.values(account_id=account_id))
        file = FileOutcome("1.jpg", "1", "a", "waiting", item_id=kinds["from a source without a licence"][0])
        add_batch(connection, "source", [file], False, 0)
        add_batch(connection, "source", [FileOutcome("2.jpg", "1", "a", "waiting", item_id=of_source)], False, 0)
        add_rights(connection, {of_source: ("CC BY 4.0", "Ada")})
        held = sa.update(items).where(items.c.id == kinds["suspended"][0])
        connection.execute(held.values(held_back="suspended", entered_pool_at=None))
        assert set(find_unstored(connection, BACKBONE, 100)) == set(known)
    vector = store(catalog, [*(sha256 for of_kind in kinds.values() for sha256 in of_kind), *known])
    assert look_for(catalog, vector) == known[:6]


def test_filters_still_give_six_out_of_many(catalog: Catalog, add_images: AddImages) -> None:
    """With the index forced: 500 nearer photos that may not be shown stand before the first that may."""
    hidden = add_images("a", 500, origin="harvested")
    known = add_images("a", 20)
    vector = store(catalog, [*hidden, *known])
    with catalog.begin() as connection:
        for switch in ("enable_seqscan", "enable_sort", "enable_bitmapscan"):
            connection.execute(sa.text(f"SET LOCAL {switch} = off"))
        found = find_similar_photos(connection, BACKBONE, vector, 6, "none")
    assert [each.image_sha256 for each in found] == known[:6]


def test_a_group_is_shown_once_and_that_of_the_photo_itself_never(catalog: Catalog, add_images: AddImages) -> None:
    own, twice = add_images("a", 3, group="own"), add_images("a", 40, group="twice")
    others = add_images("a", 6)
    vector = store(catalog, [*own, *twice, *others])
    assert look_for(catalog, vector, outside_group="own") == [twice[0], *others[:5]]


@pytest.mark.parametrize(("dimensions", "kind"), [(1280, "vector(1280)"), (2048, "halfvec(2048)")])
def test_each_backbone_has_a_partial_index_of_its_own(
    catalog: Catalog, add_images: AddImages, dimensions: int, kind: str
) -> None:
    hashes = add_images("a", 12)
    vector = store(catalog, hashes, dimensions)
    listed = sa.text("SELECT indexdef FROM pg_indexes WHERE tablename = 'photo_vectors' AND indexdef LIKE '%hnsw%'")
    with catalog.begin() as connection:
        (definition,) = connection.scalars(listed)
        assert kind in definition
        assert BACKBONE in definition
        save_vectors(connection, f"{'b' * 64}:1", {hashes[0]: np.float32([1, 2])})
        index_vectors(connection, f"{'b' * 64}:1")
        assert len(connection.scalars(listed).all()) == 2
        connection.execute(sa.text("DELETE FROM training.photo_vectors WHERE backbone_id LIKE 'a%'"))
        index_vectors(connection, f"{'b' * 64}:1")
        assert len(connection.scalars(listed).all()) == 1
    store(catalog, hashes, dimensions)
    assert look_for(catalog, vector) == hashes[:6]


def test_the_training_role_makes_the_index_and_the_service_only_reads(catalog: Catalog, add_images: AddImages) -> None:
    hashes = add_images("a", 3)
    with catalog.begin() as connection:
        connection.execute(sa.text("SET LOCAL ROLE training"))
        save_vectors(connection, BACKBONE, {hashes[0]: np.float32([1, 2])})
        index_vectors(connection, BACKBONE)
    with catalog.begin() as connection:
        connection.execute(sa.text("SET LOCAL ROLE web"))
        assert count_vectors(connection, BACKBONE) == 1
        assert find_similar_photos(connection, BACKBONE, np.float32([1, 2]), 6, "none")[0].image_sha256 == hashes[0]
        may = sa.text("SELECT has_function_privilege('training.index_photo_vectors(text, integer)', 'EXECUTE')")
        assert connection.scalar(may) is False


def test_without_pgvector_nothing_is_found_and_nothing_fails(
    catalog: Catalog, settings: Settings, add_images: AddImages
) -> None:
    vector = store(catalog, add_images("a", 8))
    with catalog.begin() as connection:
        connection.execute(sa.text("DROP EXTENSION vector CASCADE"))
        assert find_extension(connection) is None
    assert look_for(catalog, vector) == []
    migrate(settings)
    with catalog.begin() as connection:  # as a release without iterative scan
        connection.execute(sa.text("UPDATE pg_extension SET extversion = '0.7.4' WHERE extname = 'vector'"))
        assert find_extension(connection) is None
        connection.execute(sa.text("UPDATE pg_extension SET extversion = '0.10.0' WHERE extname = 'vector'"))
        assert find_extension(connection) is not None
    assert len(look_for(catalog, vector)) == 6
