"""The page: HTML without other files, so that it can be opened from disk, sent by mail or served."""

from functools import cache

from jinja2 import PackageLoader, Template

from ml.catalog.database import Catalog
from ml.confidence.estimation import Share, observed_accuracy
from ml.evaluation.floor import floor_of, measured_recalls
from ml.figures import NIGHTLY, title_of
from ml.reporting.health import PartFigures
from ml.reporting.report import classes, plots, signals
from ml.reporting.report.colours import of_origin
from ml.reporting.report.facts import Facts, read_facts
from ml.reporting.report.templating import page_environment
from ml.settings import Settings
from ml.tasks.registered_tasks import find_task


def make_report(catalog: Catalog, settings: Settings, in_airflow: bool = False) -> str:
    """Read the facts, and render the page.

    Args: in_airflow, whether Airflow shows the page in a frame of its own page.
    Raises: DatabaseUnavailableError.
    """
    with catalog.begin() as connection:
        facts = read_facts(connection, settings)
    return render(facts, in_airflow)


def render(facts: Facts, in_airflow: bool = False) -> str:
    """Render the page. Equal facts give equal pages."""
    health = facts.health
    page_signals = signals.read_signals(facts)
    return _template().render(
        facts=facts,
        in_airflow=in_airflow,
        health=health,
        floor=facts.settings.accuracy_floor,
        floors=[floor_of(facts.settings).describe(), *_unmeasured_floors(facts)],
        threshold=facts.settings.new_images_threshold,
        signals=page_signals,
        summary=signals.sum_up(page_signals),
        trend={width: _draw_trend(facts, width) for width in (plots.WIDE, plots.NARROW)} if facts.nights else None,
        arrivals={width: plots.draw_arrivals(facts.arrivals, width) for width in (plots.WIDE, plots.NARROW)},
        deciding=health.deciding,
        main_figure=title_of(floor_of(facts.settings).figure),
        further=_further_figures(facts),
        has_interval=find_task(facts.settings.task).counts_right_answers,
        figures=[figure for figure in NIGHTLY if figure.name in health.figures],
    )


def _further_figures(facts: Facts) -> list[str]:
    """Name the task's own figures besides its main one, which all parts have."""
    parts = [set(part.figures) for part in facts.health.parts]
    return sorted(set.intersection(*parts) - {floor_of(facts.settings).figure}) if parts else []


def _draw_trend(facts: Facts, width: int) -> str:
    return plots.draw_trend(facts.nights, facts.moves, facts.at, facts.settings.accuracy_floor, width)


def _unmeasured_floors(facts: Facts) -> list[str]:
    deciding = facts.health.deciding
    return (
        [] if deciding is None else floor_of(facts.settings).describe_unmeasured(measured_recalls(deciding.per_class))
    )


def _interval(part: PartFigures) -> Share | None:
    """Return the interval of a part's accuracy. A part has at least one image, so the interval exists.

    Other main figures are no shares of images, and have none.
    """
    return observed_accuracy(round(part.main_figure * part.image_count), part.image_count)


@cache
def _template() -> Template:
    environment = page_environment(PackageLoader("ml.reporting.report"))
    environment.filters |= {"interval": _interval, "origin_colour": of_origin, "figure_title": title_of}
    environment.globals |= {"classes": classes, "wide": plots.WIDE, "narrow": plots.NARROW}
    return environment.get_template("report.html")
