"""The drawing of panels, by kind, with the titles, texts and colors of Grafana's own `@grafana/data`."""

import unicodedata
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any, Final, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from metering.times import SHANGHAI, from_ms
from tools.pictures.grafana_data import Field, GrafanaData, Shown
from tools.pictures.pages import Json

NO_DATA: Final = {"en": "No data", "zh": "无数据"}
DARK: Final = "#24292e"
GREY: Final = "#6e7781"
ROW_INCHES: Final = 0.235
TITLE_INCHES: Final = 0.3

Curve = tuple[dict[float, float], Field]
"""Values by Unix seconds, and the field that they are of."""


class Look(NamedTuple):
    """The common properties of a page's panels; times in Unix seconds."""

    language: str
    grafana: GrafanaData
    from_s: int
    to_s: int
    now_s: int
    marks: Sequence[tuple[float, str]]
    """The page's annotations: when, in which color."""


class Place(NamedTuple):
    """The place where a panel is drawn."""

    figure: Figure
    card: Axes
    cell: Any


def wide(text: str) -> int:
    """Width of a text in narrow characters."""
    return sum(2 if unicodedata.east_asian_width(letter) in "WF" else 1 for letter in text)


def cut(text: str, width: float) -> str:
    """The beginning of a text that fits."""
    if wide(text) <= width:
        return text
    while text and wide(text) > width - 1:
        text = text[:-1]
    return f"{text}…"


def plot(place: Place, *, left: float = 0.5, bottom: float = 0.3, right: float = 0.12) -> Axes:
    """Axes inside of a card, with room for labels in inches."""
    figure, cell = place.figure, place.cell
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


def draw_stat(place: Place, panel: Json, shown: Shown, look: Look) -> None:  # noqa: ARG001 - one signature for all kinds
    """Numbers, large; several have their names below."""
    named = len(shown.values) > 1 or panel["options"]["textMode"] == "value_and_name"
    for n, value in enumerate(shown.values):
        x = (n + 0.5) / len(shown.values)
        place.card.text(
            x,
            0.42,
            value.text,
            fontsize=18 if len(shown.values) == 1 else 12 if len(value.text) < 12 else 9,
            color=_drawable(value.color),
            weight="bold",
            ha="center",
            va="center",
            transform=place.card.transAxes,
        )
        if named:
            place.card.text(
                x, 0.13, value.title, fontsize=7.5, color=GREY, ha="center", va="center",
                transform=place.card.transAxes,
            )  # fmt: skip


def draw_series(place: Place, panel: Json, shown: Shown, look: Look) -> None:
    """Curves and stacked bars over time."""
    axes = plot(place, bottom=0.42, left=0.62)
    found = curves(shown)
    custom = panel["fieldConfig"]["defaults"].get("custom", {})
    stacked = custom.get("stacking", {}).get("mode") == "normal"
    floor = dict.fromkeys(_grid([one for one in found if "lineStyle" not in one[1].custom]), 0.0)
    legend: list[tuple[str, str]] = []
    for points, field in found:
        dashed = "lineStyle" in field.custom
        if stacked and not dashed and any(points.values()):
            above = {at: under + points.get(at, 0.0) for at, under in floor.items()}
            _stacked(axes, floor, above, field.color)
            floor = above
        elif points and (dashed or not stacked):
            line = "--" if dashed else "-"
            axes.plot(*zip(*points.items(), strict=True), color=field.color, linewidth=1.5, linestyle=line)
        legend.append((field.title, field.color))
    if not found:
        axes.text(
            0.5, 0.5, NO_DATA[look.language], fontsize=8, color=GREY, ha="center", transform=axes.transAxes
        )
    _time_axis(axes, look)
    for at_s, color in look.marks:
        axes.axvline(at_s, color=color, linewidth=0.5, alpha=0.45, linestyle="--")
    axes.set_ylim(bottom=0)
    if axes.get_ylim()[1] < 0.1:
        axes.set_ylim(0, 1)
    _value_axis(axes, panel, look)
    # Those that are seen come first, as not all of many fit.
    seen = {field.title for points, field in found if any(points.values())}
    _legend(place, sorted(legend, key=lambda one: one[0] not in seen))


