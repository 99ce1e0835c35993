"""Access to photos: users see the photos of their predictions, experts those they may review, admins all."""

from dataclasses import dataclass

import sqlalchemy as sa

from ml.catalog.accounts.user_accounts import Account
from ml.catalog.database import Catalog
from ml.catalog.items.item_records import is_not_erased
from ml.catalog.object_store import image_key
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
        return items.c.held_back.in_(_UNDER_REVIEW) | is_predicted
    return is_predicted.where(predictions.c.account_id == account.id)


@dataclass(frozen=True)
class Photo:
    """The stored bytes of an image, and their media type: image/jpeg or image/png."""

    content: bytes
    media_type: str


def read_photo(catalog: Catalog, account: Account, sha256: str) -> Photo:
    """Read an image that the account may see.

    Raises: UnknownImageError, no image has this hash, or the account may not see it; ImageStoreError;
        DatabaseUnavailableError.
    """
    media_type = demand_visible(catalog, account, sha256)
    return Photo(catalog.store.get(image_key(sha256)), media_type)


def demand_visible(catalog: Catalog, account: Account, sha256: str) -> str:
    """Demand that an account may see an image. Return the media type of its stored bytes.

    Raises: UnknownImageError, no image has this hash, or the account may not see it; DatabaseUnavailableError.
    """
    query = sa.select(images.c.media_type).join_from(images, items)
    query = query.where(images.c.sha256 == sha256, is_not_erased())
    with catalog.begin() as connection:
        media_type = connection.execute(query.where(may_be_seen_by(account)).limit(1)).scalar_one_or_none()
    if media_type is None:
        raise UnknownImageError("Expected the hash of an image that you may see, got another.")
    return media_type
