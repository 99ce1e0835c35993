"""The names of classes that fit some letters, for the fields that ask for one."""

from flask import Response, jsonify
from flask_babel import gettext as _

from ml.data.class_lists.class_search import ClassSearch
from webapi import application_state
from webapi.application_state import current_catalog
from webapi.pages.form_pages import page_argument
from webapi.pages.page_blueprints import new_pages, page

pages = new_pages("classes", __name__)

MOST_NAMES = 20
_LONGEST_NAME = 200


@pages.get("/classes")
@page("user")
def list_names() -> Response:
    """List names that an opinion on an answer may give."""
    return _list(application_state.current().classes.read(current_catalog(), served_classes()))


@pages.get("/review/classes")
@page("expert")
def list_reviewed_names() -> Response:
    """List names that a reviewer may give: also those that only a source has used."""
    return _list(read_reviewed_classes())


def read_reviewed_classes() -> ClassSearch:
    """Return the names that a reviewer may give."""
    return application_state.current().classes.read(current_catalog(), served_classes(), with_stated=True)


def served_classes() -> tuple[str, ...]:
    """Return the classes of the model that answers now; none without a model."""
    model = application_state.current().models.current
    return () if model is None else model.card.classes


def _list(known: ClassSearch) -> Response:
    typed = (page_argument("text") or "").strip()[: _LONGEST_NAME + 1]
    names = known.list_matches(typed, MOST_NAMES)
    told = str(_("Names: %(count)s", count=len(names)))
    if not names:
        names = known.list_near(typed, MOST_NAMES)
        told = str(_("No name has these letters. Near it:") if names else _("No name has these letters."))
    return jsonify(names=names, meant=known.find_by_letters(typed), told=told)
