"""A real Prometheus scrapes the service, and its alerts start and end with the figures in the database."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg2
import pytest
import sqlalchemy as sa
import yaml
from flask import Flask

from ml.catalog.database import Catalog
from ml.catalog.images.label_origins import NewImages
from ml.catalog.models.evaluations import save_monitoring
from ml.catalog.tables import evaluation_sets
from ml.settings import Settings
from tests.monitoring.prometheus_server import Prometheus, eventually, prometheus_on
from webapi import application_state

RULES = Path(__file__).resolve().parents[2] / "prometheus" / "rules"
SHORTENED_FOR = "3s"


@pytest.fixture
def prometheus(metrics_port: int, program: Callable[[str, str], str], tmp_path: Path) -> Iterator[Prometheus]:
    """Prometheus with the real rules. It scrapes every second, and alerts fire after three seconds."""
    rules = [_hurried(file, tmp_path) for file in RULES.glob("*.yml")]
    with prometheus_on(program("prometheus", "prometheus"), {"webapi": metrics_port}, tmp_path, rules) as running:
        yield running


def test_the_alert_on_a_low_accuracy_is_pending_then_firing_and_ends_on_recovery(
    prometheus: Prometheus, add_champion: Callable[..., None], catalog: Catalog
) -> None:
    add_champion(1, 0.91)
    save_night(catalog, 0.91)
    assert eventually(lambda: prometheus.values("mycoflow_deciding_accuracy") == [0.91])
    assert eventually(lambda: alerts(prometheus) == {})  # before the first scrape, the service counts as absent

    add_champion(1, 0.60)
    save_night(catalog, 0.60)
    assert eventually(lambda: alerts(prometheus) == {"AccuracyBelowFloor": "pending"})
    assert eventually(lambda: alerts(prometheus) == {"AccuracyBelowFloor": "firing"})

    add_champion(1, 0.92)
    assert eventually(lambda: alerts(prometheus) == {})


def test_an_outage_of_the_database_raises_an_alert_and_ends_no_other(
    prometheus: Prometheus, add_champion: Callable[..., None], catalog: Catalog, settings: Settings
) -> None:
    add_champion(1, 0.60)
    save_night(catalog, 0.60)
    assert eventually(lambda: alerts(prometheus) == {"AccuracyBelowFloor": "firing"})
    with away(settings):
        assert eventually(lambda: alerts(prometheus) == {"AccuracyBelowFloor": "firing", "DatabaseDown": "firing"})
        assert prometheus.values("mycoflow_database_up") == [0]
        assert prometheus.values("mycoflow_deciding_accuracy") == []
        assert prometheus.values('up{job="webapi"}') == [1]
    assert eventually(lambda: alerts(prometheus) == {"AccuracyBelowFloor": "firing"})


def test_a_service_that_stops_raises_an_alert(prometheus: Prometheus, app: Flask) -> None:
    assert eventually(lambda: prometheus.values('up{job="webapi"}') == [1] and alerts(prometheus) == {})
    application_state.current(app).metrics.close()
    assert eventually(lambda: alerts(prometheus) == {"ServiceDown": "firing"})


def alerts(prometheus: Prometheus) -> dict[str, str]:
    """Return all alerts except ChampionNotServed: no version is served in these tests."""
    return {name: state for name, state in prometheus.alerts().items() if name != "ChampionNotServed"}


def save_night(catalog: Catalog, accuracy: float) -> None:
    """Write the rows of a nightly check."""
    with catalog.begin() as connection:
        set_version = connection.execute(sa.select(evaluation_sets.c.version)).scalar_one()
        save_monitoring(connection, 1, set_version, accuracy, [], NewImages(3, 1), [], {})


@contextmanager
def away(settings: Settings) -> Iterator[None]:
    """During the block, the server refuses connections to the database, and closes the open ones."""
    assert settings.database_url is not None
    url = sa.make_url(settings.database_url.get_secret_value())
    connection = psycopg2.connect(_shown(url.set(drivername="postgresql", database="postgres")))
    connection.autocommit = True
    with connection.cursor() as cursor:
        cursor.execute(f"ALTER DATABASE {url.database} ALLOW_CONNECTIONS false")
        cursor.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", (url.database,))
        yield
        cursor.execute(f"ALTER DATABASE {url.database} ALLOW_CONNECTIONS true")
    connection.close()


def _shown(url: sa.URL) -> str:
    return url.render_as_string(hide_password=False)


def _hurried(file: Path, folder: Path) -> Path:
    """Copy a file of rules, with seconds instead of minutes and hours in `for`."""
    rules: dict[str, Any] = yaml.safe_load(file.read_text())
    for rule in (rule for group in rules["groups"] for rule in group["rules"] if "for" in rule):
        rule["for"] = SHORTENED_FOR
    hurried = folder / file.name
    hurried.write_text(yaml.safe_dump(rules))
    return hurried
