"""Shared by all dashboards: links to the others, the time zone, and annotations of events."""

from typing import Any, Self

import sqlalchemy as sa
from grafana_foundation_sdk.builders.dashboard import AnnotationQuery, Dashboard, DashboardLink
from grafana_foundation_sdk.builders.dashboard import AnnotationTarget as AnnotationTargetBuilder
from grafana_foundation_sdk.cog.builder import Builder
from grafana_foundation_sdk.models.dashboard import AnnotationTarget, DashboardCursorSync, DashboardLinkType

from grafana.data_sources import GRAFANA, POSTGRESQL, SqlQuery
from grafana.sql import as_text, shown_time
from ml.catalog.tables import promotions
from ml.reporting.figures_over_time.figure_queries import moves_over_time

TAG = "mycoflow"
MOST_MARKS = 100

_NAME = promotions.c.kind + sa.case(
    (promotions.c.to_version.is_(None), ""), else_=": version " + sa.cast(promotions.c.to_version, sa.Text)
)
_MOVES = as_text(moves_over_time(shown_time, _NAME.label("text"), promotions.c.kind.label("tags")))


class SqlMarks(AnnotationTarget):
    """A database query for annotations. The SDK's own type has only queries of Grafana's annotations."""

    def __init__(self, query: SqlQuery) -> None:
        super().__init__()
        self.query = query

    def to_json(self) -> dict[str, object]:
        """Return JSON in the format of the PostgreSQL plugin."""
        return self.query.to_json()

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Self:
        """Read the output of to_json."""
        return cls(SqlQuery.from_json(data))


class _SqlMarksBuilder(Builder[AnnotationTarget]):
    def __init__(self, sql: str) -> None:
        self._sql = sql

    def build(self) -> AnnotationTarget:
        return SqlMarks(SqlQuery(sql=self._sql, format_val="table", ref_id="Anno"))


def moves() -> AnnotationQuery:
    """Annotations of promotions, rollbacks and external moves, from the journal."""
    return (
        AnnotationQuery()
        .name("Promotions and rollbacks")
        .datasource(POSTGRESQL)
        .enable(True)
        .icon_color("purple")
        .target(_SqlMarksBuilder(_MOVES))
    )


def told(*tags: str) -> AnnotationQuery:
    """Annotations that Mycoflow wrote into Grafana. Args: tags, required in addition to `mycoflow`."""
    target = AnnotationTargetBuilder().limit(MOST_MARKS).match_any(False).tags([TAG, *tags]).type("tags")
    return AnnotationQuery().name("Alerts").datasource(GRAFANA).enable(True).icon_color("orange").target(target)


def dashboard(uid: str, title: str, what: str, since: str) -> Dashboard:
    """Return an empty dashboard. Args: what, its description; since, start of the shown time, such as now-30d."""
    others = DashboardLink("Mycoflow").type(DashboardLinkType.DASHBOARDS).tags([TAG]).include_vars(False)
    return (
        Dashboard(title)
        .uid(uid)
        .description(what)
        .tags([TAG])
        .timezone("utc")
        .time(since, "now")
        .refresh("1m")
        .readonly()
        .tooltip(DashboardCursorSync.CROSSHAIR)
        .link(others.keep_time(False).as_dropdown(False))
    )
