"""Who may see which photo: users what they asked about, experts what they are to judge, admins all."""

import sqlalchemy as sa

from ml.catalog.accounts.user_accounts import Account
from ml.catalog.tables import images, items, predictions, results

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


def find_media_type(connection: sa.Connection, account: Account, sha256: str) -> str | None:
    """Return the media type of an image's bytes; None where there is no such image, or the account may not see it."""
    query = sa.select(images.c.media_type).join_from(images, items).where(images.c.sha256 == sha256)
    return connection.execute(query.where(may_be_seen_by(account)).limit(1)).scalar_one_or_none()
