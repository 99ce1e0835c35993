"""What templates call: times, shares and answers in words."""

from datetime import UTC, datetime

from flask import Flask
from flask_babel import format_date, format_datetime, format_percent, get_locale
from flask_babel import gettext as _
from jinja2 import StrictUndefined
from markupsafe import Markup, escape
from wtforms import Field

from ml.reporting.answered_photos.shown_answers import GivenOpinion
from webapi.access.authentication import current_account, has_role
from webapi.pages.page_words.languages import LANGUAGES
from webapi.request_ids import current_request_id

_SURE = 0.9
_RATHER_SURE = 0.7
_UNSURE = 0.5


def init_app(app: Flask) -> None:
    """Give templates these functions."""
    app.jinja_env.undefined = StrictUndefined
    app.jinja_env.filters.update(moment=write_moment, day=format_date, percent=write_percent)
    app.jinja_env.globals.update(
        attributes_of=attributes_of,
        how_sure=how_sure,
        said=say_opinion,
        role_words=role_words,
        batch_state=batch_state,
        navigation=navigation,
        request_id=current_request_id,
        languages=LANGUAGES,
        language=lambda: str(get_locale()),
    )


def navigation() -> list[tuple[str, str]]:
    """Return the pages in the menu of the account: endpoint and words."""
    reviews = [("reviewing.show_queues", str(_("Review"))), ("dashboard.show_dashboard", str(_("Dashboard")))]
    models = [("versions.show_versions", str(_("Models")))]
    return [
        ("naming.show_naming", str(_("Name a photo"))),
        ("many.show_many", str(_("Many photos"))),
        ("own_photos.show_photos", str(_("My photos"))),
        *(reviews if has_role(current_account(), "expert") else []),
        *(models if has_role(current_account(), "admin") else []),
        ("account.show_account", str(_("My account"))),
    ]


def role_words(role: str) -> str:
    """Return a role in the reader's language."""
    return str({"user": _("user"), "expert": _("expert"), "admin": _("admin")}[role])


def batch_state(state: str) -> str:
    """Return what a batch does in the reader's language."""
    return str({"working": _("under way"), "finished": _("done"), "cancelled": _("cancelled")}[state])


def attributes_of(field: Field, hint: str, more: dict[str, object]) -> dict[str, object]:
    """Return the attributes of a form's field: those that a template wants, and what screen readers need."""
    attributes = dict(more)
    if field.errors:
        attributes["aria-invalid"] = "true"
    if field.errors or hint:
        attributes["aria-describedby"] = f"{field.id}-more"
    return attributes


def write_moment(moment: datetime) -> Markup:
    """Write a time in UTC. A script shows it in the reader's zone."""
    in_utc = moment.astimezone(UTC)
    words = f"{format_datetime(in_utc, 'medium')} UTC"
    return Markup('<time datetime="{}">{}</time>').format(in_utc.isoformat(timespec="seconds"), escape(words))


def write_percent(share: float) -> str:
    """Write a share from 0 to 1 as a percentage with one decimal."""
    return str(format_percent(share, "#,##0.0 %" if str(get_locale()) == "fr" else "#,##0.0%"))


def how_sure(confidence: float) -> str:
    """Say in words how sure an answer is. Args: confidence, 0 to 1."""
    if confidence >= _SURE:
        return str(_("I am very sure."))
    if confidence >= _RATHER_SURE:
        return str(_("I am rather sure."))
    if confidence >= _UNSURE:
        return str(_("I am not sure: it could well be something else."))
    return str(_("This is hardly more than a guess."))


def say_opinion(opinion: GivenOpinion, predicted: str | None) -> str:
    """Say in words what a person said of an answer."""
    if opinion.verdict == "ok":
        return str(_("You said: right, it is %(name)s.", name=predicted or ""))
    if opinion.corrected_label is not None:
        return str(_("You said: wrong, it is %(name)s.", name=opinion.corrected_label))
    if opinion.proposed_name is not None:
        return str(_("You said: wrong, it is another species: %(name)s.", name=opinion.proposed_name))
    words = {
        "other": _("You said: wrong, it is another species."),
        "none": _("You said: wrong, it is none of the species."),
        "unsure": _("You said: wrong, but you are not sure what it is."),
    }
    return str(words.get(opinion.instead or "", _("You said: wrong.")))
