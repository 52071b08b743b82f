"""How each kind of panel is drawn."""

import math
import re
import unicodedata
from collections.abc import Callable
from datetime import datetime
from itertools import pairwise
from typing import Any, Final, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from metering.times import SHANGHAI, from_ms
from tests.dashboards.drawn_answers import Answers, Series, Table, as_series, seconds
from tests.dashboards.pages import Json

COLORS: Final = {
    "green": "#56a64b", "light-yellow": "#f2e27c", "yellow": "#e0b400", "orange": "#ff780a",
    "red": "#e02f44", "dark-red": "#a11225", "blue": "#3274d9", "purple": "#a352cc",
    "semi-dark-purple": "#8f3bb8", "text": "#24292e", "transparent": "#00000000",
}  # fmt: skip
PALETTE: Final = ("#56a64b", "#e0b400", "#3274d9", "#ff780a", "#e02f44", "#a352cc", "#37872d")
NO_DATA: Final = {"en": "No data", "zh": "无数据"}
DARK: Final = "#24292e"
GREY: Final = "#6e7781"
ROW_INCHES: Final = 0.235
TITLE_INCHES: Final = 0.3


class Look(NamedTuple):
    """What all panels of a page have in common."""

    language: str
    board: Json


class Field(NamedTuple):
    """How a column or a series is shown, the panel's defaults and its overrides together."""

    name: str
    title: str
    unit: str
    decimals: int | None
    color: str
    steps: list[Json]
    words: dict[str, Json]
    patterns: list[tuple[str, str]]
    gauge: bool
    dashed: bool

    def text(self, value: object) -> str:
        """A value as Grafana would write it."""
        if value is None or (isinstance(value, float) and math.isnan(value)):
            return ""
        key = str(value).lower() if isinstance(value, bool) else str(value)
        for pattern, text in self.patterns:
            if re.match(pattern, key):
                return re.sub(pattern, text.replace("$1", r"\1"), key)
        return self.words[key]["text"] if key in self.words else formatted(value, self.unit, self.decimals)

    def color_of(self, value: object) -> str:
        """The color of a value."""
        word = self.words.get(str(value).lower() if isinstance(value, bool) else str(value), {})
        if word.get("color"):
            return COLORS[word["color"]]
        if self.steps and isinstance(value, int | float):
            reached = [
                step["color"] for step in self.steps if step["value"] is None or value >= step["value"]
            ]
            return COLORS[reached[-1]]
        return DARK


def field(panel: Json, name: str) -> Field:
    """How a column or series of a panel is shown."""
    defaults = panel["fieldConfig"]["defaults"]
    found: Json = {
        one["id"]: one["value"]
        for override in panel["fieldConfig"]["overrides"]
        if override["matcher"]["options"] == name
        for one in override["properties"]
    }
    mappings = found.get("mappings", [])
    words = {
        value: result
        for mapping in mappings
        if mapping["type"] == "value"
        for value, result in mapping["options"].items()
    }
    patterns = [
        (mapping["options"]["pattern"], mapping["options"]["result"]["text"])
        for mapping in mappings
        if mapping["type"] == "regex"
    ]
    steps = (
        found.get("thresholds") or (defaults.get("thresholds") if panel["type"] != "table" else None) or {}
    )
    return Field(
        name, found.get("displayName", name), found.get("unit", defaults.get("unit", "")),
        found.get("decimals", defaults.get("decimals")), found.get("color", {}).get("fixedColor", ""),
        steps.get("steps", []), words, patterns, found.get("custom.cellOptions", {}).get("type") == "gauge",
        "custom.lineStyle" in found,
    )  # fmt: skip


def formatted(value: object, unit: str, decimals: int | None) -> str:
    """A value with its unit, as Grafana would write it."""
    if isinstance(value, datetime) or unit == "dateTimeAsIso":
        at_s = seconds(value) if isinstance(value, datetime) else float(str(value)) / 1_000
        return f"{from_ms(round(at_s * 1_000)).astimezone(SHANGHAI):%Y-%m-%d %H:%M}"
    if isinstance(value, str) or not isinstance(value, int | float):
        return str(value)
    if unit == "bytes":
        return f"{value / 2**30:,.1f} GiB"
    if unit == "s":
        return f"{value * 1_000:,.0f} ms" if value < 1 else f"{value:,.1f} s"
    places = (
        decimals if decimals is not None else 0 if float(value).is_integer() else 1 if abs(value) >= 1 else 3
    )
    number = f"{value:,.{places}f}"
    if unit.startswith("prefix:"):
        return unit.removeprefix("prefix:") + number
    return number + {"percent": "%"}.get(
        unit, unit.removeprefix("suffix:") if unit.startswith("suffix:") else ""
    )


