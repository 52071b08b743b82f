"""The kinds of panels that the pages are made of, over the SDK's builders."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from grafana_foundation_sdk.builders import barchart, heatmap, stat, statetimeline, table, timeseries
from grafana_foundation_sdk.builders.common import (
    HideSeriesConfig,
    LineStyle,
    ReduceDataOptions,
    StackingConfig,
    VizLegendOptions,
    VizTooltipOptions,
)
from grafana_foundation_sdk.builders.dashboard import Dashboard, FieldColor, Row, ThresholdsConfig
from grafana_foundation_sdk.builders.heatmap import CellValues, HeatmapColorOptions, YAxisConfig
from grafana_foundation_sdk.builders.prometheus import Dataquery as PrometheusQuery
from grafana_foundation_sdk.models.common import (
    AxisPlacement,
    BigValueColorMode,
    BigValueGraphMode,
    BigValueTextMode,
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

from dashboards.grafana import clickhouse, prometheus
from dashboards.grafana.prometheus import Targets
from dashboards.grafana.words import Words
from metering.rules import Rules

TEXT: Final = "string"
"""The unit of names: as they are, also where they consist of digits."""
NUMBER: Final = "locale"
"""With separators of thousands."""
YUAN: Final = "currency:financial:¥"
PERCENT: Final = "percent"
TIME: Final = "dateTimeAsIso"
SECONDS: Final = "s"
BYTES: Final = "bytes"
A_SECOND: Final = "count:/s"

_BELOW: Final = ("green", "light-yellow", "yellow", "orange", "red", "dark-red")
_JUST_ABOVE: Final = 0.01


@dataclass(frozen=True, slots=True)
class ResultColumn:
    """One column of a query's result, with its display in a table or as a series.

    Attributes:
        name: what the query calls it.
        title: what the page calls it, in English.
        unit: Grafana's unit; empty for the panel's own, or for TEXT where there are `words` or `patterns`.
        decimals: places behind the point; None for Grafana's choice.
        color, dashed: of a series.
        width: of a table column, in pixels.
        link: where a click on a value leads.
        words: texts for values, each with its color.
        patterns: texts for values that match a regular expression, its groups as $1.
        steps: at which values the cell changes its color.
        gauge: whether the cell is a bar, full at 100.
        hidden: whether it is there for links only.
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
    hidden: bool = False


def from_levels(levels: Sequence[float]) -> ThresholdsConfig:
    """Colors that change at the levels of alerts, highest level first."""
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
    """Colors for run-outs within the default lead time of alerts."""
    return from_levels((Rules().run_out_lead_days, 0))


def any_is_bad() -> ThresholdsConfig:
    """Colors for counts of faults: none is good, one is bad."""
    return from_steps("green", (1, "red"))


def plain() -> ThresholdsConfig:
    """One neutral color."""
    return from_steps("blue")


def ask(*names: str) -> Targets:
    """Queries for tables and single values."""
    return [clickhouse.ClickHouseTarget(name, chr(ord("A") + n)) for n, name in enumerate(names)]


def ask_by_time(*names: str) -> Targets:
    """Queries for time series."""
    return [clickhouse.ClickHouseTarget(name, chr(ord("A") + n)).by_time() for n, name in enumerate(names)]


