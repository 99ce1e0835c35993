"""The form of the login page."""

from flask_babel import lazy_gettext as _
from flask_wtf import FlaskForm
from wtforms import HiddenField, PasswordField, StringField
from wtforms.validators import InputRequired, Length

from webapi.pages.page_words.field_labels import FIELD_LABELS


class LoginForm(FlaskForm):  # type: ignore[misc]
    """A login, its password, the page to go to, and what was typed there before a session ended."""

    login = StringField(FIELD_LABELS["login"], [InputRequired(_("Type your login.")), Length(max=64)])
    password = PasswordField(_("Password"), [InputRequired(_("Type your password.")), Length(max=1024)])
    next = HiddenField()
    kept = HiddenField()
