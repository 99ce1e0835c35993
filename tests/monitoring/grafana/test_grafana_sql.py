"""The SQL of every panel returns data in the right form, as grafana_ro on the real schema."""

import re
from collections.abc import Iterator
from datetime import datetime
from typing import Any

import pytest
import sqlalchemy as sa

from ml.settings import Settings

TIME_FILTER = r"\$__timeFilter\((.+?)\)"
LAST_DAYS = r"\1 BETWEEN now() - interval '30 days' AND now() + interval '1 hour'"


@pytest.fixture(scope="module")
def panel_reader(filled_settings: Settings) -> Iterator[sa.Connection]:
    """A connection with the rights of Grafana's data source."""
    assert filled_settings.database_url is not None
    engine = sa.create_engine(filled_settings.database_url.get_secret_value())
    with engine.connect() as connection:
        connection.execute(sa.text("SET ROLE grafana_ro"))
        yield connection
    engine.dispose()


def sql_of(dashboard: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The SQL queries, by dashboard and panel."""
    marks = {f"mark {mark['name']}": mark["target"] for mark in dashboard["annotations"]["list"]}
    targets = {
        f"{panel['title']} {target['refId']}": target
        for panel in dashboard["panels"]
        for target in panel.get("targets", [])
    }
    return {name: target for name, target in {**marks, **targets}.items() if "rawSql" in target}


def run(connection: sa.Connection, sql: str) -> sa.CursorResult[Any]:
    statement = re.sub(TIME_FILTER, LAST_DAYS, sql)
    assert "$__" not in statement
    return connection.exec_driver_sql(statement.replace("%", "%%"))


def test_every_sql_query_finds_data(dashboards: list[dict[str, Any]], panel_reader: sa.Connection) -> None:
    count = 0
    for dashboard in dashboards:
        for name, target in sql_of(dashboard).items():
            rows = run(panel_reader, target["rawSql"]).mappings().all()
            assert rows, f"{dashboard['title']}: {name} finds nothing"
            if target["format"] == "time_series":
                check_series(rows[-1], f"{dashboard['title']}: {name}")
            count += 1
    assert count >= 20


def check_series(row: sa.RowMapping, name: str) -> None:
    """Check the columns for the plugin's series: a time, optionally the name of the series, and figures."""
    assert isinstance(row["time"], datetime), name
    assert row["time"].tzinfo is not None, name
    figures = {column: value for column, value in row.items() if column not in ("time", "metric")}
    assert figures
    assert all(isinstance(value, int | float) for value in figures.values()), name
    assert "metric" not in row or isinstance(row["metric"], str), name


def test_the_confusion_matrix_names_its_classes(dashboards: list[dict[str, Any]], panel_reader: sa.Connection) -> None:
    (quality,) = [dashboard for dashboard in dashboards if dashboard["uid"] == "mycoflow-model-quality"]
    rows = run(panel_reader, sql_of(quality)["Confusion A"]["rawSql"]).all()
    assert rows == [("a", "a", 9), ("a", "b", 1), ("b", "a", 3), ("b", "b", 7)]


def test_the_accuracy_panel_has_only_versions_that_were_in_production(
    dashboards: list[dict[str, Any]], panel_reader: sa.Connection
) -> None:
    (quality,) = [dashboard for dashboard in dashboards if dashboard["uid"] == "mycoflow-model-quality"]
    rows = run(panel_reader, sql_of(quality)["Accuracy A"]["rawSql"]).mappings().all()
    assert {row["metric"] for row in rows} == {"anchor", "recent"}


def test_a_class_without_images_has_no_recall(dashboards: list[dict[str, Any]], panel_reader: sa.Connection) -> None:
    (quality,) = [dashboard for dashboard in dashboards if dashboard["uid"] == "mycoflow-model-quality"]
    rows = run(panel_reader, sql_of(quality)["Recall of each class A"]["rawSql"]).mappings().all()
    assert {row["metric"] for row in rows} == {"a", "b"}


def test_panels_cannot_read_accounts(panel_reader: sa.Connection) -> None:
    with pytest.raises(sa.exc.ProgrammingError, match="permission denied"), panel_reader.begin_nested():
        panel_reader.execute(sa.text("SELECT login FROM users.accounts"))