@dataclass(frozen=True, slots=True)
class Page:
    """A page in one language. Rows and panels are added in reading order."""

    t: Words
    board: Dashboard

    def row(self, title: str) -> None:
        """Add a heading for the panels that follow it."""
        self.board.with_row(Row(self.t(title)))

    def stat(
        self, title: str, about: str, targets: Targets, *, unit: str, steps: ThresholdsConfig, width: int,
        decimals: int | None = None, columns: Sequence[ResultColumn] = (),
    ) -> None:  # fmt: skip
        """Add single values, colored by meaning; each row from ClickHouse is one, by its text column."""
        rows = not isinstance(targets[0], PrometheusQuery)
        panel = (
            stat.Panel()
            .title(self.t(title)).description(self.t(about)).targets(list(targets)).datasource(_source(targets))
            .span(width).height(4).unit(unit).thresholds(steps)
            .reduce_options(ReduceDataOptions().calcs(["lastNotNull"]).values(rows))
            .graph_mode(BigValueGraphMode.NONE).color_mode(BigValueColorMode.VALUE)
        )  # fmt: skip
        if decimals is not None:
            panel.decimals(decimals)
        if any(_unit(column) == TEXT for column in columns):
            panel.text_mode(BigValueTextMode.VALUE_AND_NAME)
        for column in columns:
            panel.override_by_name(column.name, _properties(self.t, column))
        self.board.with_panel(panel)

    def series(
        self, title: str, about: str, targets: Targets, *, unit: str, width: int, height: int = 8,
        stacked: bool = False, columns: Sequence[ResultColumn] = (), steps: ThresholdsConfig | None = None,
    ) -> None:  # fmt: skip
        """Add curves, or stacked bars by day."""
        panel = (
            timeseries.Panel()
            .title(self.t(title)).description(self.t(about)).targets(list(targets)).datasource(_source(targets))
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
            panel.override_by_name(column.name, _properties(self.t, column))
        self.board.with_panel(panel)

    def table(
        self,
        title: str,
        about: str,
        targets: Targets,
        *,
        columns: Sequence[ResultColumn],
        width: int,
        height: int = 8,
    ) -> None:
        """Add a table; every column is named, so that the page is in one language."""
        panel = (
            table.Panel()
            .title(self.t(title)).description(self.t(about)).targets(list(targets)).datasource(_source(targets))
            .span(width).height(height).unit(NUMBER).show_header(show_header=True).filterable(filterable=True)
        )  # fmt: skip
        for column in columns:
            panel.override_by_name(column.name, _properties(self.t, column))
        self.board.with_panel(panel)

    def bars(
        self, title: str, about: str, targets: Targets, *, x: ResultColumn, columns: Sequence[ResultColumn],
        unit: str, width: int, height: int = 8, lying: bool = True, decimals: int | None = None,
    ) -> None:  # fmt: skip
        """Add bars for named things; `x` is the column with the names."""
        panel = (
            barchart.Panel()
            .title(self.t(title)).description(self.t(about)).targets(list(targets)).datasource(_source(targets))
            .span(width).height(height).unit(unit).x_field(self.t(x.title))
            .orientation(VizOrientation.HORIZONTAL if lying else VizOrientation.VERTICAL)
            .show_value(VisibilityMode.AUTO).stacking(StackingMode.NONE).fill_opacity(80)
            .legend(VizLegendOptions().show_legend(len(columns) > 1).display_mode(LegendDisplayMode.LIST)
                    .placement(LegendPlacement.BOTTOM).calcs([]))
            .tooltip(VizTooltipOptions().mode(TooltipDisplayMode.MULTI))
        )  # fmt: skip
        if decimals is not None:
            panel.decimals(decimals)
        for column in (x, *columns):
            panel.override_by_name(column.name, _properties(self.t, column))
        self.board.with_panel(panel)

    def spans(
        self, title: str, about: str, targets: Targets, *, unit: str, steps: ThresholdsConfig, height: int
    ) -> None:
        """Add one bar per series along time, colored by its value; a value below 0 ends it."""
        panel = (
            statetimeline.Panel()
            .title(self.t(title)).description(self.t(about)).targets(list(targets)).datasource(_source(targets))
            .span(24).height(height).unit(unit).thresholds(steps)
            .color_scheme(FieldColor().mode(FieldColorModeId.THRESHOLDS))
            .merge_values(merge_values=True).show_value(VisibilityMode.NEVER).span_nulls(span_nulls=True).fill_opacity(80)
            .legend(VizLegendOptions().show_legend(show_legend=False).display_mode(LegendDisplayMode.LIST)
                    .placement(LegendPlacement.BOTTOM).calcs([]))
        )  # fmt: skip
        self.board.with_panel(panel)

    def heat(self, title: str, about: str, targets: Targets, *, width: int, height: int) -> None:
        """Add days from left to right, the columns of the answer from bottom to top, colored by value."""
        panel = (
            heatmap.Panel()
            .title(self.t(title)).description(self.t(about)).targets(list(targets)).datasource(_source(targets))
            .span(width).height(height).calculate(calculate=False).cell_gap(1)
            .color(HeatmapColorOptions().mode(HeatmapColorMode.SCHEME).scheme("Oranges").steps(32).exponent(0.5)
                   .fill("dark-orange").reverse(reverse=False))
            .cell_values(CellValues().unit(NUMBER)).y_axis(YAxisConfig().axis_placement(AxisPlacement.LEFT))
        )  # fmt: skip
        self.board.with_panel(panel)


def _source(targets: Targets) -> DataSourceRef:
    return prometheus.SOURCE if isinstance(targets[0], PrometheusQuery) else clickhouse.SOURCE


def _unit(column: ResultColumn) -> str:
    return column.unit or (TEXT if column.words or column.patterns else "")


def _properties(t: Words, column: ResultColumn) -> list[DynamicConfigValue]:
    found: dict[str, object] = {"displayName": t(column.title)} | _drawn(column) | _colored(t, column)
    if unit := _unit(column):
        found["unit"] = unit
    if column.decimals is not None:
        found["decimals"] = column.decimals
    if column.width:
        found["custom.width"] = column.width
    if column.hidden:
        hide = HideSeriesConfig().viz(viz=True).legend(legend=True).tooltip(tooltip=True)
        found["custom.hideFrom"] = hide.build()
    if column.link:
        found["links"] = [{"title": t("Open the app's page"), "url": column.link}]
    return [DynamicConfigValue(id_val=name, value=value) for name, value in found.items()]


def _drawn(column: ResultColumn) -> dict[str, object]:
    """The drawing style of a series."""
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


def _colored(t: Words, column: ResultColumn) -> dict[str, object]:
    """The meaning of a cell's value."""
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
