"""Who may see which photo: users what they asked about, experts what they are to judge, admins all."""

from dataclasses import dataclass

import sqlalchemy as sa

from ml.catalog.accounts.user_accounts import Account
from ml.catalog.database import Catalog
from ml.catalog.object_store import image_key
from ml.catalog.tables import images, items, predictions, results
from ml.errors import UnknownImageError

_TO_JUDGE = ("waiting", "suspended")


def may_be_seen_by(account: Account) -> sa.ColumnElement[bool]:
    """The condition on training.items.

    An expert may judge any prediction, and so sees the photo of each, and what waits for a person's word.
    """
    if account.role == "admin":
        return sa.true()
    asked = sa.exists().where(results.c.item_id == items.c.id, predictions.c.result_id == results.c.id)
    if account.role == "expert":
        return items.c.held_back.in_(_TO_JUDGE) | asked
    return asked.where(predictions.c.account_id == account.id)


@dataclass(frozen=True)
class Photo:
    """An image's bytes as they are stored, and what they are: image/jpeg or image/png."""

    content: bytes
    media_type: str


def read_photo(catalog: Catalog, account: Account, sha256: str) -> Photo:
    """Read an image.

    Raises: UnknownImageError, there is no such image, or the account may not see it; ImageStoreError;
        DatabaseUnavailableError.
    """
    query = sa.select(images.c.media_type).join_from(images, items).where(images.c.sha256 == sha256)
    with catalog.begin() as connection:
        media_type = connection.execute(query.where(may_be_seen_by(account)).limit(1)).scalar_one_or_none()
    if media_type is None:
        raise UnknownImageError("Expected the hash of an image that you may see, got another.")
    return Photo(catalog.store.get(image_key(sha256)), media_type)
