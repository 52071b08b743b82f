"""The places where a question can be asked, on one ledger: queries, recipes, Grafana's panels, the rules."""

import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from dashboards.cookbook import recipe
from dashboards.grafana.clickhouse import statement
from metering.accounts import Account, CapabilityAccount
from metering.times import DAY_MS
from tests.dashboards.conftest import Ledger
from tools.pictures.half_year import DAYS, START_MS, simulated_half_year
from tools.pictures.pages import interpolated

FROM_S = (START_MS - 31 * DAY_MS) // 1_000
"""Late events are older than the half year."""
TO_S = (START_MS + (DAYS + 400) * DAY_MS) // 1_000

PAGE = (Path(__file__).parents[2] / "docs" / "reference" / "clickhouse.md").read_text(encoding="utf-8")
EXAMPLE_APP = "wx1"
ALL_DAYS = ("2023-01-01", "2025-12-31")

Answer = Mapping[Any, Any]
Place = Callable[["Asking"], Answer]


def page_query(before: str) -> str:
    """The first query of `docs/reference/clickhouse.md` after these words."""
    at = PAGE.index(before)
    found = re.search(r"```sql\n(.*?)```", PAGE[at:], re.DOTALL)
    assert found is not None, before
    return found[1]


class Asking:
    """The places, on one ledger."""

    def __init__(self, ledger: Ledger) -> None:
        self.ledger = ledger
        self.url = ledger.engine.url
        self.apps = sorted({entry.appid for entry in ledger.entries if entry.appid})
        self.now_ms = max(entry.time_ms for entry in ledger.entries)

    def query(self, sql: str) -> list[tuple[Any, ...]]:
        return self.ledger.query(sql)

    def recipe(self, name: str) -> list[tuple[Any, ...]]:
        return self.query(recipe(name).sql)

    def page(self, before: str, app: str = EXAMPLE_APP) -> list[tuple[Any, ...]]:
        """All rows of the query on the page that follows these words, of an app and for all days."""
        query = page_query(before).replace("LIMIT 20", "").replace(f"'{EXAMPLE_APP}'", f"'{app}'")
        query = re.sub(r"BETWEEN '[\d-]+' AND '[\d-]+'", "BETWEEN '{}' AND '{}'".format(*ALL_DAYS), query)
        query = re.sub(r"first_day = '[\d-]+'", f"first_day = '{ALL_DAYS[0]}'", query)
        return self.query(re.sub(r"last_day = '[\d-]+'", f"last_day = '{ALL_DAYS[1]}'", query))

    def page_by_app(self, before: str) -> Iterator[tuple[str, tuple[Any, ...]]]:
        """The rows of a query on the page that is about one app, for all of them."""
        yield from ((app, row) for app in self.apps for row in self.page(before, app))

    def grafana(self, name: str, app: str | None = None) -> list[tuple[Any, ...]]:
        chosen = {"app": [app] if app else self.apps, "capability": ["quick", "realtime"], "store": ["-"]}
        stores = [
            place for (place,) in self.query("SELECT DISTINCT if(store = '', '-', store) FROM usage_daily")
        ]
        return self.query(interpolated(statement(name), chosen | {"store": stores}, FROM_S, TO_S))

    def labelled(self, label: str) -> str:
        """The app that the pages call so."""
        (found,) = [appid for appid, called in self.grafana("var_app") if called == label]
        return str(found)

    def each_app(self, name: str) -> Iterator[tuple[str, tuple[Any, ...]]]:
        """The rows of a query of the page of one app, for all of them."""
        yield from ((app, row) for app in self.apps for row in self.grafana(name, app))

    def uses(self) -> Iterator[tuple[str, str, Account, CapabilityAccount]]:
        """The figures that the rules have of each capability."""
        for appid, account in simulated_half_year()[1].accounts.items():
            for capability, use in account.capabilities.items():
                yield appid, capability, account, use