def curves(shown: Shown) -> list[Curve]:
    """The curves of a panel, without the points at which there is nothing."""
    return [
        (
            {
                at_ms / 1_000: float(value)
                for at_ms, value in zip(times.values, field.values, strict=True)
                if value is not None
            },
            field,
        )
        for times, field in shown.series
    ]


def _value_axis(axes: Axes, panel: Json, look: Look) -> None:
    """A few numbers at the axis."""
    axes.locator_params(axis="y", nbins=4)
    low, high = axes.get_ylim()
    at = [float(value) for value in axes.get_yticks() if low <= value <= high]
    axes.set_yticks(at, look.grafana.ticks(panel, at))


def _grid(found: Sequence[Curve]) -> list[float]:
    """All moments from the first to the last, so that bars have no holes between them."""
    times = sorted({at for points, _ in found for at in points})
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


def _drawable(color: str) -> str:
    """A color as matplotlib takes it."""
    return color if color.startswith("#") else "#00000000"


def _time_axis(axes: Axes, look: Look) -> None:
    axes.set_xlim(look.from_s, look.to_s)
    ticks = np.linspace(look.from_s, look.to_s, 6)[1:-1]
    pattern = "%m-%d" if look.to_s - look.from_s > 2 * 86_400 else "%H:%M"
    labels = [f"{from_ms(int(at) * 1_000).astimezone(SHANGHAI):{pattern}}" for at in ticks]
    axes.set_xticks(list(ticks), labels)
    if look.from_s < look.now_s < look.to_s:
        axes.axvline(look.now_s, color=GREY, linewidth=0.8, linestyle=":")


def _legend(place: Place, shown: Sequence[tuple[str, str]]) -> None:
    figure, cell = place.figure, place.cell
    x, y = cell.left + 0.12 / figure.get_figwidth(), cell.bottom + 0.1 / figure.get_figheight()
    for name, color in shown:
        width = (wide(name) * 0.062 + 0.3) / figure.get_figwidth()
        if x + width > cell.left + cell.width:
            break
        figure.text(x, y, "■", fontsize=7, color=color, va="center")
        figure.text(x + 0.14 / figure.get_figwidth(), y, name, fontsize=7, color=DARK, va="center")
        x += width


def draw_bars(place: Place, panel: Json, shown: Shown, look: Look) -> None:
    """Bars with names."""
    lying = panel["options"]["orientation"] == "horizontal"
    axes = plot(
        place,
        left=1.45 if lying else 0.75,
        bottom=0.12 if lying else 0.45,
        right=0.6 if lying else 0.12,
    )
    (names,) = [one for one in shown.fields if one.title == panel["options"]["xField"]]
    numbers = [one for one in shown.fields if one.type == "number"]
    thick = 0.8 / len(numbers)
    for n, field in enumerate(numbers):
        values = [float(value or 0) for value in field.values]
        at = [row + (n - (len(numbers) - 1) / 2) * thick for row in range(len(values))]
        if not lying:
            axes.bar(at, values, width=thick * 0.9, color=field.color, alpha=0.85)
            continue
        axes.barh(at, values, height=thick * 0.85, color=field.color, alpha=0.85)
        for y, value, text in zip(at, values, field.texts, strict=True):
            axes.annotate(
                text, (value, y), xytext=(3, 0), textcoords="offset points", fontsize=6.5, va="center",
                color=DARK,
            )  # fmt: skip
    if lying:
        axes.set_yticks(range(len(names.texts)), [cut(name, 24) for name in names.texts])
        axes.set_xticks([])
        axes.invert_yaxis()
        axes.grid(visible=False)
    else:
        axes.set_xticks(range(len(names.texts)), names.texts)
        _value_axis(axes, panel, look)
        _legend(place, [(field.title, field.color) for field in numbers])


