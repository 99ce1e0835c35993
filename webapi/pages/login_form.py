"""The form of the login page."""

from flask_babel import lazy_gettext as _
from flask_wtf import FlaskForm
from wtforms import HiddenField, PasswordField, StringField
from wtforms.validators import InputRequired, Length


class LoginForm(FlaskForm):  # type: ignore[misc]
    """A login, its password, the page to go to, and what was typed there before a session ended."""

    login = StringField(_("Login"), [InputRequired(_("Type your login.")), Length(max=64)])
    password = PasswordField(_("Password"), [InputRequired(_("Type your password.")), Length(max=1024)])
    next = HiddenField()
    kept = HiddenField()
