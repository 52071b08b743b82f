"""The answers to the queries of a page, as tables with named columns or as series over time."""

import json
import re
import time
import urllib.parse
import urllib.request
from collections.abc import Sequence
from datetime import UTC, date, datetime
from typing import Any, NamedTuple

from clickhouse_driver import Client

from dashboards.grafana.clickhouse import statement
from metering.times import DAY_MS, SHANGHAI, from_ms
from tests.dashboards.pages import Json, interpolated

LIVE_S = 20 * 60
STEP_S = 60


class Table(NamedTuple):
    """Rows with named columns."""

    columns: list[str]
    rows: list[tuple[Any, ...]]


class Series(NamedTuple):
    """One curve: points of Unix seconds and values."""

    name: str
    points: list[tuple[float, float]]


class Answers:
    """What ClickHouse and Prometheus say in a time range."""

    def __init__(
        self,
        page: str,
        clickhouse: str,
        prometheus: str | None,
        asked: Json | None = None,
        simulated: tuple[int, int] = (0, 0),
    ) -> None:
        self._client = Client.from_url(clickhouse)
        self._prometheus = prometheus
        now_s = (simulated[0] + simulated[1] * DAY_MS) // 1_000 if asked else int(time.time())
        self.now_s = now_s
        self.from_s = _moment(asked["from"], now_s) if asked else now_s - LIVE_S
        self.to_s = _moment(asked["to"], now_s) if asked else now_s
        self._chosen = self._choices(page)

    def range_text(self) -> str:
        """The time range in Shanghai."""
        return " – ".join(
            f"{from_ms(at_s * 1_000).astimezone(SHANGHAI):%Y-%m-%d %H:%M}"
            for at_s in (self.from_s, self.to_s)
        )

    def table(self, target: Json) -> Table:
        """The rows that a ClickHouse query of a panel gives."""
        sql = interpolated(target["rawSql"], self._chosen, self.from_s, self.to_s)
        rows, columns = self._client.execute(sql, with_column_types=True)
        return Table([name for name, _ in columns], [tuple(map(_plain, row)) for row in rows])

    def series(self, target: Json) -> list[Series]:
        """The curves that a query of a panel gives."""
        if "expr" in target:
            return self._measured(target)
        return as_series(self.table(target))

    def value(self, target: Json) -> float | None:
        """The newest value that a Prometheus query gives."""
        found = self._measured(target) if self._prometheus else []
        return found[0].points[-1][1] if found and found[0].points else None

    def _measured(self, target: Json) -> list[Series]:
        expr = target["expr"].replace("$__rate_interval", "1m")
        query = {"query": expr, "start": self.from_s, "end": self.to_s, "step": STEP_S}
        url = f"{self._prometheus}/api/v1/query_range?{urllib.parse.urlencode(query)}"
        with urllib.request.urlopen(url) as answer:  # noqa: S310 - the address that the caller gave
            found = json.load(answer)["data"]["result"]
        return [
            Series(
                _labelled(target["legendFormat"], one["metric"]),
                [(at, float(value)) for at, value in one["values"] if value != "NaN"],
            )
            for one in found
        ]

    def _choices(self, page: str) -> dict[str, Sequence[str]]:
        """Everything; on the page of one app, the app that has packs of both capabilities and least left."""
        apps = [appid for (appid,) in self._client.execute(statement("var_app"))]
        found = self._client.execute(
            "SELECT appid FROM packs WHERE status = 'active' GROUP BY appid "
            "ORDER BY uniqExact(capability) DESC, sum(packs.remaining) / sum(packs.calls), appid LIMIT 1"
        )
        if page == "app":
            apps = [found[0][0]]
        sql = interpolated(statement("var_store"), {"app": apps}, 0, 0)
        stores = [store for (store,) in self._client.execute(sql)]
        return {"app": apps, "capability": ["quick", "realtime"], "store": stores}


def as_series(table: Table) -> list[Series]:
    """Curves of a table whose first column is the time; texts in it name the curves."""
    texts = [n for n, value in enumerate(table.rows[0]) if isinstance(value, str)] if table.rows else []
    numbers = [n for n in range(1, len(table.columns)) if n not in texts]
    found: dict[str, list[tuple[float, float]]] = {}
    for row in table.rows:
        for n in numbers:
            name = " ".join(row[text] for text in texts) if texts else table.columns[n]
            found.setdefault(name, []).append((seconds(row[0]), float(row[n])))
    return [Series(name, points) for name, points in found.items()]


def seconds(moment: datetime) -> float:
    """A moment as Unix seconds; the driver's moments without a zone are UTC."""
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


def _labelled(legend: str, labels: dict[str, str]) -> str:
    return re.sub(r"{{(\w+)}}", lambda label: labels.get(label[1], ""), legend)


def _plain(value: object) -> object:
    if isinstance(value, date) and not isinstance(value, datetime):
        return datetime(value.year, value.month, value.day, tzinfo=SHANGHAI)
    return value


def _moment(relative: str, now_s: int) -> int:
    days = re.fullmatch(r"now(?:([+-]\d+)d)?", relative)
    assert days is not None
    return now_s + int(days[1] or 0) * DAY_MS // 1_000