def draw_table(place: Place, panel: Json, shown: Shown, look: Look) -> None:  # noqa: ARG001 - one signature for all kinds
    """Rows, as many as fit."""
    card = place.card
    inch_y = 1 / (place.cell.height * place.figure.get_figheight())
    fits = int((1 / inch_y - TITLE_INCHES - 0.05) / ROW_INCHES) - 1
    fields = shown.fields
    widths = [min(24, max(map(wide, [one.title, *one.texts[:fits]]))) + 2 for one in fields]
    letters = place.cell.width * place.figure.get_figwidth() / 0.068
    squeeze = min(1.0, letters / sum(widths))
    starts = np.cumsum([0, *widths]) / sum(widths)
    for n, field in enumerate(fields):
        x, y = 0.008 + starts[n], 1 - (TITLE_INCHES + 0.12) * inch_y
        card.text(
            x, y, cut(field.title, widths[n] * squeeze), fontsize=7, weight="bold", color=GREY, va="center",
            transform=card.transAxes,
        )  # fmt: skip
        kind = field.custom.get("cellOptions", {}).get("type")
        for value, text, color in list(zip(field.values, field.texts, field.colors, strict=True))[:fits]:
            y -= ROW_INCHES * inch_y
            if kind == "gauge" and value is not None:
                full = (starts[n + 1] - starts[n]) * 0.85
                card.barh(
                    y, full * min(1, float(value) / 100), height=ROW_INCHES * inch_y * 0.6, left=x,
                    color=_drawable(color), alpha=0.35, transform=card.transAxes,
                )  # fmt: skip
            card.text(
                x, y, cut(text, widths[n] * squeeze - 1), fontsize=7, va="center",
                color=_drawable(color) if kind else DARK, transform=card.transAxes,
            )  # fmt: skip
            if not n:
                line = [y + ROW_INCHES * inch_y / 2] * 2
                card.plot([0, 1], line, color="#eceff1", linewidth=0.6, transform=card.transAxes)
    card.set_xlim(0, 1)
    card.set_ylim(0, 1)


def draw_spans(place: Place, panel: Json, shown: Shown, look: Look) -> None:  # noqa: ARG001 - one signature for all kinds
    """A bar per series along time, as long as its color stays."""
    axes = plot(place, left=1.6)
    for n, (times, field) in enumerate(shown.series):
        points = [
            (at_ms / 1_000, _drawable(color))
            for at_ms, value, color in zip(times.values, field.values, field.colors, strict=True)
            if value is not None
        ]
        began = points[0][0]
        for (_, color), (until, after) in pairwise([*points, (float(look.to_s), "")]):
            if after != color:
                axes.barh(n, until - began, left=began, height=0.62, color=color)
                began = until
    axes.set_yticks(range(len(shown.series)), [cut(field.title, 26) for _, field in shown.series])
    axes.set_ylim(len(shown.series) - 0.4, -0.6)
    axes.grid(visible=False)
    _time_axis(axes, look)


def draw_heat(place: Place, panel: Json, shown: Shown, look: Look) -> None:  # noqa: ARG001 - one signature for all kinds
    """Days from left to right, the fields from bottom to top."""
    axes = plot(place)
    days = [at_ms // 1_000 for at_ms in shown.series[0][0].values]
    first, last = min(days), max(days)
    cells = np.zeros((len(shown.series), round((last - first) / 86_400) + 1))
    for n, (_, field) in enumerate(shown.series):
        cells[n, [round((at - first) / 86_400) for at in days]] = field.values
    axes.imshow(
        np.sqrt(cells), origin="lower", aspect="auto", cmap="Oranges", interpolation="nearest",
        extent=(first, last + 86_400, -0.5, cells.shape[0] - 0.5),
    )  # fmt: skip
    axes.grid(visible=False)
    rows = range(0, len(shown.series), 4)
    axes.set_yticks(rows, [shown.series[n][1].title for n in rows])
    _time_axis(axes, look)


DRAWN_BY: Final[dict[str, Callable[[Place, Json, Shown, Look], None]]] = {
    "stat": draw_stat,
    "timeseries": draw_series,
    "barchart": draw_bars,
    "table": draw_table,
    "state-timeline": draw_spans,
    "heatmap": draw_heat,
}
