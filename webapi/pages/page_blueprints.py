"""Blueprints of pages: who may see a page, and the check of its forms.

pages = new_pages("photos", __name__)

@pages.get("/photos")
@page("user")
def show_photos() -> Response:
    return respond("photos.html", rows=...)
"""

from collections.abc import Callable
from pathlib import Path
from typing import Literal, TypeVar

from flask import Blueprint, Flask, current_app
from flask_wtf import CSRFProtect

from webapi.access.authentication import public, requires
from webapi.access.form_sessions import load_key
from webapi.access.session_cookie import by_cookie
from webapi.pages.page_errors import answer_error

TEMPLATES = Path(__file__).parent / "templates"
_csrf = CSRFProtect()
_View = TypeVar("_View", bound=Callable[..., object])


def new_pages(name: str, import_name: str) -> Blueprint:
    """Create a blueprint whose forms carry CSRF tokens, and whose errors are pages."""
    pages = Blueprint(name, import_name)
    pages.before_request(_check_form)
    pages.register_error_handler(Exception, answer_error)
    return pages


def page(role: Literal["user", "expert", "admin"] | None) -> Callable[[_View], _View]:
    """Mark a view as a page for accounts with this role or a higher one; None: for everybody."""
    mark = public if role is None else requires(role)
    return lambda view: by_cookie(mark(view))


def init_app(app: Flask) -> None:
    """Prepare the check of forms."""
    app.config["WTF_CSRF_CHECK_DEFAULT"] = False  # the API has no forms: _check_form calls it for pages
    app.config["WTF_CSRF_TIME_LIMIT"] = None  # as long as the session: a form may stay open over lunch
    app.config["WTF_CSRF_SSL_STRICT"] = False  # it wants a referrer, which our pages tell nobody
    _csrf.init_app(app)


def _check_form() -> None:
    load_key(current_app)
    _csrf.protect()
