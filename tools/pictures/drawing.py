"""A page as a picture: its title, and each panel in its place."""

import io
import xml.etree.ElementTree as ET
from collections.abc import Callable
from pathlib import Path
from typing import Final, NamedTuple

import matplotlib as mpl
from matplotlib.figure import Figure

from tools.pictures.answers import Answers
from tools.pictures.compact_svg import compact
from tools.pictures.grafana_data import GrafanaData
from tools.pictures.pages import Json, committed
from tools.pictures.panels import DRAWN_BY, Look, Place

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


class Cell(NamedTuple):
    """A place on the page, in shares of the figure."""

    left: float
    bottom: float
    width: float
    height: float


def draw(language: str, page: str, answers: Answers, grafana: GrafanaData, *, live: bool) -> Path:
    """Draw one page into docs/images."""
    board = committed(language, page)
    units = max(panel["gridPos"]["y"] + panel["gridPos"]["h"] for panel in board["panels"]) + HEAD_UNITS
    figure = Figure(figsize=(WIDTH_INCHES, units * UNIT_INCHES), facecolor="#f4f5f5")
    place = _places(units)
    look = Look(
        language, grafana, answers.from_s, answers.to_s, answers.now_s, _marks(board, answers, grafana)
    )
    caption = CAPTIONS[language].format(of=SOURCES[language][live])
    figure.text(
        0.008, 1 - 0.9 / units, board["title"], fontsize=13, weight="bold", color="#24292e", va="center"
    )
    figure.text(0.008, 1 - 1.8 / units, caption, fontsize=8, color="#6e7781", va="center")
    figure.text(
        0.992, 1 - 0.9 / units, answers.range_text(), fontsize=8, color="#24292e", ha="right", va="center"
    )
    for panel in board["panels"]:
        _panel(figure, panel, place(panel["gridPos"]), answers, look)
    # The hash salt and the missing date make the same picture the same file.
    with (
        io.StringIO() as drawn,
        mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": page, "font.sans-serif": FONTS}),
    ):
        figure.savefig(drawn, format="svg", metadata={"Date": None, "Creator": None, "Title": board["title"]})
        compacted = compact(drawn.getvalue())
    file = picture(page, language)
    file.write_text(compacted, encoding="utf-8")
    return file


def picture(page: str, language: str) -> Path:
    """The file of a picture."""
    return IMAGES / f"dashboard-{page}-{language}.svg"


def texts(file: Path) -> set[str]:
    """The texts in a picture."""
    written = ET.parse(file).iter("{http://www.w3.org/2000/svg}text")  # noqa: S314 - our own file
    return {"".join(one.itertext()) for one in written}


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
    shown = look.grafana.shown(panel, answers.frames(panel))
    DRAWN_BY[panel["type"]](Place(figure, card, cell), panel, shown, look)


def _marks(board: Json, answers: Answers, grafana: GrafanaData) -> list[tuple[float, str]]:
    """The times of the page's annotations; alerts are too many for a picture of this size."""
    return [
        (at_ms / 1_000, grafana.color(note["iconColor"]))
        for note in board.get("annotations", {}).get("list", [])
        if note["iconColor"] != "red"
        for at_ms in answers.frame(note["target"])["data"]["values"][0][:40]
    ]
