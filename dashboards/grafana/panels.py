"""Panels and variables in Grafana's JSON (schema of Grafana 12, grafana-clickhouse-datasource 4)."""

from dataclasses import dataclass, field
from typing import Any, Final

CLICKHOUSE: Final = {"type": "grafana-clickhouse-datasource", "uid": "phonemeter-clickhouse"}
PROMETHEUS: Final = {"type": "prometheus", "uid": "phonemeter-prometheus"}

WIDTH: Final = 24
_TIME_SERIES, _TABLE = 0, 1

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Panel:
    """One panel.

    Attributes:
        title: what it shows.
        kind: Grafana's panel type.
        query: SQL for ClickHouse, or PromQL if `prometheus`.
        width, height: in grid units; a row is 24 wide.
        unit: Grafana's unit of the values.
        stacked: whether a time series is drawn as stacked bars.
        description: what a reader may have to know.
        units: units of single columns, by name.
    """

    title: str
    kind: str
    query: str
    width: int
    height: int = 8
    unit: str = "short"
    stacked: bool = False
    description: str = ""
    prometheus: bool = False
    units: dict[str, str] = field(default_factory=dict)


def query_variable(name: str, label: str, sql: str, *, multi: bool) -> Json:
    """A variable whose choices come from ClickHouse."""
    return {
        "name": name,
        "label": label,
        "type": "query",
        "datasource": CLICKHOUSE,
        "query": sql,
        "definition": sql,
        "refresh": 2,
        "sort": 1,
        "multi": multi,
        "includeAll": multi,
        "current": {"text": ["All"], "value": ["$__all"]} if multi else {},
        "options": [],
    }


def choice_variable(name: str, label: str, choices: tuple[str, ...]) -> Json:
    """A variable with fixed choices, all of them chosen at first."""
    return {
        "name": name,
        "label": label,
        "type": "custom",
        "query": ",".join(choices),
        "multi": True,
        "includeAll": True,
        "current": {"text": ["All"], "value": ["$__all"]},
        "options": [{"text": choice, "value": choice, "selected": False} for choice in choices],
    }


def laid_out(panels: tuple[Panel, ...]) -> list[Json]:
    """The panels in reading order, as many in a row as fit."""
    placed: list[Json] = []
    x = y = row_height = 0
    for number, panel in enumerate(panels, start=1):
        if x + panel.width > WIDTH:
            x, y, row_height = 0, y + row_height, 0
        placed.append(_panel(number, panel, {"x": x, "y": y, "w": panel.width, "h": panel.height}))
        x += panel.width
        row_height = max(row_height, panel.height)
    return placed


def _panel(number: int, panel: Panel, place: dict[str, int]) -> Json:
    return {
        "id": number,
        "title": panel.title,
        "description": panel.description,
        "type": panel.kind,
        "datasource": PROMETHEUS if panel.prometheus else CLICKHOUSE,
        "gridPos": place,
        "targets": [_prometheus_target(panel) if panel.prometheus else _clickhouse_target(panel)],
        "fieldConfig": {
            "defaults": {"unit": panel.unit, "custom": _drawing(panel)},
            "overrides": [
                {
                    "matcher": {"id": "byName", "options": name},
                    "properties": [{"id": "unit", "value": unit}],
                }
                for name, unit in panel.units.items()
            ],
        },
        "options": _options(panel),
    }


def _clickhouse_target(panel: Panel) -> Json:
    series = panel.kind == "timeseries"
    return {
        "refId": "A",
        "datasource": CLICKHOUSE,
        "editorType": "sql",
        "queryType": "timeseries" if series else "table",
        "format": _TIME_SERIES if series else _TABLE,
        "rawSql": panel.query,
    }


def _prometheus_target(panel: Panel) -> Json:
    return {"refId": "A", "datasource": PROMETHEUS, "expr": panel.query, "legendFormat": "__auto"}


def _drawing(panel: Panel) -> Json:
    if panel.kind != "timeseries":
        return {}
    if panel.stacked:
        return {"drawStyle": "bars", "fillOpacity": 80, "stacking": {"mode": "normal", "group": "A"}}
    return {"drawStyle": "line", "fillOpacity": 10}


def _options(panel: Panel) -> Json:
    if panel.kind == "timeseries":
        return {"tooltip": {"mode": "multi", "sort": "desc"}, "legend": {"displayMode": "list"}}
    if panel.kind == "stat":
        calcs = ["lastNotNull"]
        return {"reduceOptions": {"calcs": calcs, "values": not panel.prometheus}, "graphMode": "none"}
    return {}
