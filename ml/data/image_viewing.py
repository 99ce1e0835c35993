"""Access to photos: users see the photos of their predictions, experts those they may review, admins all.

Known photos that came with the data are apart: an answer shows those that are similar to its photo to everybody.
"""

from dataclasses import dataclass

import sqlalchemy as sa

from ml.catalog.accounts.user_accounts import Account
from ml.catalog.database import Catalog
from ml.catalog.images.photo_vectors import is_known_photo
from ml.catalog.items.item_records import is_not_erased
from ml.catalog.object_store import image_key
from ml.catalog.reviews.review_queues import is_in_review
from ml.catalog.tables import images, items, predictions, results
from ml.errors import UnknownImageError

_UNDER_REVIEW = ("waiting", "suspended")


def may_be_seen_by(account: Account) -> sa.ColumnElement[bool]:
    """Return the SQL condition on training.items for the items that an account may see.

    An expert may review all predictions, and all items that wait for a decision.
    """
    if account.role == "admin":
        return sa.true()
    is_predicted = sa.exists().where(results.c.item_id == items.c.id, predictions.c.result_id == results.c.id)
    if account.role == "expert":
        return items.c.held_back.in_(_UNDER_REVIEW) | is_predicted | is_in_review()
    return is_predicted.where(predictions.c.account_id == account.id)


@dataclass(frozen=True)
class Photo:
    """A stored image that somebody may see. Args: media_type, image/jpeg or image/png."""

    sha256: str
    media_type: str
    _catalog: Catalog

    def read(self) -> bytes:
        """Return the bytes as stored.

        Raises: ImageStoreError.
        """
        return self._catalog.store.get(image_key(self.sha256))


def demand_visible(connection: sa.Connection, account: Account, sha256: str) -> str:
    """Return the group of the item with a photo that the account may see.

    Raises: UnknownImageError, no image has this hash, or the account may not see it.
    """
    query = sa.select(items.c.group_key).where(items.c.image_sha256 == sha256, is_not_erased())
    group_key = connection.execute(query.where(may_be_seen_by(account)).limit(1)).scalar_one_or_none()
    if group_key is None:
        raise _unknown_image()
    return str(group_key)


def find_photo(catalog: Catalog, account: Account, sha256: str) -> Photo:
    """Find an image that the account may see. Its bytes are not read yet.

    Raises: UnknownImageError, no image has this hash, or the account may not see it; DatabaseUnavailableError.
    """
    return _find(catalog, sha256, is_not_erased() & may_be_seen_by(account))


def find_known_photo(catalog: Catalog, sha256: str) -> Photo:
    """Find a photo that every account may see, because answers are compared with it.

    Raises: UnknownImageError, no such photo has this hash; DatabaseUnavailableError.
    """
    return _find(catalog, sha256, is_known_photo())


def _find(catalog: Catalog, sha256: str, is_visible: sa.ColumnElement[bool]) -> Photo:
    query = sa.select(images.c.media_type).join_from(images, items).where(images.c.sha256 == sha256, is_visible)
    with catalog.begin() as connection:
        media_type = connection.execute(query.limit(1)).scalar_one_or_none()
    if media_type is None:
        raise _unknown_image()
    return Photo(sha256, media_type, catalog)


def _unknown_image() -> UnknownImageError:
    return UnknownImageError("Expected the hash of an image that you may see, got another.")
