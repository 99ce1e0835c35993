"""The kinds of panels in the dashboards, each with the options that all panels of its kind share."""

from collections.abc import Sequence

from grafana_foundation_sdk.builders import barchart, heatmap, stat, statetimeline, statushistory, table, timeseries
from grafana_foundation_sdk.builders.common import ReduceDataOptions, StackingConfig, VizLegendOptions
from grafana_foundation_sdk.builders.dashboard import FieldColor, ThresholdsConfig
from grafana_foundation_sdk.cog.builder import Builder
from grafana_foundation_sdk.cog.variants import Dataquery
from grafana_foundation_sdk.models import units
from grafana_foundation_sdk.models.common import (
    BigValueColorMode,
    BigValueGraphMode,
    FieldTextAlignment,
    GraphDrawStyle,
    LegendDisplayMode,
    LegendPlacement,
    StackingMode,
    VisibilityMode,
)
from grafana_foundation_sdk.models.dashboard import (
    DataSourceRef,
    FieldColorModeId,
    Threshold,
    ThresholdsMode,
)
from grafana_foundation_sdk.models.heatmap import HeatmapColorMode

from grafana.data_sources import MIXED, POSTGRESQL, PROMETHEUS, promql_now

HEIGHT = 8
STAT_HEIGHT = 4
WIDTH = 24  # columns of the grid

Query = Builder[Dataquery]


def thresholds(*steps: tuple[float | None, str]) -> ThresholdsConfig:
    """Return colours by value. Args: steps, (lowest value, colour); the first value is None."""
    return ThresholdsConfig().mode(ThresholdsMode.ABSOLUTE).steps([Threshold(value, colour) for value, colour in steps])


NO_JUDGEMENT = thresholds((None, "blue"))
ZERO_IS_GOOD = thresholds((None, "green"), (1, "orange"))
YES_IS_GOOD = thresholds((None, "red"), (1, "green"))


def number(
    title: str, what: str, expression: str, unit: str = units.Short, steps: ThresholdsConfig = NO_JUDGEMENT
) -> stat.Panel:
    """Return a panel with one current figure; six fit in a row.

    Args: what, the panel's description; expression, PromQL.
    """
    return (
        stat.Panel()
        .title(title)
        .description(what)
        .datasource(PROMETHEUS)
        .with_target(promql_now(expression))
        .unit(unit)
        .thresholds(steps)
        .reduce_options(ReduceDataOptions().calcs(["lastNotNull"]))
        .color_mode(BigValueColorMode.VALUE)
        .graph_mode(BigValueGraphMode.NONE)
        .no_value("none")
        .height(STAT_HEIGHT)
        .span(4)
    )


def lines(
    title: str,
    what: str,
    queries: Sequence[Query],
    unit: str = units.Short,
    source: DataSourceRef = PROMETHEUS,
    span: int = 12,
) -> timeseries.Panel:
    """Return a panel with figures over time, as lines."""
    return (
        timeseries.Panel()
        .title(title)
        .description(what)
        .datasource(source)
        .targets(list(queries))
        .unit(unit)
        .line_width(2)
        .fill_opacity(5)
        .show_points(VisibilityMode.AUTO)
        .legend(
            VizLegendOptions()
            .display_mode(LegendDisplayMode.LIST)
            .placement(LegendPlacement.BOTTOM)
            .show_legend(True)
            .calcs([])
        )
        .height(HEIGHT)
        .span(span)
    )


def nightly_lines(
    title: str, what: str, queries: Sequence[Query], unit: str = units.Short, span: int = 12
) -> timeseries.Panel:
    """Return a panel with one point per night; the line continues over gaps."""
    source = POSTGRESQL if len(queries) == 1 else MIXED
    return lines(title, what, queries, unit, source, span).show_points(VisibilityMode.ALWAYS).span_nulls(True)


def stacked_bars(
    title: str, what: str, queries: Sequence[Query], source: DataSourceRef, unit: str = units.Short, span: int = 12
) -> timeseries.Panel:
    """Return a panel with counts over time, as stacked bars."""
    return (
        lines(title, what, queries, unit, source, span)
        .draw_style(GraphDrawStyle.BARS)
        .fill_opacity(70)
        .line_width(1)
        .stacking(StackingConfig().mode(StackingMode.NORMAL).group("A"))
        .min(0)
    )


def rows(title: str, what: str, query: Query, span: int = WIDTH) -> table.Panel:
    """Return a table with the rows of a database query."""
    return (
        table.Panel()
        .title(title)
        .description(what)
        .datasource(POSTGRESQL)
        .with_target(query)
        .show_header(True)
        .align(FieldTextAlignment.AUTO)
        .inspect(False)
        .height(HEIGHT)
        .span(span)
    )


def bars(title: str, what: str, query: Query, by: str, span: int = 12) -> barchart.Panel:
    """Return a bar chart of counts. Args: by, the column with the names of the bars."""
    return (
        barchart.Panel()
        .title(title)
        .description(what)
        .datasource(POSTGRESQL)
        .with_target(query)
        .x_field(by)
        .stacking(StackingMode.NORMAL)
        .show_value(VisibilityMode.AUTO)
        .height(HEIGHT)
        .span(span)
    )


def shares_by_night(title: str, what: str, query: Query) -> statushistory.Panel:
    """Return a heat map: a row for each metric, a column for each night, from red (0) to green (1)."""
    return (
        statushistory.Panel()
        .title(title)
        .description(what)
        .datasource(POSTGRESQL)
        .with_target(query)
        .unit(units.PercentUnit)
        .min(0)
        .max(1)
        .color_scheme(FieldColor().mode(FieldColorModeId.CONTINUOUS_RD_YL_GR))
        .fill_opacity(70)
        .line_width(1)
        .show_value(VisibilityMode.NEVER)
        .height(HEIGHT)
        .span(WIDTH)
    )


def states(title: str, what: str, query: Query, steps: ThresholdsConfig) -> statetimeline.Panel:
    """Return a timeline of states."""
    return (
        statetimeline.Panel()
        .title(title)
        .description(what)
        .datasource(PROMETHEUS)
        .with_target(query)
        .thresholds(steps)
        .color_scheme(FieldColor().mode(FieldColorModeId.THRESHOLDS))
        .show_value(VisibilityMode.NEVER)
        .merge_values(True)
        .fill_opacity(70)
        .line_width(0)
        .height(HEIGHT)
        .span(12)
    )


def buckets(title: str, what: str, query: Query) -> heatmap.Panel:
    """Return a heat map of a histogram over time."""
    return (
        heatmap.Panel()
        .title(title)
        .description(what)
        .datasource(PROMETHEUS)
        .with_target(query)
        .calculate(False)
        .color(heatmap.HeatmapColorOptions().mode(HeatmapColorMode.SCHEME).scheme("Blues").steps(64))
        .y_axis(heatmap.YAxisConfig().unit(units.PercentUnit))
        .height(HEIGHT)
        .span(12)
    )
