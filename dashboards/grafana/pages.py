"""Every page in every language, as JSON."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

from grafana_foundation_sdk.builders.dashboard import Dashboard
from grafana_foundation_sdk.cog.encoder import JSONEncoder

from dashboards.grafana import app, fleet, money, pipeline
from dashboards.grafana.words import LANGUAGES, Words

Json = dict[str, Any]

FOLDER: Final = Path(__file__).with_name("dashboards")

BUILDERS: Final[dict[str, Callable[[Words], Dashboard]]] = {
    "fleet": fleet.build,
    "app": app.build,
    "pipeline": pipeline.build,
    "money": money.build,
}


def rendered(page: str, language: str) -> str:
    """The JSON of a page as it is committed; panels are numbered in reading order."""
    board = in_the_open(json.loads(JSONEncoder().encode(BUILDERS[page](Words(language)).build())))
    for number, panel in enumerate(board["panels"], 1):
        panel["id"] = number
    return json.dumps(board, indent=2, ensure_ascii=False) + "\n"


def in_the_open(board: Json) -> Json:
    """The page with links and marks to be seen on it; the SDK can write only that they are in a menu."""
    for one in [*board["links"], *board.get("annotations", {}).get("list", [])]:
        one.pop("placement", None)
    return board


def files() -> Iterator[tuple[Path, str]]:
    """Every file and what it holds."""
    for language in LANGUAGES:
        for page in BUILDERS:
            yield FOLDER / language / f"{page}.json", rendered(page, language)
