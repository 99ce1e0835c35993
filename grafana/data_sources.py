"""The data sources, with their uids from grafana/provisioning/datasources/mycoflow.yml, and queries to them."""

from typing import Any, Self

from grafana_foundation_sdk.builders import prometheus
from grafana_foundation_sdk.cog.builder import Builder
from grafana_foundation_sdk.cog.runtime import DataqueryConfig
from grafana_foundation_sdk.cog.variants import Dataquery
from grafana_foundation_sdk.models.dashboard import DataSourceRef
from grafana_foundation_sdk.models.prometheus import PromQueryFormat

PROMETHEUS = DataSourceRef("prometheus", "mycoflow-prometheus")
POSTGRESQL = DataSourceRef("grafana-postgresql-datasource", "mycoflow-postgresql")
ALERTMANAGER = DataSourceRef("alertmanager", "mycoflow-alertmanager")
ALERTMANAGER_NAME = "Alertmanager"  # the panel that lists alerts needs the name
GRAFANA = DataSourceRef("grafana", "-- Grafana --")  # Grafana's own annotations
MIXED = DataSourceRef("datasource", "-- Mixed --")


class SqlQuery(Dataquery):
    """A query of Grafana's PostgreSQL plugin, for which the SDK has no type.

    Args:
        sql: with the plugin's macros, such as $__timeFilter.
        format_val: table, or time_series, which has a column `time` and one row per `metric` and time.
        ref_id: letter of the query within its panel.
    Source: SQLQuery in Grafana's packages/grafana-sql/src/types.ts.
    """

    def __init__(self, sql: str, format_val: str, ref_id: str = "A") -> None:
        self.sql, self.format_val, self.ref_id = sql, format_val, ref_id

    def to_json(self) -> dict[str, object]:
        """Return JSON in the format of the plugin."""
        return {
            "datasource": POSTGRESQL,
            "editorMode": "code",
            "format": self.format_val,
            "rawQuery": True,
            "rawSql": self.sql,
            "refId": self.ref_id,
        }

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Self:
        """Read the output of to_json."""
        return cls(data["rawSql"], data["format"], data["refId"])


SQL_QUERY_CONFIG = DataqueryConfig(identifier=str(POSTGRESQL.type_val), from_json_hook=SqlQuery.from_json)


class _Built(Builder[Dataquery]):
    """A builder for a finished query, because panels take only builders."""

    def __init__(self, query: Dataquery) -> None:
        self._query = query

    def build(self) -> Dataquery:
        return self._query


def sql_table(sql: str) -> Builder[Dataquery]:
    """Return a query for rows."""
    return _Built(SqlQuery(sql, "table"))


def sql_series(sql: str, ref_id: str = "A") -> Builder[Dataquery]:
    """Return a query for figures over time, from the columns time, value and optionally metric."""
    return _Built(SqlQuery(sql, "time_series", ref_id))


def promql(expression: str, legend: str = "", ref_id: str = "A") -> Builder[Dataquery]:
    """Return a query for figures over time. Args: legend, with labels as {{label}}."""
    query = prometheus.Dataquery().expr(expression).range().ref_id(ref_id).datasource(PROMETHEUS)
    return query.legend_format(legend) if legend else query


def promql_now(expression: str, legend: str = "", ref_id: str = "A") -> Builder[Dataquery]:
    """Return a query for the current figures."""
    query = prometheus.Dataquery().expr(expression).instant().ref_id(ref_id).datasource(PROMETHEUS)
    return query.legend_format(legend) if legend else query


def promql_buckets(expression: str) -> Builder[Dataquery]:
    """Return a query for a histogram's buckets over time, by their label `le`."""
    query = prometheus.Dataquery().expr(expression).range().ref_id("A").datasource(PROMETHEUS)
    return query.format(PromQueryFormat.HEATMAP).legend_format("{{le}}")
