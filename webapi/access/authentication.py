"""Authentication and authorisation. Every route declares who may call it: `@public`, or `@requires(role)`.

    @api.get("/accuracy")
    @requires("admin")
    def get_accuracy() -> Response: ...

Both are checked before the view is called and before its parameters are read. Credentials are HTTP Basic or a bearer
token; those of web pages are the session cookie. A route without a declaration requires the role admin.

Source: RFC 7617 (Basic), RFC 6750 (Bearer).
"""

from collections.abc import Callable
from typing import TypeVar

from flask import Flask, current_app, g, request

from ml.catalog.accounts.personal_data import actor_name
from ml.catalog.accounts.user_accounts import ROLES, Account, Role, find_token_account
from ml.errors import MycoflowError
from webapi import application_state
from webapi.access.browser_security import is_preflight, refuse_cross_site
from webapi.access.limits import Throttle
from webapi.access.passwords import PasswordChecker
from webapi.access.session_cookie import read_session, reads_cookie
from webapi.problems import ProblemError

_EXTENSION = "mycoflow-passwords"
_CHALLENGES = ('Basic realm="mycoflow", charset="UTF-8"', 'Bearer realm="mycoflow"')
_View = TypeVar("_View", bound=Callable[..., object])


def requires(role: Role) -> Callable[[_View], _View]:
    """Allow a view for accounts with this role or a higher one. Put it below the route's decorator."""
    return lambda view: _mark(view, role)


def public(view: _View) -> _View:
    """Allow a view without an account."""
    return _mark(view, None)


def required_role(app: Flask, endpoint: str) -> Role | None:
    """Return the lowest role that may call an endpoint; None if it is public."""
    role: Role | None = getattr(app.view_functions[endpoint], "required_role", "admin")
    return role


def has_role(account: Account, role: Role) -> bool:
    """Return whether an account has a role or a higher one."""
    return ROLES.index(account.role) >= ROLES.index(role)


def current_account() -> Account:
    """Return the account that the request is authenticated as. Only for views that require a role."""
    account: Account = g.account
    return account


def current_actor() -> str:
    """Return the current account's name in labels and in the audit log. Only for views that require a role."""
    return actor_name(current_account())


def init_identification(app: Flask) -> None:
    """Authenticate every request to a route that requires a role."""
    app.before_request(_identify)


def init_passwords(app: Flask, throttle: Throttle) -> None:
    """Create the application's password checker, with a rate limit."""
    app.extensions[_EXTENSION] = PasswordChecker(throttle)


def init_authorisation(app: Flask) -> None:
    """Refuse accounts without the required role. Call it after the rate limits, so that refused requests count too."""
    app.before_request(_authorise)


def password_checker() -> PasswordChecker:
    """Return the application's password checker."""
    checker: PasswordChecker = current_app.extensions[_EXTENSION]
    return checker


def find_session_account(token: str) -> Account | None:
    """Return the account of a session token; None if the token is unknown, expired or revoked.

    Raises: DatabaseUnavailableError.
    """
    with application_state.current().database.catalog().autocommit() as connection:
        return find_token_account(connection, token)


def unauthorized(detail: str) -> ProblemError:
    """Return a 401 problem that lists the supported authentication schemes."""
    return ProblemError(401, "unauthorized", detail, headers=[("WWW-Authenticate", value) for value in _CHALLENGES])


def _mark(view: _View, role: Role | None) -> _View:
    view.required_role = role  # type: ignore[attr-defined]
    return view


def _identify() -> None:
    if request.endpoint is None or is_preflight() or required_role(current_app, request.endpoint) is None:
        return
    try:
        g.account = _find_account(request.endpoint)
    except (ProblemError, MycoflowError) as error:
        g.refusal = error


def _authorise() -> None:
    if request.endpoint is None or is_preflight():
        return
    role = required_role(current_app, request.endpoint)
    if role is None:
        return
    if "refusal" in g:
        raise g.refusal
    account = current_account()
    if not has_role(account, role):
        raise ProblemError(403, "forbidden", f"Expected the role {role} or higher, got {account.role}.")


def _find_account(endpoint: str) -> Account:
    if reads_cookie(current_app, endpoint):
        return _check_session(read_session())
    credentials = request.authorization
    if credentials is None:
        raise unauthorized("Expected HTTP Basic credentials or a bearer token, got none that are readable.")
    if credentials.type == "basic":
        refuse_cross_site()
        return _check_password(credentials.username or "", credentials.password or "")
    if credentials.type == "bearer" and credentials.token:
        return _check_token(credentials.token)
    raise unauthorized("Expected HTTP Basic credentials or a bearer token, got another scheme.")


def _check_password(login: str, password: str) -> Account:
    account = password_checker().check_remembered(application_state.current().database, login, password)
    if account is None:
        raise unauthorized("The login or the password is wrong, or the account is disabled.")
    return account


def _check_token(token: str) -> Account:
    account = find_session_account(token)
    if account is None:
        raise unauthorized("The token is unknown, expired or revoked. Get another with POST /auth/login.")
    return account


def _check_session(token: str | None) -> Account:
    account = None if token is None else find_session_account(token)
    if account is None:
        raise ProblemError(401, "no-session", "Expected the cookie of a session, got none that is valid. Log in.")
    return account