def wide(text: str) -> int:
    """How wide a text is, in narrow characters."""
    return sum(2 if unicodedata.east_asian_width(letter) in "WF" else 1 for letter in text)


def cut(text: str, width: float) -> str:
    """As much of a text as fits."""
    if wide(text) <= width:
        return text
    while text and wide(text) > width - 1:
        text = text[:-1]
    return f"{text}…"


def plot(figure: Figure, cell: Any, *, left: float = 0.5, bottom: float = 0.3, right: float = 0.12) -> Axes:  # noqa: ANN401 - a place
    """Axes inside of a card, with room for labels in inches."""
    width, height = figure.get_figwidth(), figure.get_figheight()
    axes = figure.add_axes(
        (
            cell.left + left / width,
            cell.bottom + bottom / height,
            cell.width - (left + right) / width,
            cell.height - (bottom + TITLE_INCHES) / height,
        )
    )
    axes.tick_params(labelsize=7, colors=GREY, length=0)
    axes.grid(axis="y", color="#eceff1", linewidth=0.6)
    axes.set_axisbelow(True)
    for side in axes.spines.values():
        side.set_visible(False)
    return axes


def draw_stat(figure: Figure, card: Axes, panel: Json, cell: Any, answers: Answers, look: Look) -> None:  # noqa: ANN401, ARG001 - one signature for all kinds
    """Numbers, large."""
    (target,) = panel["targets"]
    if "expr" in target:
        rows: list[tuple[str, object]] = [("", answers.value(target))]
        number = field(panel, target["legendFormat"])
    else:
        table = answers.table(target)
        number = field(panel, table.columns[-1])
        names = field(panel, table.columns[0])
        rows = [(names.text(row[0]) if len(row) > 1 else "", row[-1]) for row in table.rows]
    for n, (name, value) in enumerate(rows):
        x = (n + 0.5) / len(rows)
        small = len(rows) > 1 or number.unit == "dateTimeAsIso"
        text = number.text(value) or NO_DATA[look.language]
        if number.unit == "dateTimeAsIso":
            text = text[:10]
        card.text(
            x,
            0.42,
            text,
            fontsize=12 if small else 18,
            color=number.color_of(value),
            weight="bold",
            ha="center",
            va="center",
            transform=card.transAxes,
        )
        card.text(x, 0.13, name, fontsize=7.5, color=GREY, ha="center", va="center", transform=card.transAxes)


def draw_series(figure: Figure, card: Axes, panel: Json, cell: Any, answers: Answers, look: Look) -> None:  # noqa: ANN401, ARG001 - one signature for all kinds
    """Curves and stacked bars over time."""
    axes = plot(figure, cell, bottom=0.42)
    found = [one for target in panel["targets"] for one in answers.series(target)]
    custom = panel["fieldConfig"]["defaults"].get("custom", {})
    stacked = custom.get("stacking", {}).get("mode") == "normal"
    shown: list[tuple[str, str]] = []
    floor = dict.fromkeys(_grid([one for one in found if not field(panel, one.name).dashed]), 0.0)
    for n, one in enumerate(found):
        how = field(panel, one.name)
        color = COLORS.get(how.color, PALETTE[n % len(PALETTE)])
        if stacked and not how.dashed and any(value for _, value in one.points):
            values = dict(one.points)
            above = {at: under + values.get(at, 0.0) for at, under in floor.items()}
            _stacked(axes, floor, above, color)
            floor = above
        elif one.points and (how.dashed or not stacked):
            line = "--" if how.dashed else "-"
            axes.plot(*zip(*one.points, strict=True), color=color, linewidth=1.5, linestyle=line)
        if any(value for _, value in one.points) or len(found) <= len(PALETTE) // 2:
            shown.append((how.title if how.title != one.name else how.text(one.name), color))
    if not any(one.points for one in found):
        axes.text(
            0.5, 0.5, NO_DATA[look.language], fontsize=8, color=GREY, ha="center", transform=axes.transAxes
        )
    _time_axis(axes, answers)
    _marks(axes, answers, look)
    axes.set_ylim(bottom=0)
    if axes.get_ylim()[1] < 0.1:
        axes.set_ylim(0, 1)
    unit = panel["fieldConfig"]["defaults"]["unit"]
    axes.yaxis.set_major_formatter(
        lambda value, _: formatted(value, unit, 0) if unit == "bytes" else short(value)
    )
    axes.locator_params(axis="y", nbins=4)
    _legend(figure, cell, shown)


def short(value: float) -> str:
    """A number at an axis."""
    if abs(value) >= 10_000:
        return f"{value / 1_000:,.0f}K"
    return f"{value:,.0f}" if float(value).is_integer() else f"{value:,.3g}"


