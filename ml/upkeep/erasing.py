"""Erase an account, which its owner may request (GDPR, article 17)."""

from ml.catalog.accounts.personal_data import actor_name
from ml.catalog.accounts.user_accounts import Account, erase_account
from ml.catalog.database import Catalog
from ml.catalog.logs.events import write_event


def erase_owner(catalog: Catalog, account: Account) -> None:
    """Erase an account for good, with an event in the audit log. Its predictions and feedback stay, anonymous.

    Raises: AccountError, it is the last enabled admin; DatabaseUnavailableError.
    """
    with catalog.begin() as connection:
        erase_account(connection, account)
        write_event(connection, "account.erased", actor_name(account), {})
