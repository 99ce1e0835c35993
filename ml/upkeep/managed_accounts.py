"""Add, disable and reset accounts, with an event in the audit log. Roles: role_changes; erasing: erasing."""

import secrets
from collections.abc import Sequence

from ml.catalog.accounts import user_accounts
from ml.catalog.accounts.personal_data import actor_name
from ml.catalog.accounts.user_accounts import Account, StoredAccount
from ml.catalog.database import Catalog
from ml.catalog.logs.events import write_event
from ml.errors import UnknownAccountError

_PASSWORD_BYTES = 15  # 20 characters


def list_accounts(catalog: Catalog) -> Sequence[StoredAccount]:
    """Return all accounts, ordered by login.

    Raises: DatabaseUnavailableError.
    """
    with catalog.begin() as connection:
        return user_accounts.list_accounts(connection)


def read_account(catalog: Catalog, login: str) -> StoredAccount:
    """Return the account with a login, even if it is disabled.

    Raises: UnknownAccountError, DatabaseUnavailableError.
    """
    with catalog.begin() as connection:
        stored = user_accounts.find_account(connection, login)
    if stored is None:
        raise UnknownAccountError(f"Login: expected an existing account, got {login!r}.")
    return stored


def make_password() -> str:
    """Return a random password, to show once."""
    return secrets.token_urlsafe(_PASSWORD_BYTES)


def create_account(catalog: Catalog, login: str, role: str, password: str, actor: str) -> Account:
    """Create an account.

    Args: as user_accounts.add_account; actor, who does this, for the audit log.
    Raises: AccountError, an argument has another form, or the login is taken; DatabaseUnavailableError.
    """
    password_hash = user_accounts.hash_password(password)
    with catalog.begin() as connection:
        account = user_accounts.insert_account(connection, login, role, password_hash)
        write_event(connection, "account.added", actor, {"account": actor_name(account), "role": role})
    return account


def disable(catalog: Catalog, login: str, actor: str) -> None:
    """Disable an account, and end its sessions. Its predictions and feedback stay.

    Raises: UnknownAccountError; LastAdminError, it is the last enabled admin; DatabaseUnavailableError.
    """
    with catalog.begin() as connection:
        account = user_accounts.demand_account(connection, login)
        user_accounts.disable_account(connection, login)
        write_event(connection, "account.disabled", actor, {"account": actor_name(account)})


def reset(catalog: Catalog, login: str, password: str, actor: str) -> None:
    """Set a new password, end the account's sessions, and enable the account if it was disabled.

    Raises: UnknownAccountError; AccountError, the password is too short; DatabaseUnavailableError.
    """
    password_hash = user_accounts.hash_password(password)
    with catalog.begin() as connection:
        account = user_accounts.demand_account(connection, login)
        user_accounts.set_password(connection, login, password_hash)
        write_event(connection, "account.reset", actor, {"account": actor_name(account)})
