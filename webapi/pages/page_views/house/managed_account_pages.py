"""Accounts: list, add, change the role, set a new password, disable, erase."""

from typing import Any

from flask import Response, flash, make_response, redirect, url_for
from flask_babel import gettext as _
from flask_babel import lazy_gettext
from flask_wtf import FlaskForm
from wtforms import SelectField, StringField
from wtforms.validators import Regexp

from ml.errors import AccountError
from ml.upkeep import managed_accounts
from ml.upkeep.erasing import erase_login
from ml.upkeep.role_changes import assign_role
from webapi.access.authentication import current_account, current_actor
from webapi.application_state import current_catalog
from webapi.pages.form_pages import prefill
from webapi.pages.page_blueprints import new_pages, page
from webapi.pages.page_responses import respond
from webapi.pages.page_words.field_labels import FIELD_LABELS
from webapi.pages.page_words.template_words import role_words

pages = new_pages("managed_accounts", __name__)

_ROLES = [("user", lazy_gettext("user")), ("expert", lazy_gettext("expert")), ("admin", lazy_gettext("admin"))]
_FORM = lazy_gettext("Use 1 to 64 small letters, digits or . _ @ -, with a letter or digit first.")


class NewAccountForm(FlaskForm):  # type: ignore[misc]
    """A login and a role. The service makes the password."""

    login = StringField(FIELD_LABELS["login"], [Regexp(r"[a-z0-9][a-z0-9._@-]{0,63}\Z", message=_FORM)])
    role = SelectField(lazy_gettext("Role"), choices=_ROLES, default="user")


class RoleForm(FlaskForm):  # type: ignore[misc]
    """A role."""

    role = SelectField(lazy_gettext("Role"), choices=_ROLES)


@pages.get("/house/accounts")
@page("admin")
def show_accounts() -> Response:
    """Show all accounts, and the form for another one."""
    return _show_accounts(NewAccountForm(formdata=prefill()))


@pages.post("/house/accounts")
@page("admin")
def add_account() -> Response:
    """Add an account, and show its password, this once."""
    form = NewAccountForm()
    if not form.validate():
        return _show_accounts(form, 422)
    login, password = form.login.data, managed_accounts.make_password()
    try:
        managed_accounts.create_account(current_catalog(), login, form.role.data, password, current_actor())
    except AccountError:
        form.login.errors = [_("This login is taken. Choose another.")]
        return _show_accounts(form, 422)
    return respond("pages/new_password.html", login=login, password=password, is_new=True)


@pages.get("/house/accounts/<login>")
@page("admin")
def show_managed(login: str) -> Response:
    """Show an account, and what can be done with it."""
    return _show_managed(login, RoleForm(formdata=prefill()))


@pages.post("/house/accounts/<login>")
@page("admin")
def give_role(login: str) -> Response:
    """Give an account another role."""
    form = RoleForm()
    if not form.validate():
        return _show_managed(login, form, 422)
    account = assign_role(current_catalog(), login, form.role.data, current_actor())
    flash(_("%(login)s has the role %(role)s now.", login=account.login, role=role_words(account.role)))
    return _to_account(login)


@pages.get("/house/accounts/<login>/password")
@page("admin")
def ask_to_reset(login: str) -> Response:
    """Ask whether an account shall get a new password."""
    return _ask("pages/reset_account.html", login)


@pages.post("/house/accounts/<login>/password")
@page("admin")
def reset_password(login: str) -> Response:
    """Give an account a new password, and show it, this once. A disabled account is enabled again."""
    password = managed_accounts.make_password()
    managed_accounts.reset(current_catalog(), login, password, current_actor())
    return respond("pages/new_password.html", login=login, password=password, is_new=False)


@pages.get("/house/accounts/<login>/disable")
@page("admin")
def ask_to_disable(login: str) -> Response:
    """Ask whether an account shall be disabled."""
    return _ask("pages/disable_account.html", login)


@pages.post("/house/accounts/<login>/disable")
@page("admin")
def disable_account(login: str) -> Response:
    """Disable an account. Its sessions end."""
    managed_accounts.disable(current_catalog(), login, current_actor())
    flash(_("%(login)s is disabled, and logged out everywhere.", login=login))
    return _to_account(login)


@pages.get("/house/accounts/<login>/erase")
@page("admin")
def ask_to_erase_other(login: str) -> Response:
    """Ask whether an account shall be erased."""
    return _ask("pages/erase_other.html", login)


@pages.post("/house/accounts/<login>/erase")
@page("admin")
def erase_other_account(login: str) -> Response:
    """Erase an account for good."""
    erase_login(current_catalog(), login, current_actor())
    flash(_("The account %(login)s is erased.", login=login))
    return make_response(redirect(url_for("managed_accounts.show_accounts"), 303))


def _show_accounts(form: Any, status: int = 200) -> Response:
    stored = managed_accounts.list_accounts(current_catalog())
    return respond("pages/accounts.html", status, form=form, stored=stored)


def _show_managed(login: str, form: Any, status: int = 200) -> Response:
    stored = managed_accounts.read_account(current_catalog(), login)
    if form.role.data is None:
        form.role.data = stored.account.role
    return respond("pages/managed_account.html", status, form=form, stored=stored, is_own=_is_own(login))


def _ask(template: str, login: str) -> Response:
    stored = managed_accounts.read_account(current_catalog(), login)
    return respond(template, stored=stored, is_own=_is_own(login))


def _is_own(login: str) -> bool:
    return current_account().login == login


def _to_account(login: str) -> Response:
    return make_response(redirect(url_for("managed_accounts.show_managed", login=login), 303))
