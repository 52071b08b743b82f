"""Grafana's pages as they are committed, and their queries as Grafana and its plugins would send them."""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple

from dashboards.grafana.pages import BUILDERS, FOLDER
from dashboards.grafana.words import LANGUAGES

Json = dict[str, Any]

PAGES: Final = [(language, page) for language in LANGUAGES for page in BUILDERS]


class Query(NamedTuple):
    """One query of a page: the panel, variable or annotation that sends it, its data source, its text."""

    page: str
    by: str
    source: str
    text: str


def committed(language: str, page: str) -> Json:
    """A page's JSON, as Grafana is provisioned with it."""
    board: Json = json.loads((FOLDER / language / f"{page}.json").read_text(encoding="utf-8"))
    return board


def panels(board: Json) -> list[Json]:
    """The panels that show something."""
    return [panel for panel in board["panels"] if panel["type"] != "row"]


def queries(language: str = "en") -> Iterator[Query]:
    """Every query of every page."""
    for page in BUILDERS:
        board = committed(language, page)
        for variable in board.get("templating", {}).get("list", []):
            yield Query(
                page, f"variable {variable['name']}", variable["datasource"]["type"], variable["query"]
            )
        for note in board.get("annotations", {}).get("list", []):
            yield Query(
                page, f"annotation {note['name']}", note["datasource"]["type"], note["target"]["rawSql"]
            )
        for panel in panels(board):
            for target in panel["targets"]:
                by = f"{panel['title']} {target['refId']}"
                yield Query(page, by, target["datasource"]["type"], target.get("rawSql") or target["expr"])


def interpolated(sql: str, chosen: Mapping[str, Sequence[str]], from_s: int, to_s: int) -> str:
    """The query as the plugin sends it: variables by Grafana first, then the plugin's macros."""
    for name, values in chosen.items():
        quoted = ",".join(f"'{value}'" for value in values)
        sql = sql.replace(f"${{{name}:singlequote}}", quoted).replace(f"${{{name}}}", values[0])
    sql = re.sub(
        r"\$__timeFilter\(([^)]*)\)", rf"\1 >= toDateTime({from_s}) AND \1 <= toDateTime({to_s})", sql
    )
    sql = sql.replace("$__fromTime", f"toDateTime({from_s})").replace("$__toTime", f"toDateTime({to_s})")
    if "$" in sql:
        raise ValueError(f"not every variable of the query is known: {sql}")
    return sql
