"""Grafana's dashboard: provisioned whole, on metrics that exist, with queries that the engine answers."""

import json
import re
from pathlib import Path
from typing import Any, get_args

import pytest
import yaml

from dashboards.grafana.__main__ import FILE, rendered
from metering.times import DAY_MS
from sinks.metrics import MetricName
from tests.dashboards.conftest import Ledger
from tests.sinks.parts import START_MS

GRAFANA = FILE.parent.parent
DASHBOARD = json.loads(FILE.read_text(encoding="utf-8"))
PANELS: list[dict[str, Any]] = DASHBOARD["panels"]
FROM_S = (START_MS - 2 * DAY_MS) // 1_000
TO_S = (START_MS + 45 * DAY_MS) // 1_000
CHOSEN = {
    "app": ["wx1"],
    "capability": ["quick", "realtime"],
    "store": ["store-01", "store-02", "门店三", ""],
}


def provisioned(name: str) -> Any:  # noqa: ANN401 - whatever the file holds
    return yaml.safe_load((GRAFANA / "provisioning" / name / "phonemeter.yml").read_text(encoding="utf-8"))


def queries(kind: str) -> list[tuple[str, str]]:
    return [
        (panel["title"], target.get("rawSql") or target["expr"])
        for panel in PANELS
        for target in panel["targets"]
        if target["datasource"]["type"] == kind
    ]


def expanded(sql: str) -> str:
    """The query as the plugin sends it: variables first, then the plugin's macros."""
    for name, values in CHOSEN.items():
        quoted = ", ".join(f"'{value}'" for value in values)
        sql = sql.replace(f"${{{name}:singlequote}}", quoted).replace(f"${{{name}}}", values[0])
    sql = re.sub(
        r"\$__timeFilter\(([^)]*)\)", rf"\1 >= toDateTime({FROM_S}) AND \1 <= toDateTime({TO_S})", sql
    )
    sql = sql.replace("$__fromTime", f"toDateTime({FROM_S})").replace("$__toTime", f"toDateTime({TO_S})")
    assert "$" not in sql, sql
    return sql


def test_the_json_is_what_the_code_says() -> None:
    assert FILE.read_text(encoding="utf-8") == rendered(), "run: python -m dashboards.grafana"


def test_data_sources_and_dashboards_are_provisioned_for_what_the_panels_use() -> None:
    sources = {(source["type"], source["uid"]) for source in provisioned("datasources")["datasources"]}
    used = {(panel["datasource"]["type"], panel["datasource"]["uid"]) for panel in PANELS}
    assert used == sources
    (provider,) = provisioned("dashboards")["providers"]
    assert Path(provider["options"]["path"]).name == FILE.parent.name


def test_there_is_a_panel_for_each_question() -> None:
    titles = {panel["title"] for panel in PANELS}
    assert titles >= {
        "Calls by day", "Calls by hour", "By scene", "By store", "Packs", "Next expiry of a pack",
        "Uncovered calls", "Cost by day",
    }  # fmt: skip
    assert [variable["name"] for variable in DASHBOARD["templating"]["list"]] == [
        "app",
        "capability",
        "store",
    ]


def test_no_panels_overlap() -> None:
    taken: set[tuple[int, int]] = set()
    for panel in PANELS:
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not cells & taken, panel["title"]
        assert all(x < 24 for x, _ in cells)
        taken |= cells


def test_prometheus_panels_use_metrics_that_the_sink_has() -> None:
    for title, query in queries("prometheus"):
        names = re.findall(r"phonemeter_sink_\w+", query)
        assert names, title
        assert set(names) <= set(get_args(MetricName)), title


@pytest.mark.stack
@pytest.mark.parametrize(("title", "sql"), queries("grafana-clickhouse-datasource"))
def test_each_panel_gets_rows_from_the_engine(ledger: Ledger, title: str, sql: str) -> None:
    assert ledger.query(expanded(sql)), title


@pytest.mark.stack
def test_the_curve_of_the_dashboard_is_the_use_of_the_app(ledger: Ledger) -> None:
    sql = dict(queries("grafana-clickhouse-datasource"))["Calls by day"]
    rows = ledger.query(expanded(sql))
    assert len(rows) == 48
    charged = sum(e.calls for e in ledger.entries if e.appid == "wx1" and e.kind == "charge")
    assert sum(row[1] for row in rows) == charged


@pytest.mark.stack
@pytest.mark.parametrize("variable", [v for v in DASHBOARD["templating"]["list"] if v["type"] == "query"])
def test_each_variable_has_choices(ledger: Ledger, variable: dict[str, Any]) -> None:
    assert ledger.query(expanded(variable["query"]))
