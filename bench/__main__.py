"""`make bench`: the figures of this machine, checked, one JSON line each, with what was so meanwhile."""

import argparse
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from bench import (
    console,
    curves,
    emit,
    end_to_end,
    freshness,
    gateway,
    growth,
    peers,
    rescale,
    rescale_sinks,
    restart,
    route,
    scale_out,
    sink,
)
from bench.figures import Figure, conditions, tell, write
from bench.table import write_page

PEERBENCH: Final = Path("../shared/peerbench")


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """The amount that is measured. Figures of a small size are noisy."""

    taps: int
    few_taps: int
    growth_taps: int
    seconds: int
    apps: int
    ids: int
    sink_rows: int
    curve_rows: int
    page_taps: int
    page_visits: int
    runs: int


QUICK: Final = Size(
    taps=200_000,
    few_taps=100_000,
    growth_taps=40_000,
    seconds=10,
    apps=20_000,
    ids=400_000,
    sink_rows=200_000,
    curve_rows=1_000_000,
    page_taps=400_000,
    page_visits=20,
    runs=1,
)
FULL: Final = Size(
    taps=1_000_000,
    few_taps=400_000,
    growth_taps=200_000,
    seconds=60,
    apps=100_000,
    ids=10_000_000,
    sink_rows=1_000_000,
    curve_rows=100_000_000,
    page_taps=1_000_000,
    page_visits=50,
    runs=3,
)

Parts = Mapping[str, Callable[[], Iterator[Figure]]]


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure what is asked for and print it; write it down as well, if asked to."""
    given = _parser().parse_args(arguments)
    measured = [] if given.only_write else list(_measured(given))
    right = [line for line in measured if line["correct"] is not False]
    lines = _kept(given.lines, right) if given.lines else right
    if given.write:
        written = write_page(given.write, lines)
        tell(f"{given.write}: {', '.join(written) or 'nothing'} written")
    if len(right) < len(measured):
        tell("figures that came of a wrong output count for nothing: see what is said above about it")
        raise SystemExit(1)


def _measured(given: argparse.Namespace) -> Iterator[dict[str, Any]]:
    size = FULL if given.full else QUICK
    said: list[dict[str, Any]] = []
    under = conditions()
    for name, figures in _parts(size, given.runs or size.runs, given.peerbench, said.append).items():
        if given.only and name not in given.only:
            continue
        tell(f"measuring {name} ...")
        for figure in figures():
            line = figure.as_line({**under, "size": "full" if given.full else "quick"})
            write(line)
            said.append(line)
    yield from said


def _parts(size: Size, runs: int, peerbench: Path, note: Callable[[dict[str, Any]], None]) -> Parts:
    def beside_peers() -> Iterator[Figure]:
        there = (peerbench / "run.sh").is_file()
        if not there:
            tell(f"{peerbench} is not there, so no peer is measured; name it with --peerbench")
        asked = peers.PeersConfig(size.taps, runs, peerbench.resolve() if there else None)
        found = []
        for line in peers.lines(asked):
            write(line)
            note(line)
            found.append(line)
        yield from peers.figures(found)

    return {
        "peers": beside_peers,
        "end-to-end": lambda: end_to_end.figures(size.taps, runs),
        "freshness": lambda: freshness.figures(size.seconds, runs),
        "scale-out": lambda: scale_out.figures(size.few_taps, runs),
        "growth": lambda: growth.figures(size.growth_taps, size.taps, size.apps, runs),
        "restart": lambda: restart.figures(size.apps, size.ids, runs),
        "rescale": lambda: rescale.figures(size.apps, size.ids, runs),
        "rescale-sinks": lambda: rescale_sinks.figures(runs),
        "sink": lambda: sink.figures(size.sink_rows, runs),
        "emit": lambda: emit.figures(size.few_taps, runs),
        "gateway": lambda: gateway.figures(size.seconds, runs),
        "route": lambda: route.figures(size.seconds, runs),
        "curves": lambda: curves.figures(size.curve_rows),
        "console": lambda: console.figures(size.page_taps, size.page_visits),
    }


def _kept(file: Path, lines: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Add the lines to a file, where those of other parts stay; all that it holds then."""
    with file.open("a", encoding="utf-8") as kept:
        kept.writelines(f"{json.dumps(line)}\n" for line in lines)
    return _read(file)


def _read(file: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines() if line[:1] == "{"]


def _part_of(names: Sequence[str]) -> Callable[[str], str]:
    def part(name: str) -> str:
        if name not in names:
            raise argparse.ArgumentTypeError(f"{name} is none of {', '.join(names)}")
        return name

    return part


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    names = list(_parts(QUICK, 1, PEERBENCH, lambda _: None))
    parser.add_argument(
        "only",
        nargs="*",
        type=_part_of(names),
        metavar="PART",
        help=f"of {', '.join(names)}; all if none is named",
    )
    parser.add_argument(
        "--full", action="store_true", help="the sizes that the targets speak of; more than an hour"
    )
    parser.add_argument("--runs", type=int, help="runs of each, of which the median counts")
    parser.add_argument("--peerbench", type=Path, default=PEERBENCH, help="the peers' own harness")
    parser.add_argument("--lines", type=Path, help="a file that keeps the lines, over several calls")
    parser.add_argument("--write", type=Path, metavar="PAGE", help="write the tables of this page anew")
    parser.add_argument("--only-write", action="store_true", help="measure nothing, use --lines as it is")
    return parser


if __name__ == "__main__":
    main()
