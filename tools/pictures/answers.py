"""The answers to the queries of a page, as Grafana's data sources give them: frames."""

import json
import re
import time
import urllib.parse
import urllib.request
from collections.abc import Sequence

from clickhouse_driver import Client

from dashboards.grafana.clickhouse import statement
from metering.times import DAY_MS, HOUR_MS, SHANGHAI, from_ms
from tools.pictures import frames
from tools.pictures.pages import Json, interpolated

LIVE_S = 20 * 60
STEP_S = 60
SCRAPE_S = 15
POINTS_MAX = 1_000


class Answers:
    """The answers of ClickHouse and Prometheus in a time range."""

    def __init__(
        self,
        page: str,
        clickhouse: str,
        prometheus: str | None,
        time_range: Json | None = None,
        simulated: tuple[int, int] = (0, 0),
    ) -> None:
        self._client = Client.from_url(clickhouse)
        self._prometheus = prometheus
        now_s = (simulated[0] + simulated[1] * DAY_MS) // 1_000 if time_range else int(time.time())
        self.now_s = now_s
        self.from_s = _moment(time_range["from"], now_s) if time_range else now_s - LIVE_S
        self.to_s = _moment(time_range["to"], now_s) if time_range else now_s
        self._chosen = self._choices(page)

    def range_text(self) -> str:
        """The time range in Shanghai."""
        return " – ".join(
            f"{from_ms(at_s * 1_000).astimezone(SHANGHAI):%Y-%m-%d %H:%M}"
            for at_s in (self.from_s, self.to_s)
        )

    def frames(self, panel: Json) -> list[Json]:
        """The frames that the queries of a panel give."""
        return [frame for target in panel["targets"] for frame in self._frames(target)]

    def frame(self, target: Json) -> Json:
        """The frame that a query of ClickHouse gives."""
        sql = interpolated(target["rawSql"], self._chosen, self.from_s, self.to_s)
        rows, columns = self._client.execute(sql, with_column_types=True)
        shape = frames.wide if target["queryType"] == "timeseries" else frames.table
        return shape(target["refId"], columns, rows)

    def _frames(self, target: Json) -> list[Json]:
        if "expr" not in target:
            return [self.frame(target)]
        if self._prometheus is None:
            return []
        return [
            frames.measured(
                target["refId"],
                target["legendFormat"],
                one["metric"],
                [(float(at), float(value)) for at, value in one.get("values") or [one["value"]]],
            )
            for one in self._measured(target)
        ]

    def _measured(self, target: Json) -> list[Json]:
        """The series that a query of Prometheus gives; of some only the newest value is asked for."""
        step_s = max(STEP_S, (self.to_s - self.from_s) // POINTS_MAX)
        # As Grafana has it: long enough that nothing falls between two points.
        query: Json = {"query": target["expr"].replace("$__rate_interval", f"{step_s + SCRAPE_S}s")}
        if target.get("instant"):
            path, query["time"] = "query", self.to_s
        else:
            path = "query_range"
            query |= {"start": self.from_s, "end": self.to_s, "step": step_s}
        url = f"{self._prometheus}/api/v1/{path}?{urllib.parse.urlencode(query)}"
        with urllib.request.urlopen(url) as answer:  # noqa: S310 - the address that the caller gave
            found: list[Json] = json.load(answer)["data"]["result"]
        return found

    def _choices(self, page: str) -> dict[str, Sequence[str]]:
        """Everything; on the page of one app, the app that has packs of both capabilities and least left."""
        apps = [appid for appid, _ in self._client.execute(statement("var_app"))]
        found = self._client.execute(
            "SELECT appid FROM packs WHERE status = 'active' GROUP BY appid "
            "ORDER BY uniqExact(capability) DESC, sum(packs.remaining) / sum(packs.calls), appid LIMIT 1"
        )
        if page == "app":
            apps = [found[0][0]]
        sql = interpolated(statement("var_store"), {"app": apps}, 0, 0)
        stores = [store for (store,) in self._client.execute(sql)]
        return {"app": apps, "capability": ["quick", "realtime"], "store": stores}


def _moment(relative: str, now_s: int) -> int:
    found = re.fullmatch(r"now(?:([+-]\d+)([hd]))?", relative)
    if found is None:
        raise ValueError(f"{relative} is no time of Grafana that the pictures know")
    return now_s + int(found[1] or 0) * (HOUR_MS if found[2] == "h" else DAY_MS) // 1_000
