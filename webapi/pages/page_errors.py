"""Every error of a page is a page: it says in words what happened, and how to go on. What was typed is not lost."""

import logging
from contextlib import suppress
from http import HTTPStatus

from flask import Flask, Response, current_app, g, redirect, request, url_for
from flask_babel import lazy_gettext as _
from flask_wtf.csrf import CSRFError
from werkzeug.exceptions import HTTPException, RequestEntityTooLarge
from werkzeug.wrappers import Response as AnyResponse

from ml.errors import MycoflowError
from webapi.access.browser_security import is_from_elsewhere
from webapi.access.form_sessions import load_key
from webapi.api.problem_answers import answer_problem
from webapi.pages.form_pages import brought_photo, safe_page, sent_token, show_form, typed_now, write_kept
from webapi.pages.login_form import LoginForm
from webapi.pages.page_responses import respond
from webapi.pages.page_words.field_labels import FIELD_LABELS
from webapi.pages.page_words.problem_words import Words, find_words
from webapi.problems import ProblemError, record_problem

_SESSION_ENDED = _("Your session has ended. Log in again: what you typed is kept.")
_SESSION_AND_PHOTO = _(
    "Your session has ended. Log in again: what you typed is kept. You will have to choose the photo again."
)
_NOT_REPEATED = frozenset({"forbidden", "cross-site"})  # kinds of problems after which a form is not shown again
_HTML = "text/html"
_logger = logging.getLogger(__name__)
_MOST_DISCARDED_BYTES = 64 * 1024 * 1024  # the largest photos of cameras
_CHUNK_BYTES = 64 * 1024


def init_app(app: Flask) -> None:
    """Answer unknown paths and wrong methods: a browser gets a page, a program gets a problem."""
    app.register_error_handler(HTTPException, _answer_elsewhere)


def answer_error(error: Exception) -> AnyResponse:
    """Answer an error of a page."""
    if isinstance(error, HTTPException) and (error.code or 500) < HTTPStatus.BAD_REQUEST:
        return error.get_response()
    if isinstance(error, CSRFError):
        error = ProblemError(400, "stale-form", "Expected the token of a form of this site, got none that is valid.")
    if request.method == "POST" and is_from_elsewhere():
        error = ProblemError(403, "cross-site", "Expected a form of this site, got one that another site sent.")
    if isinstance(error, RequestEntityTooLarge):
        _read_rest()
    problem = record_problem(error)
    words = find_words(problem)
    try:
        response = _respond(problem, words)
    except Exception:
        _logger.warning("The page of a form could not be shown again.", exc_info=True)
        response = _show_problem(problem, words)
    # A challenge would open the browser's own login box over the page.
    response.headers.extend([each for each in problem.headers if each[0].lower() != "www-authenticate"])
    return response


def _answer_elsewhere(error: HTTPException) -> AnyResponse:
    is_browser = any(kind == _HTML for kind, _quality in request.accept_mimetypes)  # programs accept anything
    return answer_error(error) if is_browser else answer_problem(error)


def _respond(problem: ProblemError, words: Words) -> AnyResponse:
    is_form = request.method == "POST"
    if problem.slug == "no-session":
        return _ask_to_log_in() if is_form else redirect(url_for("login.show_login", next=_here()), 303)
    if is_form and problem.slug not in _NOT_REPEATED:
        shown = show_form(_here(), typed_now(), words, problem.status)
        if shown is not None:
            return shown
    return _show_problem(problem, words)


def _ask_to_log_in() -> Response:
    load_key(current_app)
    g.notice = Words(_("Please log in again"), _SESSION_AND_PHOTO if brought_photo() else _SESSION_ENDED)
    form = LoginForm(formdata=None, next=safe_page(_here()), kept=write_kept(typed_now()))
    return respond("pages/login.html", HTTPStatus.UNAUTHORIZED, form=form, is_first=False)


def _show_problem(problem: ProblemError, words: Words) -> Response:
    g.pop("notice", None)
    with suppress(MycoflowError):
        load_key(current_app)
    if problem.slug == "database-unavailable" or not current_app.secret_key:
        g.pop("account", None)  # the page's forms need the database
    is_repeated = request.method == "POST" and problem.slug not in _NOT_REPEATED
    return respond(
        "pages/problem.html",
        problem.status,
        problem=problem,
        words=words,
        again=safe_page(_here()),
        typed=typed_now() if is_repeated else [],
        labels=FIELD_LABELS,
        sent_token=sent_token(),
        has_photo=is_repeated and brought_photo(),
    )


def _here() -> str:
    return request.full_path.rstrip("?")


def _read_rest() -> None:
    """Read what the browser still sends of a body that is too large: it shows no answer before it has sent all."""
    most, rest = current_app.config["MAX_CONTENT_LENGTH"], request.content_length or 0
    if not most < rest <= _MOST_DISCARDED_BYTES:  # a smaller body has been read in part
        return
    stream = request.environ["wsgi.input"]
    while rest > 0 and (chunk := stream.read(min(rest, _CHUNK_BYTES))):
        rest -= len(chunk)
