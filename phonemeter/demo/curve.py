"""The usage curve by day, drawn in the terminal."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Final, NamedTuple

import plotext
from rich.text import Text

from phonemeter.demo.totals import DayTotals

HEIGHT: Final = 14
MARGIN_COLUMNS: Final = 10
COLUMNS_PER_DAY: Final = 3
WIDTH_MIN: Final = 40
DAYS_MAX: Final = 366
TICKS_Y: Final = 4

BAR_WIDTH: Final = 0.8


class Layer(NamedTuple):
    """One kind of calls in a bar."""

    marker: str
    meaning: str
    style: str


LAYERS: Final = (
    Layer("×", "uncovered", "red"),
    Layer("▓", "from packs", "green"),
    Layer("░", "from the trial", "cyan"),
    Layer("·", "free or exempt", "white"),
)
"""The layers of a bar from the top, told apart by characters too, for output without colour."""


def draw(days: Sequence[DayTotals], columns: int) -> Text:
    """A bar chart of the calls per Shanghai day, `columns` wide at most; the newest days if not all fit."""
    columns_max = max(WIDTH_MIN, columns)
    shown = _without_gaps(days)[-(columns_max - MARGIN_COLUMNS) :]
    if not shown:
        return Text("No call was made.")
    width = min(columns_max, max(WIDTH_MIN, MARGIN_COLUMNS + COLUMNS_PER_DAY * len(shown)))
    text = Text()
    text.append(f"Calls by day, {shown[0].date} to {shown[-1].date} (Asia/Shanghai)\n", style="bold")
    text.append(_legend(shown))
    text.append("\n")
    text.append(_colored(_plot(shown, width)))
    return text


def _without_gaps(days: Sequence[DayTotals]) -> list[DayTotals]:
    if not days:
        return []
    by_date = {day.date: day for day in days}
    last = max(by_date)
    count = min((last - min(by_date)).days + 1, DAYS_MAX)
    dates = [last - timedelta(days=back) for back in range(count - 1, -1, -1)]
    return [by_date.get(date, DayTotals(date, 0, 0, 0, 0)) for date in dates]


def _stack(day: DayTotals) -> tuple[int, int, int, int]:
    """The top of each layer; layers are drawn over each other, the highest first."""
    bottom = day.not_charged
    trial = bottom + day.trial_charged
    packs = trial + day.charged
    return packs + day.uncovered, packs, trial, bottom


def _plot(days: Sequence[DayTotals], width: int) -> str:
    plotext.terminal.limit(False, False)  # noqa: FBT003 - width and height of the terminal do not bound it
    figure = plotext.figure
    figure.clear()
    figure.plot_size(width, HEIGHT)
    stacks = [_stack(day) for day in days]
    labels = [f"{day.date:%m-%d}" for day in days]
    for layer, total in enumerate(_totals(days)):
        if total:
            tops = [stack[layer] for stack in stacks]
            figure.draw(figure.bar(labels, tops, marker=LAYERS[layer].marker, width=BAR_WIDTH))
    top = max(stack[0] for stack in stacks)
    ticks = sorted({top * step // TICKS_Y for step in range(TICKS_Y + 1)})
    figure.ruler("y").ticks(ticks, [f"{tick:,}" for tick in ticks])
    drawn: str = figure.build().string(colorless=True)
    return "\n".join(line.rstrip() for line in drawn.splitlines())


def _totals(days: Sequence[DayTotals]) -> tuple[int, int, int, int]:
    """The calls of each layer, from the top."""
    return (
        sum(day.uncovered for day in days),
        sum(day.charged for day in days),
        sum(day.trial_charged for day in days),
        sum(day.not_charged for day in days),
    )


def _legend(days: Sequence[DayTotals]) -> Text:
    text = Text()
    for layer, total in zip(LAYERS, _totals(days), strict=True):
        if total:
            text.append(f"{layer.marker} {layer.meaning}: {total:,}   ", style=layer.style)
    return text


def _colored(drawn: str) -> Text:
    text = Text(drawn)
    for layer in LAYERS:
        text.highlight_regex(f"{layer.marker}+", layer.style)
    return text
