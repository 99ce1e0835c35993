"""Which known items have a copy of an image: hashes propose them, a comparison of aligned thumbnails decides.

Nothing is chained: a copy joins the group of one original, and an image that resembles only copies begins a group.
"""

import logging
from collections.abc import Collection, Sequence
from dataclasses import dataclass

import sqlalchemy as sa

from ml.catalog.database import Catalog
from ml.catalog.images.copy_index import (
    ImageStatistics,
    Proposal,
    find_same_image,
    find_unfindable,
    find_unindexed,
    index_image,
    load_statistics,
    propose_copies,
    save_statistics,
)
from ml.catalog.items.item_records import find_item_images
from ml.catalog.object_store import image_key
from ml.data.copies import copy_hashes
from ml.data.copies.compared import alike, evidence_of, sought_in_index, stored_hashes
from ml.data.image_statistics import measure
from ml.errors import ImageStoreError

_AT_ONCE = 200
# Of 1797 digits, as alike as photos come, a copy had at most 24 proposals nearer than itself.
MOST_PROPOSALS = 30

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class NearCopies:
    """The known items with a copy of one image, the surest first."""

    found: Sequence[Proposal] = ()

    def of_split(self, split: str) -> list[Proposal]:
        """Those in a split. What left the pool, since the evaluation set has a copy of it, is in none."""
        return [each for each in self.found if each.split == split and each.held_back != "copy"]

    def original_in(self, split: str | None) -> Proposal | None:
        """The one of a split whose group a copy joins there: it is no copy itself."""
        return next((each for each in self.found if each in self.of_split(split or "") and each.copy_of is None), None)


def find_near_copies(
    connection: sa.Connection, image_sha256: str, thumbnail: bytes | None, mirrored: bool, but: Collection[str] = ()
) -> NearCopies:
    """Find the copies of an image among those that belong somewhere, those taken out included.

    The very image is found whatever it shows, be it an even surface, and with whatever text.

    Args:
        thumbnail: of the image; None where it was never measured (`prepare_search` does that).
        mirrored: whether a mirror image is a copy: where models learn from mirrored views.
        but: ids of items that do not count, the image's own among them.
    """
    same = [each for each in find_same_image(connection, image_sha256) if each.item_id not in but]
    if thumbnail is None:
        return NearCopies(same)
    known = {*but, *(each.item_id for each in same)}
    judged = [each for each in _propose(connection, thumbnail) if each.item_id not in known]
    evidence = evidence_of(thumbnail, [each.thumbnail for each in judged], mirrored)
    sure = [(strength, each) for strength, each in zip(evidence, judged, strict=True) if strength >= 1]
    return NearCopies([*same, *(each for _, each in sorted(sure, key=lambda pair: -pair[0]))])


def copies_of(connection: sa.Connection, item_id: str, mirrored: bool) -> NearCopies:
    """Find the copies of an item's image; none if it has none. See `find_near_copies`."""
    image_sha256 = find_item_images(connection, [item_id]).get(item_id)
    if image_sha256 is None:
        return NearCopies()
    statistics = load_statistics(connection, [item_id]).get(item_id)
    thumbnail = None if statistics is None else statistics.thumbnail
    return find_near_copies(connection, image_sha256, thumbnail, mirrored, [item_id])


def compare_ahead(catalog: Catalog, thumbnails: Sequence[bytes], mirrored: bool) -> None:
    """Compare images with all that a search will propose, outside any transaction, so that the search compares nothing.

    Args: thumbnails, in the order in which they enter: each is compared with those before it, too.
    """
    for number, thumbnail in enumerate(thumbnails):
        stored_hashes(thumbnail)  # remembered, as is all that follows
        sought_in_index(thumbnail)
        with catalog.begin() as connection:
            proposed = [each.thumbnail for each in _propose(connection, thumbnail)]
        evidence_of(thumbnail, [*proposed, *alike(thumbnail, thumbnails[:number])], mirrored)


def prepare_search(catalog: Catalog, item_ids: Collection[str], mirrored: bool) -> None:
    """Do for stored items, outside any transaction, what `copies_of` needs: measure them, and compare them ahead.

    Args: item_ids, in the order in which they will be searched for and become members.
    Raises: ImageStoreError, the store cannot be read.
    """
    measure_images(catalog, item_ids)
    with catalog.begin() as connection:
        known = load_statistics(connection, item_ids)
    compare_ahead(catalog, [known[item_id].thumbnail for item_id in item_ids if item_id in known], mirrored)


def let_be_found(connection: sa.Connection, item_ids: Collection[str]) -> None:
    """Add the measured images of items to the index, so that a search finds their copies."""
    for sha256, thumbnail in find_unindexed(connection, item_ids).items():
        index_image(connection, sha256, stored_hashes(thumbnail))


def measure_images(catalog: Catalog, item_ids: Collection[str]) -> None:
    """Measure those images of some items that were not measured yet, outside any transaction.

    An image whose bytes are gone is left out: no copy of it is noticed until they are back.

    Raises: ImageStoreError, the store cannot be read.
    """
    with catalog.begin() as connection:
        known = load_statistics(connection, item_ids)
        unmeasured = find_item_images(connection, [item_id for item_id in item_ids if item_id not in known])
    found = {sha256: _measure(catalog, sha256) for sha256 in unmeasured.values()}
    gone = [sha256 for sha256, statistics in found.items() if statistics is None]
    if gone:
        logger.warning("%d images are not in the image store, so copies pass for new. First: %s", len(gone), gone[0])
    with catalog.begin() as connection:
        save_statistics(connection, {sha256: each for sha256, each in found.items() if each is not None})


def measure_all(catalog: Catalog) -> None:
    """Add the images of items that are in a split, waiting or taken out to the index. Measure them first if needed.

    Raises: ImageStoreError, the store cannot be read.
    """
    last = ""
    while True:
        with catalog.begin() as connection:
            unfindable = find_unfindable(connection, last, _AT_ONCE)
        if not unfindable:
            return
        measure_images(catalog, unfindable)
        with catalog.begin() as connection:
            thumbnails = find_unindexed(connection, unfindable)
        for thumbnail in thumbnails.values():
            stored_hashes(thumbnail)  # remembered
        with catalog.begin() as connection:
            let_be_found(connection, unfindable)
        last = unfindable[-1]


def _propose(connection: sa.Connection, thumbnail: bytes) -> list[Proposal]:
    """Those to compare with. The image itself may be among them."""
    return propose_copies(connection, sought_in_index(thumbnail), copy_hashes.MOST_BITS, MOST_PROPOSALS + 1)


def _measure(catalog: Catalog, sha256: str) -> ImageStatistics | None:
    """Measure a stored image; None where its bytes are gone."""
    try:
        content = catalog.store.get(image_key(sha256))
    except ImageStoreError:
        if catalog.store.exists(image_key(sha256)):
            raise
        return None
    return measure(content)
