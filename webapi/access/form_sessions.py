"""The signed cookie that CSRF tokens and short messages of the web pages live in. It names nobody.

Its key is in the database, so that several processes of the service accept each other's forms.
"""

from contextlib import suppress
from typing import Any

from flask import Flask, Request
from flask import request as current_request
from flask.sessions import SecureCookieSession, SecureCookieSessionInterface, SessionMixin

from ml.catalog.accounts.page_keys import load_page_key
from ml.errors import MycoflowError
from webapi import application_state


class FormSessions(SecureCookieSessionInterface):
    """Flask's signed cookies. Requests without one, such as those of programs, need no key and no database."""

    def open_session(self, app: Flask, request: Request) -> SecureCookieSession:
        """Read the session of a request. While the database is down and the key is unknown, it is empty."""
        if self.get_cookie_name(app) in request.cookies:
            with suppress(MycoflowError):
                load_key(app)
        opened = super().open_session(app, request) if app.secret_key else None
        return self.session_class() if opened is None else opened

    def save_session(self, app: Flask, session: SessionMixin, response: Any) -> None:
        """Write the session, if a page changed it."""
        if app.secret_key:
            super().save_session(app, session, response)

    def get_cookie_secure(self, app: Flask) -> bool:
        """Return whether the cookie needs TLS: behind TLS, it does."""
        return current_request.is_secure


def init_app(app: Flask) -> None:
    """Give the pages of an application sessions."""
    app.session_interface = FormSessions()
    app.config["SESSION_COOKIE_NAME"] = "mycoflow_forms"
    app.config["SESSION_COOKIE_SAMESITE"] = "Lax"


def load_key(app: Flask) -> None:
    """Read the key that signs forms, unless it is known.

    Raises: DatabaseUnavailableError.
    """
    if not app.secret_key:
        with application_state.current(app).database.catalog().begin() as connection:
            app.secret_key = load_page_key(connection)
