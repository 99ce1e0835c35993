"""What the scrape shows of the catalog, read with the rights of role web."""

import logging
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import sqlalchemy as sa
from flask import Flask
from prometheus_client import generate_latest

from ml.catalog.database import Catalog
from ml.catalog.images.label_origins import NewImages
from ml.catalog.models.drift_checks import DriftCheck, save_drift_check
from ml.catalog.models.evaluations import save_monitoring
from ml.settings import Settings
from tests.ml.image_rows import add_item
from webapi import application_state
from webapi.telemetry import database_metrics
from webapi.telemetry.database_metrics import DatabaseCollector

PassTime = Callable[[float], None]

Scrape = Callable[[], dict[str, float]]

DRIFT = DriftCheck(
    model_version=2,
    reference_images=200,
    recent_images=300,
    reference_features=200,
    recent_features=300,
    calibration_images=0,
    feedback_images=40,
    confidence_psi=0.31,
    confidence_ks=0.2,
    confidence_p_value=0.001,
    class_psi=0.05,
    class_p_value=0.4,
    feature_mmd=None,
    feature_p_value=None,
    novel_share=0.12,
    novelty_p_value=0.3,
    moved=["confidence"],
    estimated_accuracy=None,
    observed_accuracy=0.8,
    observed_accuracy_low=0.7,
    observed_accuracy_high=0.9,
)


@pytest.fixture
def lived(catalog: Catalog, add_champion: Callable[..., None]) -> Catalog:
    """Two promotions, a night, a drift check and one image in the pool."""
    add_champion(1, 0.9)
    add_champion(2, 0.6)
    with catalog.begin() as connection:
        save_monitoring(connection, 2, 1, 0.6, [], NewImages(1, 0), [], {"f1_macro": 0.55})
        save_drift_check(connection, DRIFT)
        label = {"split": "pool", "class_names": ["a"], "label_origin": "curated", "entered_pool_at": sa.func.now()}
        add_item(connection, "0" * 64, **label)
    return catalog


def test_the_catalogs_figures_are_shown(lived: Catalog, scrape: Scrape) -> None:
    figures = scrape()
    expected = {
        "mycoflow_database_up": 1,
        "mycoflow_champion_version": 2,
        "mycoflow_accuracy_floor": 0.7,
        'mycoflow_below_floor{class=""}': 1,
        "mycoflow_new_images_threshold": 500,
        "mycoflow_deciding_accuracy": 0.6,
        "mycoflow_f1_macro": 0.55,
        'mycoflow_model_accuracy{part="anchor"}': 0.65,
        'mycoflow_model_accuracy{part="recent"}': 0.6,
        'mycoflow_class_recall{class="b",part="recent"}': 0.6,
        'mycoflow_new_images{origin="human"}': 1,
        'mycoflow_new_images{origin="harvested"}': 0,
        'mycoflow_pool_images{origin="curated"}': 1,
        "mycoflow_quarantined_batches": 0,
        "mycoflow_waiting_images": 0,
        "mycoflow_approvals_waiting": 0,
        "mycoflow_promotion_held": 0,
        'mycoflow_drift{score="confidence_psi"}': 0.31,
        'mycoflow_drift{score="class_psi"}': 0.05,
        'mycoflow_drift_p_value{of="confidence"}': 0.001,
        'mycoflow_drift_moved{what="confidence"}': 1,
        'mycoflow_drift_moved{what="classes"}': 0,
        'mycoflow_drift_moved{what="features"}': 0,
        "mycoflow_observed_accuracy": 0.8,
        "mycoflow_observed_accuracy_low": 0.7,
        "mycoflow_observed_accuracy_high": 0.9,
    }
    assert {name: figures.get(name) for name in expected} == pytest.approx(expected)
    for name in ("evaluation", "monitoring", "promotion", "drift_check"):
        assert 0 <= time.time() - figures[f"mycoflow_{name}_timestamp_seconds"] < 600


def test_what_is_not_known_is_absent(lived: Catalog, scrape: Scrape) -> None:
    figures = scrape()
    assert 'mycoflow_drift{score="feature_mmd"}' not in figures
    assert 'mycoflow_class_recall{class="a",part="recent"}' not in figures  # no image, so nothing to find
    for name in ("estimated_accuracy", "retraining_timestamp_seconds", "snapshot_cutoff_timestamp_seconds"):
        assert f"mycoflow_{name}" not in figures


def test_an_empty_catalog_shows_only_what_it_has(scrape: Scrape) -> None:
    figures = scrape()
    assert figures["mycoflow_database_up"] == 1
    assert "mycoflow_champion_version" not in figures
    assert "mycoflow_deciding_accuracy" not in figures


def test_figures_are_remembered_for_a_moment(
    app: Flask, settings: Settings, lived: Catalog, add_champion: Callable[..., None], pass_time: PassTime
) -> None:
    collector = DatabaseCollector(
        settings, application_state.current(app).database, remembered_seconds=100, wait_seconds=60
    )
    assert champion(collector) == 2
    add_champion(3, 0.9)
    assert champion(collector) == 2
    pass_time(100)
    assert champion(collector) == 3


def champion(collector: DatabaseCollector) -> float:
    (family,) = (family for family in collector.collect() if family.name == "mycoflow_champion_version")
    return family.samples[0].value


def test_many_scrapes_at_once_read_once(
    app: Flask, settings: Settings, lived: Catalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    readings, read_health = [], database_metrics.read_health

    def note(connection: sa.Connection, settings: Settings) -> Any:
        readings.append(threading.current_thread().name)
        time.sleep(0.2)
        return read_health(connection, settings)

    monkeypatch.setattr(database_metrics, "read_health", note)
    collector = DatabaseCollector(settings, application_state.current(app).database)
    with ThreadPoolExecutor(8) as threads:
        assert set(threads.map(lambda _: champion(collector), range(8))) == {2}
    assert readings == ["database-metrics"]


def test_a_slow_reading_leaves_the_figures_before_for_a_while(
    app: Flask, settings: Settings, lived: Catalog, pass_time: PassTime, monkeypatch: pytest.MonkeyPatch
) -> None:
    collector = DatabaseCollector(
        settings, application_state.current(app).database, 0, wait_seconds=0.5, usable_seconds=600
    )
    while not [family for family in collector.collect() if family.name == "mycoflow_champion_version"]:
        pass  # a busy machine reads for longer than a scrape waits
    over, read_health = threading.Event(), database_metrics.read_health

    def linger(connection: sa.Connection, settings: Settings) -> Any:
        over.wait(60)
        return read_health(connection, settings)

    monkeypatch.setattr(database_metrics, "read_health", linger)
    assert champion(collector) == 2
    pass_time(600)
    assert [family.name for family in collector.collect()] == ["mycoflow_database_up"]
    over.set()


def test_figures_that_cannot_be_read_leave_the_others_and_are_logged_once(
    app: Flask, settings: Settings, lived: Catalog, caplog: pytest.LogCaptureFixture
) -> None:
    with lived.begin() as connection:
        connection.execute(sa.text("REVOKE SELECT ON training.evaluations FROM web"))
    registry = application_state.current(app).metrics.registry
    collector = DatabaseCollector(settings, application_state.current(app).database, remembered_seconds=0)
    with caplog.at_level(logging.WARNING):
        names = [[family.name for family in collector.collect()] for _ in range(3)]
    assert names == [["mycoflow_database_up"]] * 3
    assert len(caplog.records) == 1
    assert "permission denied" in caplog.text
    assert b"mycoflow_database_up 0.0" in generate_latest(registry)
