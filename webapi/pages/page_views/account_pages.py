"""My account: change the password, download all data, or erase the account."""

from typing import Any

from flask import Response, flash, g, make_response, redirect, session, url_for
from flask_babel import lazy_gettext as _
from flask_wtf import FlaskForm
from wtforms import PasswordField, RadioField
from wtforms.validators import EqualTo, InputRequired, Length

from ml.deadlines import Deadline
from ml.upkeep.erasing import erase_owner, erase_photos
from webapi import application_state
from webapi.access import sessions
from webapi.access.authentication import current_account, current_actor
from webapi.access.session_cookie import drop_session, keep_session
from webapi.api.routes.account_routes import export_user
from webapi.pages.form_pages import prefill
from webapi.pages.page_blueprints import new_pages, page
from webapi.pages.page_responses import respond
from webapi.pages.page_words.problem_words import Words
from webapi.request_deadlines import current_deadline

pages = new_pages("account", __name__)

_LONGEST = 1024
_PRESENT = [InputRequired(_("Type your present password.")), Length(max=_LONGEST)]
_NEW = [
    InputRequired(_("Type a new password.")),
    Length(min=sessions.NEW_PASSWORD_CHARACTERS, max=_LONGEST, message=_("A password has 12 characters or more.")),
]
_PHOTOS = [
    ("erase", _("Erase my photos too")),
    ("keep", _("Leave them: models may learn from them, and nobody sees that they were mine")),
]
_AGAIN = [EqualTo("new_password", _("Both must be the same."))]
_ERASED = {
    "erase": _("Your account and your photos are erased."),
    "keep": _("Your account is erased. Thank you for your photos."),
}


class PasswordForm(FlaskForm):  # type: ignore[misc]
    """The present password, and the new one twice."""

    password = PasswordField(_("Present password"), _PRESENT)
    new_password = PasswordField(_("New password, 12 characters or more"), _NEW)
    again_password = PasswordField(_("The new password again"), _AGAIN)


class ErasureForm(FlaskForm):  # type: ignore[misc]
    """What becomes of the photos, and the present password: nobody else erases an account that is left open."""

    photos = RadioField(_("My photos"), choices=_PHOTOS, default="erase")
    password = PasswordField(_("Your password, to be sure that it is you"), _PRESENT)


@pages.get("/account")
@page("user")
def show_account() -> Response:
    """Show what an account can do with itself."""
    return respond("pages/account.html")


@pages.get("/account/password")
@page("user")
def show_password() -> Response:
    """Show the form for a new password."""
    return _show_password(PasswordForm(formdata=None))


@pages.post("/account/password")
@page("user")
def change_password() -> Response:
    """Change the password. All other sessions end, and this browser gets a new one."""
    form = PasswordForm()
    if not form.validate():
        return _show_password(form, 422)
    changed = sessions.change_own_password(current_account(), form.password.data, form.new_password.data)
    issued = sessions.begin(changed)
    flash(_("Your password is changed. Wherever else you were logged in, you are logged out."))
    response = make_response(redirect(url_for("account.show_account"), 303))
    keep_session(response, issued)
    return response


@pages.get("/account/data")
@page("user")
def export_data() -> Response:
    """Return everything that is stored about the account, as a file."""
    exported: Response = export_user()
    return exported


@pages.get("/account/erase")
@page("user")
def ask_to_erase() -> Response:
    """Ask whether the account shall be erased."""
    return _show_erasure(ErasureForm(formdata=prefill()))


@pages.post("/account/erase")
@page("user")
def erase_account() -> Response:
    """Erase the photos, if they shall go, then the account. Many photos take several turns: each goes on."""
    form = ErasureForm()
    if not form.validate():
        return _show_erasure(form, 422)
    account = current_account()
    sessions.demand_password(account, form.password.data)
    if form.photos.data == "erase":
        thumbnails, half = application_state.current().thumbnails, Deadline(current_deadline().remaining() / 2)
        left = erase_photos(application_state.current_catalog(), account, half, thumbnails.forget)
        if left:
            text = _("Photos that are left: %(count)s. Type your password once more to go on.", count=left)
            g.notice = Words(_("Your account has many photos"), text)
            return _show_erasure(form)
    erase_owner(application_state.current_catalog(), account, current_actor())
    session.clear()
    g.pop("csrf_token", None)
    flash(_ERASED[form.photos.data])
    response = make_response(redirect(url_for("login.show_login"), 303))
    drop_session(response)
    return response


def _show_password(form: Any, status: int = 200) -> Response:
    return respond("pages/password.html", status, form=form)


def _show_erasure(form: Any, status: int = 200) -> Response:
    return respond("pages/erase_account.html", status, form=form)