def _grid(found: list[Series]) -> list[float]:
    """All moments from the first to the last, so that bars have no holes between them."""
    times = sorted({at for one in found for at, _ in one.points})
    if len(times) < 2:
        return times
    step = min(b - a for a, b in pairwise(times))
    return [times[0] + n * step for n in range(round((times[-1] - times[0]) / step) + 1)]


def _stacked(axes: Axes, below: dict[float, float], above: dict[float, float], color: str) -> None:
    """Bars from one height to another; as one area, which keeps the picture small."""
    if len(below) > 1:
        axes.fill_between(
            list(below),
            list(below.values()),
            list(above.values()),
            step="mid",
            color=color,
            linewidth=0,
            alpha=0.85,
        )
    else:
        heights = [top - under for top, under in zip(above.values(), below.values(), strict=True)]
        axes.bar(list(below), heights, bottom=list(below.values()), width=86_400, color=color, alpha=0.85)


def _time_axis(axes: Axes, answers: Answers) -> None:
    axes.set_xlim(answers.from_s, answers.to_s)
    ticks = np.linspace(answers.from_s, answers.to_s, 6)[1:-1]
    pattern = "%m-%d" if answers.to_s - answers.from_s > 2 * 86_400 else "%H:%M"
    labels = [f"{from_ms(int(at) * 1_000).astimezone(SHANGHAI):{pattern}}" for at in ticks]
    axes.set_xticks(list(ticks), labels)
    if answers.from_s < answers.now_s < answers.to_s:
        axes.axvline(answers.now_s, color=GREY, linewidth=0.8, linestyle=":")


def _marks(axes: Axes, answers: Answers, look: Look) -> None:
    """The page's annotations, as thin lines; alerts are too many for a picture of this size."""
    for note in look.board.get("annotations", {}).get("list", []):
        if note["iconColor"] == "red":
            continue
        for row in answers.table(note["target"]).rows[:40]:
            axes.axvline(
                seconds(row[0]), color=COLORS[note["iconColor"]], linewidth=0.5, alpha=0.45, linestyle="--"
            )


def _legend(figure: Figure, cell: Any, shown: list[tuple[str, str]]) -> None:  # noqa: ANN401 - a place
    x, y = cell.left + 0.12 / figure.get_figwidth(), cell.bottom + 0.1 / figure.get_figheight()
    for name, color in shown:
        width = (wide(name) * 0.062 + 0.3) / figure.get_figwidth()
        if x + width > cell.left + cell.width:
            break
        figure.text(x, y, "■", fontsize=7, color=color, va="center")
        figure.text(x + 0.14 / figure.get_figwidth(), y, name, fontsize=7, color=DARK, va="center")
        x += width


def draw_bars(figure: Figure, card: Axes, panel: Json, cell: Any, answers: Answers, look: Look) -> None:  # noqa: ANN401, ARG001 - one signature for all kinds
    """Bars with names."""
    table = answers.table(panel["targets"][0])
    lying = panel["options"]["orientation"] == "horizontal"
    axes = plot(
        figure,
        cell,
        left=1.45 if lying else 0.55,
        bottom=0.12 if lying else 0.45,
        right=0.6 if lying else 0.12,
    )
    names = [field(panel, table.columns[0]).text(row[0]) for row in table.rows]
    numbers = list(range(1, len(table.columns)))
    thick = 0.8 / len(numbers)
    for place, n in enumerate(numbers):
        how = field(panel, table.columns[n])
        values = [float(row[n] or 0) for row in table.rows]
        at = [row + (place - (len(numbers) - 1) / 2) * thick for row in range(len(values))]
        color = COLORS.get(how.color, PALETTE[2])
        if lying:
            axes.barh(at, values, height=thick * 0.85, color=color, alpha=0.85)
            for y, value in zip(at, values, strict=True):
                axes.annotate(
                    how.text(int(value) if value.is_integer() else value),
                    (value, y),
                    xytext=(3, 0),
                    textcoords="offset points",
                    fontsize=6.5,
                    va="center",
                    color=DARK,
                )
        else:
            axes.bar(at, values, width=thick * 0.9, color=color, alpha=0.85)
    if lying:
        axes.set_yticks(range(len(names)), [cut(name, 24) for name in names])
        axes.set_xticks([])
        axes.invert_yaxis()
        axes.grid(visible=False)
    else:
        axes.set_xticks(range(len(names)), names)
        axes.yaxis.set_major_formatter(
            lambda value, _: formatted(round(value, 4), panel["fieldConfig"]["defaults"]["unit"], None)
        )
        axes.locator_params(axis="y", nbins=4)
        hows = [field(panel, table.columns[n]) for n in numbers]
        _legend(figure, cell, [(how.title, COLORS.get(how.color, PALETTE[2])) for how in hows])


