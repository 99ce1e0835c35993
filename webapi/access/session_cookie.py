"""The cookie of the web pages. Its value is a session token, as `POST /auth/login` issues one.

Pages read only the cookie, and the API only headers: a browser adds Basic credentials of its own to any request, and
another site could make it send the cookie, but not a bearer token.
"""

from collections.abc import Callable
from typing import TypeVar

from flask import Flask, Response, request

from ml.catalog.accounts.tokens import IssuedToken

SESSION_COOKIE = "mycoflow_session"
_View = TypeVar("_View", bound=Callable[..., object])


def by_cookie(view: _View) -> _View:
    """Mark a view as part of a web page: its account is the cookie's."""
    view.reads_cookie = True  # type: ignore[attr-defined]
    return view


def reads_cookie(app: Flask, endpoint: str) -> bool:
    """Return whether a view is part of a web page."""
    return getattr(app.view_functions[endpoint], "reads_cookie", False)


def read_session() -> str | None:
    """Return the session token of the current request; None if there is none."""
    return request.cookies.get(SESSION_COOKIE) or None


def keep_session(response: Response, issued: IssuedToken) -> None:
    """Let the browser keep a session until its token expires. No script can read it, and behind TLS it stays there.

    Lax: a link in a message opens a page as the account, and a form of another site arrives without the cookie.
    """
    response.set_cookie(
        SESSION_COOKIE,
        issued.token,
        expires=issued.expires_at,
        httponly=True,
        samesite="Lax",
        secure=request.is_secure,
    )


def drop_session(response: Response) -> None:
    """Let the browser forget the session."""
    response.delete_cookie(SESSION_COOKIE, httponly=True, samesite="Lax", secure=request.is_secure)
