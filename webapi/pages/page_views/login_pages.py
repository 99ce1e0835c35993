"""Log in and out, and choose a language."""

from datetime import timedelta

from flask import Response, flash, g, make_response, redirect, request, session, url_for
from flask_babel import lazy_gettext as _

from ml.errors import UnknownImageError, UnknownPredictionError
from webapi.access import sessions
from webapi.access.authentication import find_session_account
from webapi.access.session_cookie import drop_session, keep_session, read_session
from webapi.pages.form_pages import Typed, prefill, read_kept, safe_page, show_form
from webapi.pages.login_form import LoginForm
from webapi.pages.page_blueprints import new_pages, page
from webapi.pages.page_responses import respond
from webapi.pages.page_words.languages import LANGUAGE_COOKIE, LANGUAGES
from webapi.pages.page_words.problem_words import Words

pages = new_pages("login", __name__)

_A_YEAR = timedelta(days=365)


@pages.get("/login")
@page(None)
def show_login() -> Response:
    """Show the login page. If there are no accounts yet, it says how to make one."""
    token = read_session()
    if token is not None and "notice" not in g and find_session_account(token) is not None:
        return make_response(redirect(safe_page(request.args.get("next")), 303))
    form = LoginForm(formdata=prefill())
    if not form.is_submitted():
        form.next.data = safe_page(request.args.get("next"))
    return respond("pages/login.html", form=form, is_first=not sessions.has_accounts())


@pages.post("/login")
@page(None)
def log_in() -> Response:
    """Log in, and go to the page that the person asked for. If a session ended there, the typed text is shown again."""
    form = LoginForm()
    if not form.validate():
        return respond("pages/login.html", 422, form=form, is_first=not sessions.has_accounts())
    issued = sessions.log_in(form.login.data.strip(), form.password.data)
    former = read_session()
    if former is not None:
        sessions.log_out(former)  # its cookie is replaced: nobody could end it any more
    g.account = find_session_account(issued.token)
    _begin_anew()
    address = safe_page(form.next.data)
    response = _show_kept(address, read_kept(form.kept.data or "")) or make_response(redirect(address, 303))
    keep_session(response, issued)
    return response


@pages.post("/logout")
@page(None)
def log_out() -> Response:
    """End the session."""
    token = read_session()
    if token is not None:
        sessions.log_out(token)
    _begin_anew()
    flash(_("You are logged out."))
    response = make_response(redirect(url_for("login.show_login"), 303))
    drop_session(response)
    return response


@pages.get("/language")
@page(None)
def choose_language() -> Response:
    """Show all pages in another language from now on."""
    response = make_response(redirect(safe_page(request.args.get("next")), 303))
    wanted = request.args.get("to")
    if wanted in LANGUAGES:
        response.set_cookie(LANGUAGE_COOKIE, wanted, max_age=_A_YEAR, samesite="Lax", secure=request.is_secure)
    return response


def _show_kept(address: str, typed: Typed) -> Response | None:
    """Return the page at an address with what was typed there; None if nothing was, or if it shows somebody else's."""
    words = Words(_("You are logged in again"), _("What you typed is still here. Look it over, and send it again."))
    try:
        return show_form(address, typed, words) if typed and g.account else None
    except (UnknownImageError, UnknownPredictionError):
        return None  # another account logged in: the page itself says that there is no such thing


def _begin_anew() -> None:
    session.clear()
    g.pop("csrf_token", None)
