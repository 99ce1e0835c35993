"""Render the catalog's figures as HTML."""

from functools import cache
from pathlib import Path

from jinja2 import Environment, FileSystemLoader

from ml.catalog.clock import now
from ml.catalog.database import open_catalog
from ml.errors import MycoflowError
from ml.reporting.health import read_health, recent_nights
from ml.reporting.report.templating import page_environment
from ml.reporting.serving_notices import is_late
from ml.settings import Settings
from model_health import trend

NIGHTS = 30
LISTED = 10


def render_health(settings: Settings) -> str:
    """Read the figures, and render the page.

    Raises: DatabaseUnavailableError, SchemaVersionError, SettingsError.
    """
    with open_catalog(settings) as catalog, catalog.begin() as connection:
        at = now(connection)
        health, nights = read_health(connection, settings), recent_nights(connection, NIGHTS)
    return (
        _templates()
        .get_template("health.html")
        .render(
            at=at,
            health=health,
            is_late=is_late(health, at),
            nights=nights,
            trend=trend.draw_trend(nights, settings.accuracy_floor) if nights else None,
            listed_nights=nights[: -LISTED - 1 : -1],
            floor=settings.accuracy_floor,
            threshold=settings.new_images_threshold,
        )
    )


def render_problem(error: MycoflowError) -> str:
    """Render the error page. It shows the class of the error, not its message."""
    return _templates().get_template("problem.html").render(kind=type(error).__name__)


@cache
def _templates() -> Environment:
    environment = page_environment(FileSystemLoader(Path(__file__).parent / "templates"))
    environment.globals |= {"size": trend}
    return environment
