"""Change the role of an account, with an event in the audit log."""

from ml.catalog.accounts.personal_data import actor_name
from ml.catalog.accounts.user_accounts import Account, change_role, demand_account
from ml.catalog.database import Catalog
from ml.catalog.logs.events import write_event


def assign_role(catalog: Catalog, login: str, role: str, actor: str) -> Account:
    """Give an account a role, and return the account with it.

    Args: role, user, expert or admin; actor, who does this, for the audit log.
    Raises: UnknownAccountError; AccountError, there is no such role; LastAdminError, the last enabled admin would get
        another role; DatabaseUnavailableError.
    """
    with catalog.begin() as connection:
        before = change_role(connection, login, role)
        if before.role != role:
            detail = {"account": actor_name(before), "before": before.role, "after": role}
            write_event(connection, "account.role_changed", actor, detail)
        return demand_account(connection, login)