def draw_table(figure: Figure, card: Axes, panel: Json, cell: Any, answers: Answers, look: Look) -> None:  # noqa: ANN401, ARG001 - one signature for all kinds
    """Rows, as many as fit."""
    table = answers.table(panel["targets"][0])
    fits = int((cell.height * figure.get_figheight() - TITLE_INCHES - 0.05) / ROW_INCHES) - 1
    fields = [field(panel, name) for name in table.columns]
    texts = [[how.text(value) for how, value in zip(fields, row, strict=True)] for row in table.rows[:fits]]
    widths = [
        min(24, max([wide(how.title), *(wide(row[n]) for row in texts)])) + 2 for n, how in enumerate(fields)
    ]
    inch_y = 1 / (cell.height * figure.get_figheight())
    letters = cell.width * figure.get_figwidth() / 0.068
    squeeze = min(1.0, letters / sum(widths))
    y = 1 - (TITLE_INCHES + 0.12) * inch_y
    starts = np.cumsum([0, *widths]) / sum(widths)
    for n, how in enumerate(fields):
        card.text(
            0.008 + starts[n],
            y,
            cut(how.title, widths[n] * squeeze),
            fontsize=7,
            weight="bold",
            color=GREY,
            va="center",
            transform=card.transAxes,
        )
    for row, shown in zip(table.rows, texts, strict=False):
        y -= ROW_INCHES * inch_y
        card.plot(
            [0, 1],
            [y + ROW_INCHES * inch_y / 2] * 2,
            color="#eceff1",
            linewidth=0.6,
            transform=card.transAxes,
        )
        for n, (how, value, text) in enumerate(zip(fields, row, shown, strict=True)):
            x = 0.008 + starts[n]
            color = how.color_of(value)
            if how.gauge and isinstance(value, int | float):
                full = (starts[n + 1] - starts[n]) * 0.85
                card.barh(
                    y,
                    full * min(1, float(value) / 100),
                    height=ROW_INCHES * inch_y * 0.6,
                    left=x,
                    color=color,
                    alpha=0.35,
                    transform=card.transAxes,
                )
            card.text(
                x,
                y,
                cut(text, widths[n] * squeeze - 1),
                fontsize=7,
                color=color if color != COLORS["light-yellow"] else "#b8a200",
                va="center",
                transform=card.transAxes,
            )
    card.set_xlim(0, 1)
    card.set_ylim(0, 1)


def draw_spans(figure: Figure, card: Axes, panel: Json, cell: Any, answers: Answers, look: Look) -> None:  # noqa: ANN401, ARG001 - one signature for all kinds
    """A bar per series along time."""
    found: list[Series] = as_series(answers.table(panel["targets"][0]))
    axes = plot(figure, cell, left=1.6)
    for n, one in enumerate(found):
        how = field(panel, one.name)
        ends = [at for at, _ in one.points[1:]] + [float(answers.to_s)]
        began, color = one.points[0][0], how.color_of(one.points[0][1])
        for (_, value), until, following in zip(one.points, ends, [*one.points[1:], None], strict=True):
            after = how.color_of(following[1]) if following else ""
            if after != color:
                if value >= 0:
                    axes.barh(n, until - began, left=began, height=0.62, color=color)
                began, color = until, after
    axes.set_yticks(range(len(found)), [cut(one.name, 26) for one in found])
    axes.set_ylim(len(found) - 0.4, -0.6)
    axes.grid(visible=False)
    _time_axis(axes, answers)


def draw_heat(figure: Figure, card: Axes, panel: Json, cell: Any, answers: Answers, look: Look) -> None:  # noqa: ANN401, ARG001 - one signature for all kinds
    """Days from left to right, hours from bottom to top."""
    table: Table = answers.table(panel["targets"][0])
    axes = plot(figure, cell)
    days = [seconds(row[0]) for row in table.rows]
    first, last = min(days), max(days)
    cells = np.zeros((len(table.columns) - 1, round((last - first) / 86_400) + 1))
    for at, row in zip(days, table.rows, strict=True):
        cells[:, round((at - first) / 86_400)] = row[1:]
    axes.imshow(
        np.sqrt(cells), origin="lower", aspect="auto", cmap="Oranges", interpolation="nearest",
        extent=(first, last + 86_400, -0.5, cells.shape[0] - 0.5),
    )  # fmt: skip
    axes.grid(visible=False)
    axes.set_yticks(range(0, cells.shape[0], 4), [f"{hour:02d}:00" for hour in range(0, cells.shape[0], 4)])
    _time_axis(axes, answers)


DRAWN_BY: Final[dict[str, Callable[[Figure, Axes, Json, Any, Answers, Look], None]]] = {
    "stat": draw_stat,
    "timeseries": draw_series,
    "barchart": draw_bars,
    "table": draw_table,
    "state-timeline": draw_spans,
    "heatmap": draw_heat,
}
