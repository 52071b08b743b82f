"""Pictures of Grafana's pages for the documentation: python -m tests.dashboards.drawing

Each is drawn from the page's committed JSON (grid, titles, units, thresholds, words, overrides) and the
answers to the page's own queries: of the embedded engine on the simulated half-year of the tests, or, for the
page that asks Prometheus, of a running one and the ClickHouse beside it:

    python -m tests.dashboards.drawing --prometheus http://127.0.0.1:9090 --clickhouse clickhouse://...
"""

import argparse
import logging
import socket
import tempfile
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, NamedTuple

import matplotlib as mpl
from matplotlib.figure import Figure

from dashboards.grafana.pages import BUILDERS
from dashboards.grafana.words import LANGUAGES
from dashboards.views import statements
from sinks.migrations import migrate
from tests.dashboards.conftest import Ledger
from tests.dashboards.drawn_answers import Answers
from tests.dashboards.drawn_panels import DRAWN_BY, Look
from tests.dashboards.pages import Json, committed
from tests.dashboards.simulated import DAYS, START_MS, lines_for_pages
from tests.sinks.parts import EngineProcess

IMAGES: Final = Path(__file__).parents[2] / "docs" / "images"
WIDTH_INCHES: Final = 13.0
UNIT_INCHES: Final = 0.34
HEAD_UNITS: Final = 2.4
GAP: Final = 0.0035
CAPTIONS: Final = {
    "en": "Drawn from this page's own JSON and the answers to its own queries on {of}. Not a screenshot.",
    "zh": "按本页面自身的 JSON 与其查询在{of}上的结果绘制，并非截图。",
}
SOURCES: Final = {
    "en": ("half a year of simulated traffic", "a running stack with simulated traffic"),
    "zh": ("半年的模拟流量", "运行中的系统与模拟流量"),
}
FONTS: Final = ["DejaVu Sans", "Noto Sans CJK SC", "PingFang SC", "Microsoft YaHei", "sans-serif"]


DELIVERED: Final = """
INSERT INTO delivery_states (appid, alert_id, route, channel, state)
SELECT
    appid, alert_id, 'owner', 'wecom',
    multiIf(cityHash64(alert_id) % 9 = 0, 'dead', recovered, 'held', 'delivered')
FROM alerts
WHERE NOT recovered OR cityHash64(alert_id) % 2 = 0
"""
"""What became of the simulated alerts, which nobody has delivered."""


class Cell(NamedTuple):
    """A place on the page, in shares of the figure."""

    left: float
    bottom: float
    width: float
    height: float


def draw(language: str, page: str, answers: Answers, *, live: bool) -> Path:
    """Draw one page into docs/images."""
    board = committed(language, page)
    units = max(panel["gridPos"]["y"] + panel["gridPos"]["h"] for panel in board["panels"]) + HEAD_UNITS
    figure = Figure(figsize=(WIDTH_INCHES, units * UNIT_INCHES), facecolor="#f4f5f5")
    place = _places(units)
    caption = CAPTIONS[language].format(of=SOURCES[language][live])
    figure.text(
        0.008, 1 - 0.9 / units, board["title"], fontsize=13, weight="bold", color="#24292e", va="center"
    )
    figure.text(0.008, 1 - 1.8 / units, caption, fontsize=8, color="#6e7781", va="center")
    figure.text(
        0.992, 1 - 0.9 / units, answers.range_text(), fontsize=8, color="#24292e", ha="right", va="center"
    )
    for panel in board["panels"]:
        _panel(figure, panel, place(panel["gridPos"]), answers, Look(language, board))
    file = IMAGES / f"dashboard-{page}-{language}.svg"
    # The hash salt and the missing date make the same picture the same file.
    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": page, "font.sans-serif": FONTS}):
        figure.savefig(file, metadata={"Date": None, "Creator": None, "Title": board["title"]})
    return file


def _places(units: float) -> Callable[[Json], Cell]:
    def place(grid: Json) -> Cell:
        top = 1 - (grid["y"] + HEAD_UNITS) / units
        height = grid["h"] / units
        return Cell(grid["x"] / 24 + GAP, top - height + GAP / 2, grid["w"] / 24 - 2 * GAP, height - GAP)

    return place


def _panel(figure: Figure, panel: Json, cell: Cell, answers: Answers, look: Look) -> None:
    if panel["type"] == "row":
        figure.text(
            cell.left, cell.bottom + cell.height / 2, f"▾ {panel['title']}",
            fontsize=10, weight="bold", color="#24292e", va="center",
        )  # fmt: skip
        return
    card = figure.add_axes(cell, facecolor="white", xticks=[], yticks=[])
    for side in card.spines.values():
        side.set_color("#d9dce0")
    inch = 1 / figure.get_figheight()
    card.text(
        0.012, 1 - 0.13 * inch / cell.height, panel["title"], fontsize=8.5, weight="bold", color="#24292e",
        va="center", transform=card.transAxes, clip_on=True,
    )  # fmt: skip
    DRAWN_BY[panel["type"]](figure, card, panel, cell, answers, look)


@contextmanager
def simulated() -> Iterator[str]:
    """The address of an engine with the simulated half-year."""
    with (
        tempfile.TemporaryDirectory() as directory,
        EngineProcess(Path(directory), _port(), _port()) as engine,
    ):
        migrate(engine.url)
        for statement in statements():
            engine.query(statement)
        Ledger(engine, []).replace(lines_for_pages())
        engine.query(DELIVERED)
        yield engine.url


def _port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
        return port


def main() -> None:
    """Draw what can be drawn with the sources that are given."""
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    arguments.add_argument("--prometheus", help="a running Prometheus; draws the pipeline's page")
    arguments.add_argument("--clickhouse", help="the ClickHouse beside it")
    given = arguments.parse_args()
    # Chinese is measured with a font that lacks it; whoever looks at the picture has one.
    warnings.filterwarnings("ignore", message="Glyph .* missing from font")
    logging.getLogger("matplotlib.font_manager").setLevel(logging.ERROR)
    IMAGES.mkdir(exist_ok=True)
    if given.prometheus:
        answers = Answers("pipeline", given.clickhouse, given.prometheus)
        for language in LANGUAGES:
            draw(language, "pipeline", answers, live=True)
        return
    with simulated() as url:
        for page in sorted(set(BUILDERS) - {"pipeline"}):
            for language in LANGUAGES:
                answers = Answers(page, url, None, committed(language, page)["time"], (START_MS, DAYS))
                draw(language, page, answers, live=False)


if __name__ == "__main__":
    main()
