"""The figures as Markdown: the parts of docs/explanation/performance.md between its markers."""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any, Final

from bench.plan import Assumed, Measured, as_table, planned

JsonLine = Mapping[str, Any]

_BEGIN: Final = "<!-- {name}: written by `make bench` -->"
_END: Final = "<!-- end of {name} -->"


def write_page(page: Path, lines: Sequence[JsonLine]) -> list[str]:
    """Write what the lines say into the page, each part between its markers; the parts that were written.

    Parts that the lines say nothing of stay as they are.

    Raises:
        ValueError: the page has no such part.
    """
    text = page.read_text(encoding="utf-8")
    written = []
    for name, rows_of in PARTS.items():
        rows = rows_of(lines)
        if rows:
            text = _replaced(text, name, "\n".join(rows))
            written.append(name)
    page.write_text(text, encoding="utf-8")
    return written


def figures(lines: Iterable[JsonLine]) -> list[str]:
    """One row per figure; of one that was measured twice the last counts."""
    found = {line["figure"]: line for line in lines if "figure" in line}
    if not found:
        return []
    return [
        "| figure | median | lowest to highest, runs | target | met | measured under |",
        "|---|---|---|---|---|---|",
        *(_figure_row(line) for line in found.values()),
    ]


def peers(lines: Iterable[JsonLine]) -> list[str]:
    """One row per peer and mode."""
    by_peer: dict[tuple[str, str], list[JsonLine]] = {}
    for line in lines:
        if "peer" in line:
            by_peer.setdefault((line["peer"], line["mode"]), []).append(line)
    if not by_peer:
        return []
    return [
        "| peer | mode | runs | events | CPU s per million | events/s | peak RSS MB | all correct |",
        "|---|---|---|---|---|---|---|---|",
        *(_peer_row(peer, mode, _as_large(runs)) for (peer, mode), runs in by_peer.items()),
    ]


def profile(lines: Iterable[JsonLine]) -> list[str]:
    """One row per stage of the newest profile."""
    found = [line for line in lines if "profile" in line]
    if not found:
        return []
    return [
        "| stage | share of the samples | us per event |",
        "|---|---|---|",
        *(
            f"| {stage} | {_number(one['share'])} % | {_number(one['us'])} |"
            for stage, one in found[-1]["profile"].items()
        ),
    ]


def conditions(lines: Iterable[JsonLine]) -> list[str]:
    """The machine and the versions that the last figure was measured with."""
    found = [line["conditions"] for line in lines if line.get("conditions")]
    if not found:
        return []
    return ["| condition | |", "|---|---|", *(f"| {name} | {value} |" for name, value in found[-1].items())]


def plan(lines: Sequence[JsonLine]) -> list[str]:
    """The plan for 10^10 calls a day, where the figures that it needs are there."""
    try:
        measured = Measured.of(lines)
    except ValueError:
        return []
    assumed = Assumed()
    return as_table(measured, assumed, planned(measured, assumed))


PARTS: Final[dict[str, Callable[[Sequence[JsonLine]], list[str]]]] = {
    "figures": figures,
    "peers": peers,
    "profile": profile,
    "conditions": conditions,
    "plan": plan,
}
"""The parts of the page, by the names in their markers."""


def _figure_row(line: JsonLine) -> str:
    met = {True: "yes", False: "**no**", None: ""}[line["met"]]
    runs = "1 run" if line["runs"] == 1 else f"{line['runs']} runs"
    unit = line["unit"]
    under = dict(line["under"])
    if line["correct"] is False:
        met = "**wrong output**"
    return (
        f"| {line['figure']} | {_number(line['value'])} {unit} | {_number(line['lowest'])} to "
        f"{_number(line['highest'])}, {runs} | {line['target'] or ''} | {met} | {_told(under)} |"
    )


def _as_large(runs: Sequence[JsonLine]) -> Sequence[JsonLine]:
    """The runs with as many events as the last: those of another size do not compare."""
    return [run for run in runs if run["events"] == runs[-1]["events"]]


def _peer_row(peer: str, mode: str, runs: Sequence[JsonLine]) -> str:
    def spread(name: str) -> str:
        values = [run[name] for run in runs]
        if len(values) == 1:
            return _number(values[0])
        return f"{_number(median(values))} ({_number(min(values))} to {_number(max(values))})"

    correct = "yes" if all(run["correct"] for run in runs) else "**no**"
    return (
        f"| {peer} | {mode} | {len(runs)} | {runs[-1]['events']:,} | {spread('cpu_s_per_million')} | "
        f"{spread('events_per_s')} | {spread('peak_rss_mb')} | {correct} |"
    )


def _told(under: Mapping[str, Any]) -> str:
    return ", ".join(f"{name.replace('_', ' ')} {_value(value)}" for name, value in under.items())


def _value(value: object) -> str:
    if isinstance(value, Mapping):
        return "; ".join(f"{size}: {_value(one)}" for size, one in value.items())
    return _number(value) if isinstance(value, int | float) and not isinstance(value, bool) else str(value)


def _number(value: float) -> str:
    return f"{value:,}" if isinstance(value, int) else f"{value:,.10g}"


def _replaced(text: str, name: str, content: str) -> str:
    begin, end = _BEGIN.format(name=name), _END.format(name=name)
    pattern = f"{re.escape(begin)}.*?{re.escape(end)}"
    replaced, count = re.subn(pattern, lambda _: f"{begin}\n{content}\n{end}", text, flags=re.DOTALL)
    if count != 1:
        raise ValueError(f"the page has {count} parts named {name}, not one")
    return replaced
