"""The dashboards' JSON: up to date, valid for the SDK's types, and valid for the provisioned data sources."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.cog.plugins import register_default_plugins
from grafana_foundation_sdk.cog.runtime import register_dataquery_variant
from grafana_foundation_sdk.models.dashboard import Dashboard

from grafana.data_sources import SQL_QUERY_CONFIG
from grafana.writing import DASHBOARDS_FOLDER, render_dashboards, write_dashboards

ROOT = Path(__file__).resolve().parents[3]
NAMES = ["mycoflow-data", "mycoflow-model-quality", "mycoflow-nights", "mycoflow-service"]
BUILT_IN = {"-- Grafana --", "-- Mixed --"}
GRID_WIDTH = 24

Json = dict[str, Any]


@pytest.fixture(scope="module")
def sources() -> dict[str, Json]:
    """The provisioned data sources, by uid."""
    provisioned = yaml.safe_load((ROOT / "grafana/provisioning/datasources/mycoflow.yml").read_text())
    return {source["uid"]: source for source in provisioned["datasources"]}


def panels_of(dashboard: Json) -> list[Json]:
    return [panel for panel in dashboard["panels"] if panel["type"] != "row"]


def without_mixtures(dashboard: Json) -> Json:
    """Remove the data source of panels with several: the SDK would read all queries as queries of this source."""
    mixed = {panel["id"] for panel in panels_of(dashboard) if panel["datasource"]["uid"] == "-- Mixed --"}
    kept = [{k: v for k, v in p.items() if k != "datasource" or p["id"] not in mixed} for p in dashboard["panels"]]
    return {**dashboard, "panels": kept}


def test_the_committed_files_are_current() -> None:
    committed = {file.name: file.read_text() for file in DASHBOARDS_FOLDER.glob("*.json")}
    assert committed == render_dashboards(), "Write them anew with `python -m grafana`."


def test_files_of_former_dashboards_are_deleted(tmp_path: Path) -> None:
    (tmp_path / "old.json").write_text("{}")
    write_dashboards(tmp_path)
    assert sorted(file.stem for file in tmp_path.iterdir()) == NAMES


def test_the_types_of_the_sdk_know_everything_in_the_files(dashboards: list[Json]) -> None:
    """Reading into the SDK's types and writing again loses nothing: no option is misspelt, no value is invalid."""
    register_default_plugins()
    register_dataquery_variant(SQL_QUERY_CONFIG)
    for dashboard in dashboards:
        again = json.loads(json.dumps(Dashboard.from_json(without_mixtures(dashboard)), cls=JSONEncoder))
        of_grafana = [mark for mark in again["annotations"]["list"] if mark["datasource"]["uid"] == "-- Grafana --"]
        marks = [mark for mark in dashboard["annotations"]["list"] if "rawSql" not in mark["target"]]
        assert of_grafana == marks  # the SDK has no type for annotations from SQL; test_grafana_sql runs them
        expected = without_mixtures(dashboard)
        assert {**again, "annotations": None} == {**expected, "annotations": None}


def test_every_panel_has_a_description(dashboards: list[Json]) -> None:
    assert [dashboard["uid"] for dashboard in dashboards] == NAMES
    for dashboard in dashboards:
        panels = panels_of(dashboard)
        assert all(panel["title"] and panel["description"] for panel in panels)
        titles = [panel["title"] for panel in panels]
        assert len(titles) == len(set(titles))
        ids = [panel["id"] for panel in dashboard["panels"]]
        assert ids == list(range(1, len(ids) + 1))


def test_panels_fit_the_grid_without_overlap(dashboards: list[Json]) -> None:
    for dashboard in dashboards:
        taken: set[tuple[int, int]] = set()
        for panel in dashboard["panels"]:
            at = panel["gridPos"]
            assert at["x"] + at["w"] <= GRID_WIDTH, panel["title"]
            cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
            assert not cells & taken, panel["title"]
            taken |= cells


def test_every_data_source_is_provisioned_with_its_uid_and_type(
    dashboards: list[Json], sources: dict[str, Json]
) -> None:
    used = [
        asked["datasource"]
        for dashboard in dashboards
        for panel in panels_of(dashboard)
        for asked in [panel, *panel.get("targets", [])]
    ] + [mark["datasource"] for dashboard in dashboards for mark in dashboard["annotations"]["list"]]
    assert {source["uid"] for source in used} - BUILT_IN == set(sources)
    assert all(source["type"] == sources[source["uid"]]["type"] for source in used if source["uid"] not in BUILT_IN)


def test_every_panel_but_the_list_of_alerts_has_a_query(dashboards: list[Json], sources: dict[str, Json]) -> None:
    silent = [panel for dashboard in dashboards for panel in panels_of(dashboard) if not panel.get("targets")]
    assert [panel["type"] for panel in silent] == ["alertGroups"]
    assert silent[0]["options"]["alertmanager"] == sources["mycoflow-alertmanager"]["name"]


def test_every_dashboard_shows_alerts_as_annotations(dashboards: list[Json]) -> None:
    for dashboard in dashboards:
        (told,) = [mark for mark in dashboard["annotations"]["list"] if mark["datasource"]["uid"] == "-- Grafana --"]
        assert "mycoflow" in told["target"]["tags"]
        assert not told["target"]["matchAny"]


def test_a_first_failure_is_counted(dashboards: list[Json], promtool: Callable[..., str], tmp_path: Path) -> None:
    """Airflow's counter of a task's failures does not exist before the first one, so it never grows from 0 to 1."""
    (failed,) = [
        panel for dashboard in dashboards for panel in panels_of(dashboard) if panel["title"] == "Failed tasks"
    ]
    counter = 'airflow_task_finish_total{{dag_id="retrain",task_id="{}",state="failed"}}'
    series = [
        {"series": counter.format("train"), "values": "_x80 1x16"},
        {"series": counter.format("snapshot"), "values": "5x96"},
        {"series": counter.format("register"), "values": "500x47 _x1 500x48"},  # not scraped exactly one day ago
    ]
    expected = {"eval_time": "48h", "exp_samples": [{"labels": "{}", "value": 1}]}
    case = {"expr": failed["targets"][0]["expr"], **expected}
    test = {"interval": "30m", "input_series": series, "promql_expr_test": [case]}
    (tmp_path / "test.yml").write_text(yaml.safe_dump({"tests": [test]}))
    promtool("test", "rules", tmp_path / "test.yml")
