"""Log in and out: exchange a password for a bearer token."""

from datetime import timedelta

from ml.catalog.accounts.tokens import IssuedToken, issue_token, revoke_token
from webapi import application_state
from webapi.access.authentication import password_checker, unauthorized


def log_in(login: str, password: str) -> IssuedToken:
    """Check a password, and issue a token.

    Raises: ProblemError, 401 login or password is wrong, 429 too many attempts, 503 too many at once;
        DatabaseUnavailableError.
    """
    service = application_state.current()
    account = password_checker().check(service.database, login, password)
    if account is None:
        raise unauthorized("The login or the password is wrong, or the account is disabled.")
    with application_state.current_catalog().begin() as connection:
        return issue_token(connection, account.id, timedelta(hours=service.settings.token_hours))


def log_out(token: str) -> None:
    """Revoke a token.

    Raises: DatabaseUnavailableError.
    """
    with application_state.current_catalog().begin() as connection:
        revoke_token(connection, token)
