"""`mycoflow report` on a real catalog with real nights."""

from collections.abc import Callable
from datetime import timedelta
from itertools import pairwise
from pathlib import Path

import pytest
import sqlalchemy as sa
from click.testing import Result
from typer.testing import CliRunner

from ml import cycle
from ml.app import Workspace
from ml.catalog.database import Catalog
from ml.catalog.images.daily_arrivals import arrivals_by_day
from ml.catalog.models.attempt_history import recent_attempts
from ml.catalog.tables import items
from ml.cli.main import app
from ml.ingest.digits import DigitFolders
from ml.ingest.folder import ingest_folder
from ml.reporting.health import read_health
from ml.reporting.report.formats import percent
from ml.settings import Settings
from ml.training.recipes import Retrain

Report = Callable[[Settings, Path], Result]


@pytest.fixture
def report(monkeypatch: pytest.MonkeyPatch) -> Report:
    """Runs `mycoflow report` on a deployment."""

    def run(settings: Settings, file: Path) -> Result:
        assert settings.database_url is not None
        monkeypatch.setenv("MYCOFLOW_HOME", str(settings.mycoflow_home))
        monkeypatch.setenv("DATABASE_URL", settings.database_url.get_secret_value())
        return CliRunner().invoke(app, ["report", "--html", str(file)])

    return run


def test_an_empty_deployment_says_what_to_do_first(settings: Settings, report: Report, tmp_path: Path) -> None:
    result = report(settings, tmp_path / "page.html")
    assert (result.exit_code, "The report is in" in result.output) == (0, True)
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    for advice in ("<code>mycoflow retrain</code>", "<code>mycoflow ingest</code>", "Nothing waits for a person."):
        assert advice in page


def test_a_missing_folder_is_refused(settings: Settings, report: Report, tmp_path: Path) -> None:
    result = report(settings, tmp_path / "nowhere" / "page.html")
    assert (result.exit_code, "a folder that exists" in " ".join(result.output.split())) == (2, True)


def test_after_real_nights_the_report_shows_the_figures_of_the_catalog(
    filled_workspace: Workspace, few_digits: DigitFolders, report: Report, tmp_path: Path
) -> None:
    cycle.retrain(filled_workspace, "first", "the first model", Retrain(snapshot_size=200))
    ingest_folder(filled_workspace.catalog, few_digits.later, "pool")
    cycle.monitor(filled_workspace)
    cycle.measure_drift(filled_workspace)
    with filled_workspace.catalog.begin() as connection:
        health = read_health(connection, filled_workspace.settings)
        (attempt,) = recent_attempts(connection, 10)
    assert health.deciding is not None
    assert (attempt.decision, attempt.was_promoted, attempt.model_version) == ("promote", True, 1)

    assert report(filled_workspace.settings, tmp_path / "page.html").exit_code == 0
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    for part in (
        percent(health.deciding.main_figure),
        "Version 1 is in production",
        f"Its backbone is {health.backbone} with the weights random:0",
        "120 new images",
        "Too few images to compare",
        "the first model",
        "In production: version 1",
    ):
        assert part in page


def test_days_without_arrivals_are_listed_too(catalog: Catalog, few_digits: DigitFolders) -> None:
    ingest_folder(catalog, few_digits.first, "pool")
    with catalog.begin() as connection:
        first = connection.scalars(sa.select(items.c.id).limit(5)).all()
        older = items.c.entered_pool_at - timedelta(days=2)
        connection.execute(sa.update(items).where(items.c.id.in_(first)).values(entered_pool_at=older))
        days = arrivals_by_day(connection, 4)
        latest = arrivals_by_day(connection, 1)
    assert [day.counts for day in days] == [{}, {"curated": 5}, {}, {"curated": 175}]
    assert latest == days[-1:]
    assert [later.day - earlier.day for earlier, later in pairwise(days)] == [timedelta(days=1)] * 3
