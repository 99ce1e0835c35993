"""A challenger in shadow: what it would have answered to the uploads of the last days, beside the champion."""

from flask import Response

from ml.errors import CursorError
from ml.evaluation.shadowing.shadow_figures import DifferentPage, read_different, read_figures
from webapi import application_state
from webapi.application_state import current_catalog
from webapi.pages.form_pages import page_argument
from webapi.pages.page_blueprints import new_pages, page
from webapi.pages.page_responses import respond
from webapi.pages.page_words.shadow_sentences import describe_change, judge_answers, list_figures, list_judged

pages = new_pages("shadow", __name__)

_PAGE_SIZE = 24


@pages.get("/versions/<int:version>/shadow")
@page("admin")
def show_shadow(version: int) -> Response:
    """Show the figures of a challenger, and the photos on which it differs from the champion."""
    settings = application_state.current().settings
    figures = read_figures(current_catalog(), settings.task, version)
    change = _read_change()
    found = None if figures is None else _read_page(version, change)
    return respond(
        "pages/shadow.html",
        version=version,
        figures=figures,
        days=settings.shadow_days,
        facts=[] if figures is None else list_figures(figures),
        judged=[] if figures is None else list_judged(figures),
        found=found,
        change=change,
        is_first=page_argument("from") is None,
        describe_change=describe_change,
        judge_answers=judge_answers,
    )


def _read_change() -> tuple[str, str] | None:
    """Return the classes of champion and challenger that the page is limited to."""
    was, now = page_argument("was"), page_argument("now")
    return None if was is None or now is None else (was, now)


def _read_page(version: int, change: tuple[str, str] | None) -> DifferentPage:
    try:
        return read_different(current_catalog(), version, _PAGE_SIZE, page_argument("from"), change)
    except CursorError:  # an old or mistyped address: show the latest photos
        return read_different(current_catalog(), version, _PAGE_SIZE, None, change)
