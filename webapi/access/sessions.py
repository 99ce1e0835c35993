"""Log in and out: exchange a password for a bearer token. Change the password."""

from datetime import timedelta

from ml.catalog.accounts.tokens import IssuedToken, issue_token, revoke_token
from ml.catalog.accounts.user_accounts import PASSWORD_MIN_LENGTH, Account, StoredAccount, is_any_account, is_unchanged
from webapi import application_state
from webapi.access.authentication import password_checker, unauthorized
from webapi.problems import ProblemError

NEW_PASSWORD_CHARACTERS = PASSWORD_MIN_LENGTH


def log_in(login: str, password: str) -> IssuedToken:
    """Check a password, and issue a token.

    Raises: ProblemError, 401 login or password is wrong, 429 too many attempts, 503 too many at once;
        DatabaseUnavailableError.
    """
    return begin(password_checker().check(application_state.current().database, login, password))


def begin(stored: StoredAccount | None) -> IssuedToken:
    """Issue a token for an account whose owner has just given or set its password; None if the password was wrong.

    Raises: ProblemError, 401; DatabaseUnavailableError.
    """
    lifetime = timedelta(hours=application_state.current().settings.token_hours)
    with application_state.current_catalog().begin() as connection:
        # Meanwhile the password may have been changed, which ended all sessions: this one must not outlive it.
        if stored is None or not is_unchanged(connection, stored):
            raise unauthorized("The login or the password is wrong, or the account is disabled.")
        return issue_token(connection, stored.account.id, lifetime)


def has_accounts() -> bool:
    """Return whether anybody can log in.

    Raises: DatabaseUnavailableError.
    """
    with application_state.current_catalog().autocommit() as connection:
        return is_any_account(connection)


def change_own_password(account: Account, password: str, new_password: str) -> StoredAccount:
    """Set a new password for an account, and end all its sessions.

    Raises: ProblemError, 403 the present password is wrong, 429 too many attempts, 503 too many at once;
        AccountError, the new password is too short; DatabaseUnavailableError.
    """
    database = application_state.current().database
    changed = password_checker().change(database, account.login, password, new_password)
    if changed is None:
        raise _wrong_password()
    return changed


def demand_password(account: Account, password: str) -> None:
    """Demand the present password of an account.

    Raises: ProblemError, 403 it is another one, 429 too many attempts, 503 too many at once; DatabaseUnavailableError.
    """
    if password_checker().check(application_state.current().database, account.login, password) is None:
        raise _wrong_password()


def _wrong_password() -> ProblemError:
    return ProblemError(403, "wrong-password", "Expected the present password of this account, got another one.")


def log_out(token: str) -> None:
    """Revoke a token.

    Raises: DatabaseUnavailableError.
    """
    with application_state.current_catalog().begin() as connection:
        revoke_token(connection, token)
