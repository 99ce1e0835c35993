"""Every alert rule has tests, uses existing figures, and links to the guide."""

import json
import re
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client.metrics_core import Metric

from ml.app import open_registry
from ml.catalog.images.label_origins import NewImages
from ml.catalog.models.drift_checks import DriftCheck
from ml.figures import FIGURES, NIGHTLY
from ml.reporting.health import Health, PartFigures
from ml.serving.admission import AdmissionControl
from ml.serving.loaded_model import LoadedModel
from ml.serving.model_host import ModelHost
from ml.serving.serving_cache import ServingCache
from ml.settings import Settings
from ml.tasks.classification.classification_task import TASK
from webapi.telemetry.health_metrics import health_metrics
from webapi.telemetry.metrics import Metrics

ROOT = Path(__file__).resolve().parents[2]
PROMETHEUS = ROOT / "prometheus"
OPERATIONS = ROOT / "docs" / "operations.md"
FROM_PROMETHEUS = {"up"}
METRIC = re.compile(r"\bmycoflow_\w+|\bup\b(?=[{)])")
# The names of a metric in the text format, by its type; people use the first one.
SUFFIXES = {"counter": ["_total"], "info": ["_info"], "histogram": ["", "_bucket", "_count", "_sum"], "gauge": [""]}
NOW = datetime(2026, 5, 1, tzinfo=UTC)


@pytest.fixture(scope="session")
def alerts() -> dict[str, dict[str, Any]]:
    """Every alert by its name."""
    files = [yaml.safe_load(file.read_text()) for file in sorted((PROMETHEUS / "rules").glob("*.yml"))]
    rules = [rule for file in files for group in file["groups"] for rule in group["rules"]]
    return {rule["alert"]: rule for rule in rules}


@pytest.fixture
def metrics(tmp_path: Path, write_bundle: Callable[[Path, int], Path]) -> list[Metric]:
    """All metrics of a service with a complete database."""
    part = PartFigures(
        "recent", 0.9, 10, True, NOW, {"boletus": {"image_count": 10, "recall": 0.9}}, [[9, 1], [0, 0]], []
    )
    drift = DriftCheck(1, *[100] * 6, *[0.1] * 9, ["features"], *[0.9] * 4)
    health = Health(
        champion=1,
        promoted_at=NOW,
        pool={"curated": 1000},
        monitored_at=NOW,
        retrained_at=NOW,
        retraining_seconds=45.0,
        retraining_failed_at=NOW,
        drift_checked_at=NOW,
        quarantined_batches=0,
        waiting_images=0,
        approvals_waiting=0,
        is_promotion_held=False,
        parts=[part],
        snapshot_cutoff=NOW,
        new_images=NewImages(3, 1),
        figures={figure.name: 0.8 for figure in NIGHTLY},
        untried_images=4,
        drift=drift,
    )
    models = ModelHost(
        ServingCache(tmp_path), lambda: open_registry(Settings()), 60, lambda _state: None, TASK, lambda _: None
    )
    models.serve(LoadedModel.load(write_bundle(tmp_path / "1-run", 1), TASK))
    return [*Metrics(models, AdmissionControl(1)).registry.collect(), *health_metrics(health, Settings())]


@pytest.fixture
def exported(metrics: list[Metric]) -> set[str]:
    """The metric names that queries may use."""
    return {metric.name + suffix for metric in metrics for suffix in SUFFIXES[metric.type]}


@pytest.fixture
def documented(metrics: list[Metric]) -> set[str]:
    """The metric names in the guide."""
    return {metric.name + SUFFIXES[metric.type][0] for metric in metrics if metric.name.startswith("mycoflow_")}


def test_the_service_exports_every_gauge_of_the_table_of_figures(metrics: list[Metric]) -> None:
    shown = {metric.name: metric for metric in metrics}
    for figure in (figure for figure in FIGURES if figure.is_gauge):
        assert shown[figure.gauge].documentation == figure.meaning
        assert {tuple(sample.labels) for sample in shown[figure.gauge].samples} == {figure.labels}


def test_the_configuration_is_valid_and_finds_all_rules(
    promtool: Callable[..., str], alerts: dict[str, dict[str, Any]]
) -> None:
    said = promtool("check", "config", "prometheus/prometheus.yml")
    assert sum(map(int, re.findall(r"SUCCESS: (\d+) rules found", said))) == len(alerts)


def test_the_rules_are_valid(promtool: Callable[..., str]) -> None:
    files = list((PROMETHEUS / "rules").glob("*.yml"))
    assert promtool("check", "rules", *files).count("SUCCESS") == len(files)


@pytest.mark.parametrize("file", sorted((PROMETHEUS / "tests").glob("*.yml")), ids=lambda file: file.stem)
def test_each_alert_fires_when_it_should_and_is_silent_when_it_should_not(
    promtool: Callable[..., str], file: Path
) -> None:
    assert "SUCCESS" in promtool("test", "rules", file)


def test_every_alert_has_a_test_in_which_it_fires_and_one_in_which_it_is_silent(
    alerts: dict[str, dict[str, Any]],
) -> None:
    files = [yaml.safe_load(file.read_text()) for file in (PROMETHEUS / "tests").glob("*.yml")]
    cases = [case for file in files for test in file["tests"] for case in test["alert_rule_test"]]
    assert {case["alertname"] for case in cases if case["exp_alerts"]} == set(alerts)
    assert {case["alertname"] for case in cases if not case["exp_alerts"]} == set(alerts)


def test_one_condition_has_one_rule(alerts: dict[str, dict[str, Any]]) -> None:
    written = "".join(file.read_text() for file in (PROMETHEUS / "rules").glob("*.yml"))
    assert sorted(re.findall(r"- alert: (\w+)", written)) == sorted(alerts)
    assert len({" ".join(rule["expr"].split()) for rule in alerts.values()}) == len(alerts)


def test_every_alert_has_a_severity_and_a_link_to_what_to_do(alerts: dict[str, dict[str, Any]]) -> None:
    for name, rule in alerts.items():
        assert rule["labels"]["severity"] in {"critical", "warning"}, name
        assert set(rule["annotations"]) == {"summary", "description", "runbook_url"}, name
        assert rule["annotations"]["runbook_url"] == f"docs/operations.md#{name.lower()}"


def test_every_figure_in_a_rule_is_exported_by_the_service(
    alerts: dict[str, dict[str, Any]], exported: set[str]
) -> None:
    used = {metric for rule in alerts.values() for metric in METRIC.findall(rule["expr"])}
    assert used - exported - FROM_PROMETHEUS == set()


def test_the_operating_guide_explains_every_alert_and_every_figure(
    alerts: dict[str, dict[str, Any]], documented: set[str]
) -> None:
    guide = OPERATIONS.read_text()
    headings = {heading.lower() for heading in re.findall(r"^#+ (.+)$", guide, re.MULTILINE)}
    assert {name for name in alerts if name.lower() not in headings} == set()
    assert {name for name in METRIC.findall(guide) if name.startswith("mycoflow_")} == documented


def test_the_operating_guide_explains_every_dashboard() -> None:
    titles = [json.loads(file.read_text())["title"] for file in (ROOT / "grafana" / "dashboards").glob("*.json")]
    guide = OPERATIONS.read_text()
    assert [title for title in titles if f"*{title}*" not in guide] == []
