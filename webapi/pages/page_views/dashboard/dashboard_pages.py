"""The dashboard: what is wrong now, and figures over time. The figures are tables here, and JSON for the script."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

from flask import Response, current_app
from flask_babel import gettext as _
from pydantic import BaseModel

from ml.data.class_lists.class_search import search_key
from ml.reporting.figures_over_time.reading import ClassInPool, read_balance, read_figures
from ml.reporting.figures_over_time.spans import EARLIEST, LATEST, UTC_ZONE, Span, known_zones
from ml.reporting.figures_over_time.troubles import State, read_state
from webapi import application_state
from webapi.application_state import current_catalog
from webapi.pages.form_pages import page_argument
from webapi.pages.page_blueprints import new_pages, page
from webapi.pages.page_responses import respond
from webapi.pages.page_views.class_pages import read_reviewed_classes
from webapi.pages.page_views.dashboard.charts import MOST_ROWS, Chart, Mark
from webapi.pages.page_views.dashboard.drawn_figures import draw_figures, draw_moves, name_main_figure, tell_move
from webapi.pages.page_words.dashboard_words import tell_troubles
from webapi.problems import ProblemError

pages = new_pages("dashboard", __name__)

_USUAL_DAYS = 90
_YEAR_DAYS = 365
_MOST_CLASSES = 40  # in the table of balance: half of them those with the most images, half those with the fewest
_MOST_NEAR = 5


class Figures(BaseModel):
    """What the script draws.

    Args: first_day, last_day, in the reader's zone; since, until, the same as the ends of the time axis, in seconds
        since 1970.
    """

    first_day: date
    last_day: date
    since: int
    until: int
    charts: list[Chart]
    marks: list[Mark]


@dataclass(frozen=True)
class _Choice:
    """What the reader chose.

    Args: has_start, has_end, whether the days were chosen; typed, a class name that nobody has used.
    """

    span: Span
    has_start: bool
    has_end: bool
    class_name: str | None
    typed: str | None
    near: Sequence[str]


@pages.get("/dashboard")
@page("expert")
def show_dashboard() -> Response:
    """Show what is wrong now, and the figures as tables."""
    settings, catalog = application_state.current().settings, current_catalog()
    state, choice = read_state(catalog, settings), _read_choice()
    figures = read_figures(catalog, settings, choice.span, choice.class_name)
    classes = read_balance(catalog)
    return respond(
        "pages/dashboard.html",
        state=state,
        troubles=tell_troubles(state.troubles),
        choice=choice,
        charts=draw_figures(figures, settings, choice.class_name),
        moves=[(each.at, tell_move(each)) for each in reversed(figures.moves)],
        most_rows=MOST_ROWS,
        figure=name_main_figure(settings),
        threshold=settings.new_images_threshold,
        presets=_list_presets(choice, state),
        balance=_choose_classes(classes, choice.class_name),
        class_count=len(classes),
        most_images=max((each.total for each in classes), default=0),
        recalls={} if state.health.deciding is None else state.health.deciding.per_class,
    )


@pages.get("/dashboard/figures")
@page("expert")
def get_figures() -> Response:
    """Return the figures as JSON."""
    settings, choice = application_state.current().settings, _read_choice()
    figures = read_figures(current_catalog(), settings, choice.span, choice.class_name)
    since, until = choice.span.bounds
    answer = Figures(
        first_day=choice.span.since,
        last_day=choice.span.until,
        since=int(since.timestamp()),
        until=int(until.timestamp()),
        charts=draw_figures(figures, settings, choice.class_name),
        marks=draw_moves(figures.moves),
    )
    response: Response = current_app.response_class(answer.model_dump_json(), mimetype="application/json")
    response.headers["Cache-Control"] = "no-store"
    return response


def _read_choice() -> _Choice:
    zone = page_argument("zone") or UTC_ZONE
    if zone not in known_zones():
        raise ProblemError(422, "invalid-request", "zone: expected the name of a time zone, such as Europe/Paris.")
    chosen_until, chosen_since = _read_day("until"), _read_day("since")
    until = chosen_until or datetime.now(UTC).astimezone(ZoneInfo(zone)).date()
    since = chosen_since or max(until - timedelta(days=_USUAL_DAYS - 1), EARLIEST)
    if since > until:
        raise ProblemError(422, "invalid-request", f"since: expected a day not after {until}, got {since}.")
    typed = (page_argument("class") or "").strip()
    known = read_reviewed_classes()
    found = known.find(typed) if typed else None
    near = known.list_near(typed, _MOST_NEAR) if typed and found is None else []
    unknown = typed if typed and found is None else None
    span, has_start, has_end = Span(since, until, zone), chosen_since is not None, chosen_until is not None
    return _Choice(span, has_start, has_end, found, unknown, near)


def _read_day(name: str) -> date | None:
    text = page_argument(name)
    if text is None:
        return None
    try:
        day = date.fromisoformat(text)
    except ValueError:
        day = date.min
    if not EARLIEST <= day <= LATEST:
        detail = f"{name}: expected a day such as 2026-01-31, from {EARLIEST} to {LATEST}."
        raise ProblemError(422, "invalid-request", detail)
    return day


def _list_presets(choice: _Choice, state: State) -> list[tuple[str, str]]:
    """Return the ranges that end today: first day and words."""
    today = choice.span.day_of(state.at)
    words = {30: _("30 days"), 90: _("90 days"), _YEAR_DAYS: _("1 year"), 3 * _YEAR_DAYS: _("3 years")}
    presets = [((today - timedelta(days=days - 1)).isoformat(), str(text)) for days, text in words.items()]
    first = state.first_check
    return (
        presets
        if first is None
        else [*presets, (choice.span.day_of(first).isoformat(), str(_("Since the first night")))]
    )


def _choose_classes(classes: Sequence[ClassInPool], chosen: str | None) -> list[ClassInPool]:
    """Return the classes by number of images, the chosen one among them; of many classes only the extreme ones."""
    ordered = sorted(classes, key=lambda each: (-each.total, search_key(each.name), each.name))
    if len(ordered) <= _MOST_CLASSES:
        return ordered
    shown = {*ordered[: _MOST_CLASSES // 2], *ordered[-_MOST_CLASSES // 2 :]}
    return [each for each in ordered if each in shown or each.name == chosen]
