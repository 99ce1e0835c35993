"""Erasing an account, as its owner may ask (GDPR, article 17)."""

from ml.catalog.accounts.personal_data import actor_name
from ml.catalog.accounts.user_accounts import Account, erase_account
from ml.catalog.database import Catalog
from ml.catalog.logs.events import write_event


def erase_owner(catalog: Catalog, account: Account) -> None:
    """Erase an account for good, with a line in the audit log. What it did stays, and nobody knows whose it was.

    Raises: AccountError, it is the last admin's; DatabaseUnavailableError.
    """
    with catalog.begin() as connection:
        erase_account(connection, account)
        write_event(connection, "account.erased", actor_name(account), {})
