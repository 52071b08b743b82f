"""The kinds of panels that the pages are made of, over the SDK's builders."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from grafana_foundation_sdk.builders import barchart, heatmap, stat, statetimeline, table, timeseries
from grafana_foundation_sdk.builders.common import (
    LineStyle,
    ReduceDataOptions,
    StackingConfig,
    VizLegendOptions,
    VizTooltipOptions,
)
from grafana_foundation_sdk.builders.dashboard import FieldColor, ThresholdsConfig
from grafana_foundation_sdk.builders.heatmap import HeatmapColorOptions, YAxisConfig
from grafana_foundation_sdk.builders.prometheus import Dataquery as PrometheusQuery
from grafana_foundation_sdk.cog.builder import Builder
from grafana_foundation_sdk.cog.variants import Dataquery
from grafana_foundation_sdk.models.common import (
    AxisPlacement,
    BigValueColorMode,
    BigValueGraphMode,
    DataSourceRef,
    GraphDrawStyle,
    LegendDisplayMode,
    LegendPlacement,
    StackingMode,
    TooltipDisplayMode,
    VisibilityMode,
    VizOrientation,
)
from grafana_foundation_sdk.models.dashboard import (
    DashboardRegexMapOptions,
    DynamicConfigValue,
    FieldColorModeId,
    RegexMap,
    Threshold,
    ThresholdsMode,
    ValueMap,
    ValueMappingResult,
)
from grafana_foundation_sdk.models.heatmap import HeatmapColorMode

from dashboards.grafana import clickhouse
from dashboards.grafana.words import Words
from metering.rules import Rules

PROMETHEUS: Final = DataSourceRef(type_val="prometheus", uid="phonemeter-prometheus")
YUAN: Final = "prefix:¥"

_BELOW: Final = ("green", "light-yellow", "yellow", "orange", "red", "dark-red")
_JUST_ABOVE: Final = 0.01

Targets = Sequence[Builder[Dataquery]]


@dataclass(frozen=True, slots=True)
class Column:
    """How one column of a table, or one series, is shown.

    Attributes:
        name: what the query calls it.
        title: what the page calls it, in English.
        unit: Grafana's unit; empty for the panel's own.
        decimals: places behind the point; None for Grafana's choice.
        color: of a series.
        dashed: whether a series is drawn as a dashed line.
        width: of a table column, in pixels.
        link: where a click on a value leads.
        words: texts for values, each with its color.
        patterns: texts for values that match a regular expression, its groups as $1.
        steps: at which values the cell changes its color.
        gauge: whether the cell is a bar, full at 100.
    """

    name: str
    title: str
    unit: str = ""
    decimals: int | None = None
    color: str = ""
    dashed: bool = False
    width: int = 0
    link: str = ""
    words: tuple[tuple[str, str, str], ...] = ()
    patterns: tuple[tuple[str, str], ...] = ()
    steps: ThresholdsConfig | None = None
    gauge: bool = False


def from_levels(levels: Sequence[float]) -> ThresholdsConfig:
    """Colors that change where an alert would be raised: at each level and below it, highest level first."""
    colors = (
        _BELOW[-len(levels) - 1 :] if len(levels) == len(_BELOW) - 1 else ("green", *_BELOW[-len(levels) :])
    )
    steps = [Threshold(value=None, color=colors[-1])]
    for level, color in zip(reversed(levels), reversed(colors[:-1]), strict=True):
        steps.append(Threshold(value=level + _JUST_ABOVE, color=color))
    return ThresholdsConfig().mode(ThresholdsMode.ABSOLUTE).steps(steps)


def from_steps(base: str, *steps: tuple[float, str]) -> ThresholdsConfig:
    """Colors from values on."""
    return (
        ThresholdsConfig()
        .mode(ThresholdsMode.ABSOLUTE)
        .steps(
            [Threshold(value=None, color=base), *(Threshold(value=at, color=color) for at, color in steps)]
        )
    )


def balance_levels() -> ThresholdsConfig:
    """The levels of a balance, in percent, that alert by default."""
    return from_levels(Rules().alert_levels_percent)


def expiry_days() -> ThresholdsConfig:
    """The days before an expiry that alert by default."""
    return from_levels(Rules().alert_expiry_days)


def run_out_days() -> ThresholdsConfig:
    """Nearer than the lead time that alerts by default."""
    return from_levels((Rules().run_out_lead_days, 0))


def any_is_bad() -> ThresholdsConfig:
    """Nothing is good, one is bad."""
    return from_steps("green", (1, "red"))


def plain() -> ThresholdsConfig:
    """No color that means anything."""
    return from_steps("blue")


def ask(*names: str) -> Targets:
    """Queries for tables and single values."""
    return [clickhouse.Ask(name, chr(ord("A") + n)) for n, name in enumerate(names)]


def ask_by_time(*names: str) -> Targets:
    """Queries for time series."""
    return [clickhouse.Ask(name, chr(ord("A") + n)).by_time() for n, name in enumerate(names)]


def measure(*queries: tuple[str, str]) -> Targets:
    """Prometheus queries: expression and legend, in which labels stand in double braces."""
    return [
        PrometheusQuery()
        .datasource(PROMETHEUS)
        .expr(expr)
        .legend_format(legend)
        .range()
        .ref_id(chr(ord("A") + n))
        for n, (expr, legend) in enumerate(queries)
    ]


def measure_now(expr: str, legend: str) -> Targets:
    """One Prometheus query of which only the newest value matters."""
    return [PrometheusQuery().datasource(PROMETHEUS).expr(expr).legend_format(legend).instant().ref_id("A")]


def stat_panel(
    t: Words, title: str, about: str, targets: Targets, *, unit: str, steps: ThresholdsConfig, width: int,
    decimals: int | None = None, columns: Sequence[Column] = (),
) -> stat.Panel:  # fmt: skip
    """Single values, colored by what they mean. Each row of a ClickHouse answer is a value."""
    rows = not isinstance(targets[0], PrometheusQuery)
    panel = (
        stat.Panel()
        .title(t(title)).description(t(about)).targets(list(targets)).datasource(_source(targets))
        .span(width).height(4).unit(unit).thresholds(steps)
        .reduce_options(ReduceDataOptions().calcs(["lastNotNull"]).values(rows))
        .graph_mode(BigValueGraphMode.NONE).color_mode(BigValueColorMode.VALUE)
    )  # fmt: skip
    if decimals is not None:
        panel.decimals(decimals)
    for column in columns:
        panel.override_by_name(column.name, _properties(t, column))
    return panel


def series_panel(
    t: Words, title: str, about: str, targets: Targets, *, unit: str, width: int, height: int = 8,
    stacked: bool = False, columns: Sequence[Column] = (), steps: ThresholdsConfig | None = None,
) -> timeseries.Panel:  # fmt: skip
    """Curves, or bars by day that stand upon each other."""
    panel = (
        timeseries.Panel()
        .title(t(title)).description(t(about)).targets(list(targets)).datasource(_source(targets))
        .span(width).height(height).unit(unit).min(0)
        .legend(VizLegendOptions().show_legend(show_legend=True).display_mode(LegendDisplayMode.LIST)
                .placement(LegendPlacement.BOTTOM).calcs([]))
        .tooltip(VizTooltipOptions().mode(TooltipDisplayMode.MULTI))
    )  # fmt: skip
    if stacked:
        panel.draw_style(GraphDrawStyle.BARS).fill_opacity(80).line_width(0)
        panel.stacking(StackingConfig().mode(StackingMode.NORMAL).group("A"))
    else:
        panel.draw_style(GraphDrawStyle.LINE).fill_opacity(8).line_width(2)
    if steps is not None:
        panel.thresholds(steps)
    for column in columns:
        panel.override_by_name(column.name, _properties(t, column))
    return panel


def table_panel(
    t: Words,
    title: str,
    about: str,
    targets: Targets,
    *,
    columns: Sequence[Column],
    width: int,
    height: int = 8,
) -> table.Panel:
    """Rows; every column is named, so that the page speaks one language."""
    panel = (
        table.Panel()
        .title(t(title)).description(t(about)).targets(list(targets)).datasource(_source(targets))
        .span(width).height(height).show_header(show_header=True).filterable(filterable=True)
    )  # fmt: skip
    for column in columns:
        panel.override_by_name(column.name, _properties(t, column))
    return panel


def bars_panel(
    t: Words, title: str, about: str, targets: Targets, *, x: Column, columns: Sequence[Column], unit: str,
    width: int, height: int = 8, lying: bool = True, decimals: int | None = None,
) -> barchart.Panel:  # fmt: skip
    """Bars for things that have names; `x` is the column with the names."""
    panel = (
        barchart.Panel()
        .title(t(title)).description(t(about)).targets(list(targets)).datasource(_source(targets))
        .span(width).height(height).unit(unit).x_field(t(x.title))
        .orientation(VizOrientation.HORIZONTAL if lying else VizOrientation.VERTICAL)
        .show_value(VisibilityMode.AUTO).stacking(StackingMode.NONE).fill_opacity(80)
        .legend(VizLegendOptions().show_legend(len(columns) > 1).display_mode(LegendDisplayMode.LIST)
                .placement(LegendPlacement.BOTTOM).calcs([]))
        .tooltip(VizTooltipOptions().mode(TooltipDisplayMode.MULTI))
    )  # fmt: skip
    if decimals is not None:
        panel.decimals(decimals)
    for column in (x, *columns):
        panel.override_by_name(column.name, _properties(t, column))
    return panel


def spans_panel(
    t: Words, title: str, about: str, targets: Targets, *, unit: str, steps: ThresholdsConfig, height: int
) -> statetimeline.Panel:
    """One bar per series along time, colored by its value; a value below 0 ends it."""
    return (
        statetimeline.Panel()
        .title(t(title)).description(t(about)).targets(list(targets)).datasource(_source(targets))
        .span(24).height(height).unit(unit).thresholds(steps)
        .color_scheme(FieldColor().mode(FieldColorModeId.THRESHOLDS))
        .merge_values(merge_values=True).show_value(VisibilityMode.NEVER).span_nulls(span_nulls=True).fill_opacity(80)
        .legend(VizLegendOptions().show_legend(show_legend=False).display_mode(LegendDisplayMode.LIST)
                .placement(LegendPlacement.BOTTOM).calcs([]))
    )  # fmt: skip


def heat_panel(
    t: Words, title: str, about: str, targets: Targets, *, width: int, height: int
) -> heatmap.Panel:
    """Days from left to right, the columns of the answer from bottom to top, colored by value."""
    return (
        heatmap.Panel()
        .title(t(title)).description(t(about)).targets(list(targets)).datasource(_source(targets))
        .span(width).height(height).calculate(calculate=False).cell_gap(1)
        .color(HeatmapColorOptions().mode(HeatmapColorMode.SCHEME).scheme("Oranges").steps(32).exponent(0.5)
               .fill("dark-orange").reverse(reverse=False))
        .y_axis(YAxisConfig().axis_placement(AxisPlacement.LEFT))
    )  # fmt: skip


def _source(targets: Targets) -> DataSourceRef:
    return PROMETHEUS if isinstance(targets[0], PrometheusQuery) else clickhouse.SOURCE


def _properties(t: Words, column: Column) -> list[DynamicConfigValue]:
    found: dict[str, object] = {"displayName": t(column.title)} | _drawn(column) | _colored(t, column)
    if column.unit:
        found["unit"] = column.unit
    if column.decimals is not None:
        found["decimals"] = column.decimals
    if column.width:
        found["custom.width"] = column.width
    if column.link:
        found["links"] = [{"title": t("Open the app's page"), "url": column.link}]
    return [DynamicConfigValue(id_val=name, value=value) for name, value in found.items()]


def _drawn(column: Column) -> dict[str, object]:
    """How a series is drawn."""
    found: dict[str, object] = {}
    if column.color:
        found["color"] = FieldColor().mode(FieldColorModeId.FIXED).fixed_color(column.color).build()
    if column.dashed:
        found |= {
            "custom.drawStyle": GraphDrawStyle.LINE,
            "custom.stacking": StackingConfig().mode(StackingMode.NONE).group("A").build(),
            "custom.lineStyle": LineStyle().fill("dash").dash([6, 4]).build(),
            "custom.lineWidth": 2,
            "custom.fillOpacity": 0,
        }
    return found


def _colored(t: Words, column: Column) -> dict[str, object]:
    """What the value of a cell means."""
    found: dict[str, object] = {}
    if column.words:
        results = {
            value: ValueMappingResult(text=t(text), color=color or None, index=n)
            for n, (value, text, color) in enumerate(column.words)
        }
        found["mappings"] = [ValueMap(results)]
    if column.patterns:
        found["mappings"] = [
            RegexMap(DashboardRegexMapOptions(pattern, ValueMappingResult(text=t(text), index=n)))
            for n, (pattern, text) in enumerate(column.patterns)
        ]
    if column.steps is not None:
        found["thresholds"] = column.steps.build()
        found["color"] = FieldColor().mode(FieldColorModeId.THRESHOLDS).build()
    if column.gauge:
        found |= {"min": 0, "max": 100, "custom.cellOptions": {"type": "gauge", "mode": "basic"}}
    elif column.steps is not None or any(color for *_, color in column.words):
        found["custom.cellOptions"] = {"type": "color-text"}
    return found
