"""Take in a batch of photos: a ZIP or addresses. Its predictions are made in the background."""

from collections.abc import Sequence
from typing import IO

from ml.catalog.database import Catalog
from ml.catalog.logs.prediction_batches import NewPhoto, add_prediction_batch, count_open, delete_batch, start_batch
from ml.catalog.object_store import archive_key
from ml.errors import BatchLimitError
from ml.ingest.pictures.picture_limits import ANSWERING
from ml.serving.photo_batches.zip_contents import MOST_PHOTOS, clean_name, demand_count, list_photos, open_zip

MOST_OPEN = 2
# As many photos as a batch may have, each of the largest size, and the list of contents.
MOST_ARCHIVE_BYTES = MOST_PHOTOS * ANSWERING.bytes + 4 * 1024 * 1024


def add_archive(catalog: Catalog, account_id: int, name: str, file: IO[bytes]) -> int:
    """Store a ZIP of photos, and return the id of its batch.

    Args: name, of the ZIP, for people; file, on disk.
    Raises: ArchiveError, it is no ZIP, has no photos or too many; BatchLimitError; ImageStoreError;
        DatabaseUnavailableError.
    """
    _demand_free_batch(catalog, account_id)
    with open_zip(file) as archive:
        photos = list_photos(archive)
    with catalog.begin() as connection:  # before the ZIP: what a crash leaves, a purge can find
        batch_id = add_prediction_batch(connection, account_id, clean_name(name), photos, has_archive=True)
    try:
        catalog.store.put_file(archive_key(batch_id), file)
        with catalog.begin() as connection:
            is_started = start_batch(connection, batch_id)
    except BaseException:
        delete_batch(catalog, batch_id)
        raise
    if not is_started:  # the account was erased meanwhile
        catalog.store.delete(archive_key(batch_id))
    return batch_id


def add_addresses(catalog: Catalog, account_id: int, addresses: Sequence[str]) -> int:
    """Store addresses of photos, and return the id of their batch. Which of them lead to photos is found out later.

    Raises: ArchiveError, there are none or too many; BatchLimitError; DatabaseUnavailableError.
    """
    _demand_free_batch(catalog, account_id)
    demand_count(len(addresses), "addresses")
    photos = [NewPhoto(clean_name(address)) for address in addresses]
    with catalog.begin() as connection:
        return add_prediction_batch(connection, account_id, "", photos, has_archive=False)


def _demand_free_batch(catalog: Catalog, account_id: int) -> None:
    """Refuse a batch of an account that has enough. Requests at the same moment may each pass."""
    with catalog.begin() as connection:
        count = count_open(connection, account_id)
    if count >= MOST_OPEN:
        raise BatchLimitError(
            f"Expected at most {MOST_OPEN} batches of an account under way, and this one has {count}. Wait until one "
            "is finished, or cancel one."
        )
