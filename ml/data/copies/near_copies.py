"""Find the known items with a copy of an image. Hashes propose items, and a comparison of aligned thumbnails decides.

Copies are not chained: a copy joins the group of one original, and an image that resembles only copies starts a group.
"""

import logging
from collections.abc import Collection, Sequence
from dataclasses import dataclass

import sqlalchemy as sa

from ml.catalog.database import Catalog
from ml.catalog.images.copy_index import (
    ImageStatistics,
    Proposal,
    find_items_without_hashes,
    find_same_image,
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
from ml.data.copies.image_statistics import measure
from ml.errors import ImageStoreError

_AT_ONCE = 200
# Among 1797 digits, which are the most similar images, at most 24 proposals were nearer than the copy.
MOST_PROPOSALS = 30

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class NearCopies:
    """The known items with a copy of one image, strongest evidence first."""

    found: Sequence[Proposal] = ()

    def of_split(self, split: str) -> list[Proposal]:
        """Return the items in a split. An item that left the pool as a copy counts as in no split."""
        return [each for each in self.found if each.split == split and each.held_back != "copy"]

    def original_in(self, split: str | None) -> Proposal | None:
        """Return the item of a split whose group a copy joins there, which is not a copy itself, or None."""
        return next((each for each in self.found if each in self.of_split(split or "") and each.copy_of is None), None)


def find_near_copies(
    connection: sa.Connection, image_sha256: str, thumbnail: bytes | None, mirrored: bool, but: Collection[str] = ()
) -> NearCopies:
    """Find the copies of an image among the items that have a split or are held back.

    Items with the identical image are always found, even if it is a plain surface, and with any text.

    Args:
        thumbnail: of the image; None without image statistics (`prepare_search` computes them).
        mirrored: whether a mirror image is a copy. This is so if models are trained on mirrored views.
        but: ids of items to leave out, such as the image's own items.
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
    """Find the copies of an item's image, none without an image; see `find_near_copies`."""
    image_sha256 = find_item_images(connection, [item_id]).get(item_id)
    if image_sha256 is None:
        return NearCopies()
    statistics = load_statistics(connection, [item_id]).get(item_id)
    thumbnail = None if statistics is None else statistics.thumbnail
    return find_near_copies(connection, image_sha256, thumbnail, mirrored, [item_id])


def compare_ahead(catalog: Catalog, thumbnails: Sequence[bytes], mirrored: bool) -> None:
    """Compare images with all images that a search will propose, before its transaction, so that its cache has them.

    Args: thumbnails, in the order in which the items enter: each is also compared with those before it.
    """
    for number, thumbnail in enumerate(thumbnails):
        stored_hashes(thumbnail)  # only fills the cache, as do the calls below
        sought_in_index(thumbnail)
        with catalog.begin() as connection:
            proposed = [each.thumbnail for each in _propose(connection, thumbnail)]
        evidence_of(thumbnail, [*proposed, *alike(thumbnail, thumbnails[:number])], mirrored)


def prepare_search(catalog: Catalog, item_ids: Collection[str], mirrored: bool) -> None:
    """Compute and compare what `copies_of` needs for stored items. Call this before the transaction.

    Args: item_ids, in the order in which they will be searched and enter a split.
    Raises: ImageStoreError, the store cannot be read.
    """
    measure_images(catalog, item_ids)
    with catalog.begin() as connection:
        known = load_statistics(connection, item_ids)
    compare_ahead(catalog, [known[item_id].thumbnail for item_id in item_ids if item_id in known], mirrored)


def index_items(connection: sa.Connection, item_ids: Collection[str]) -> None:
    """Add the images of items to the index, so that a search finds them. Images without statistics are left out."""
    for sha256, thumbnail in find_unindexed(connection, item_ids).items():
        index_image(connection, sha256, stored_hashes(thumbnail))


def measure_images(catalog: Catalog, item_ids: Collection[str]) -> None:
    """Compute the image statistics of some items that lack them, outside any transaction.

    An image whose bytes are missing is left out. Its copies are not found until the bytes are restored.

    Raises: ImageStoreError, the store cannot be read.
    """
    with catalog.begin() as connection:
        known = load_statistics(connection, item_ids)
        unmeasured = find_item_images(connection, [item_id for item_id in item_ids if item_id not in known])
    found = {sha256: _measure(catalog, sha256) for sha256 in unmeasured.values()}
    gone = [sha256 for sha256, statistics in found.items() if statistics is None]
    if gone:
        logger.warning(
            "%d images are not in the image store, so their copies count as new. First: %s", len(gone), gone[0]
        )
    with catalog.begin() as connection:
        save_statistics(connection, {sha256: each for sha256, each in found.items() if each is not None})


def measure_all(catalog: Catalog) -> None:
    """Add all images of items that have a split or are held back to the index. Compute their statistics if needed.

    Raises: ImageStoreError, the store cannot be read.
    """
    last = ""
    while True:
        with catalog.begin() as connection:
            item_ids = find_items_without_hashes(connection, last, _AT_ONCE)
        if not item_ids:
            return
        measure_images(catalog, item_ids)
        with catalog.begin() as connection:
            thumbnails = find_unindexed(connection, item_ids)
        for thumbnail in thumbnails.values():
            stored_hashes(thumbnail)  # only fills the cache
        with catalog.begin() as connection:
            index_items(connection, item_ids)
        last = item_ids[-1]


def _propose(connection: sa.Connection, thumbnail: bytes) -> list[Proposal]:
    """Return the items to compare with. The image's own items may be among them."""
    return propose_copies(connection, sought_in_index(thumbnail), copy_hashes.MOST_BITS, MOST_PROPOSALS + 1)


def _measure(catalog: Catalog, sha256: str) -> ImageStatistics | None:
    """Return the statistics of a stored image; None if its bytes are missing."""
    try:
        content = catalog.store.get(image_key(sha256))
    except ImageStoreError:
        if catalog.store.exists(image_key(sha256)):
            raise
        return None
    return measure(content)
