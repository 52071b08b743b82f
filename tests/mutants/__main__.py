"""Try mutants for some minutes, in a seeded order, and say which ones no test noticed.

Exit status 1 if one survived that `survivors.toml` does not list.
"""

import argparse
import random
import sys
import time
from collections import Counter, defaultdict
from pathlib import Path

from rich.console import Console
from rich.table import Table

from tests.mutants.making import Mutant, Place, mutant_at, places_in
from tests.mutants.survivors import as_entry, is_listed, listed
from tests.mutants.trying import Fate, Tries

ROOT = Path(__file__).parents[2]
FOLDERS = ("metering", "streams", "sinks")

PROCESSES_ONLY = frozenset({"streams/app.py", "sinks/service.py", "sinks/notifier/service.py"})
"""Modules that only run as processes of their own, which the tests cannot mutate."""


def main() -> int:
    options = _options()
    console = Console(width=120, highlight=False, markup=False)
    places = _places(options.paths, options.seed)
    may_survive = listed()
    tries = Tries(ROOT)
    until_s = time.monotonic() + 60 * options.minutes
    fates: defaultdict[str, Counter[Fate]] = defaultdict(Counter)
    unlisted, needless = list[Mutant](), list[Mutant]()
    for place in places:
        if time.monotonic() > until_s:
            break
        mutant = mutant_at(place, ROOT)
        if mutant is None:
            continue
        fate = tries.fate_of(mutant)
        fates[mutant.path][fate] += 1
        allowed = is_listed(mutant, may_survive)
        if fate == "survived" and not allowed:
            unlisted.append(mutant)
            console.print(f"Nobody noticed:\n{as_entry(mutant)}")
        elif fate != "survived" and allowed:
            needless.append(mutant)
            console.print(f"Listed, but noticed:\n{as_entry(mutant)}")
    _show(console, places, fates)
    console.print(
        f"{len(unlisted)} survived that are not listed, {len(needless)} are listed and were noticed."
    )
    return int(bool(unlisted))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.mutants", description=__doc__)
    parser.add_argument("paths", nargs="*", default=FOLDERS, help="folders or modules (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=1, help="decides the order (default: %(default)s)")
    parser.add_argument("--minutes", type=float, default=480.0, help="at most (default: %(default)s)")
    return parser.parse_args()


def _places(paths: list[str], seed: int) -> list[Place]:
    """The places in these paths where a mutant can be made, in an order that the seed decides."""
    modules: set[Path] = set()
    for path in paths:
        where = ROOT / path
        modules |= set(where.rglob("*.py") if where.is_dir() else [where])
    names = sorted(str(module.relative_to(ROOT)) for module in modules)
    places = [place for name in names if name not in PROCESSES_ONLY for place in places_in(name, ROOT)]
    random.Random(seed).shuffle(places)  # noqa: S311 - a seed that replays is the point
    return places


def _show(console: Console, places: list[Place], fates: dict[str, Counter[Fate]]) -> None:
    table = Table(title=f"{sum(map(Counter.total, fates.values()))} mutants tried of {len(places)}")
    table.add_column("module")
    for column in ("places", "tried", "killed", "killed by time", "survived"):
        table.add_column(column, justify="right")
    of = Counter(place.path for place in places)
    for path, fate in sorted(fates.items()):
        table.add_row(
            path, *map(str, (of[path], fate.total(), fate["killed"], fate["timeout"], fate["survived"]))
        )
    total = sum(fates.values(), Counter[Fate]())
    table.add_section()
    table.add_row(
        "all", *map(str, (len(places), total.total(), total["killed"], total["timeout"], total["survived"]))
    )
    console.print(table)


if __name__ == "__main__":
    sys.exit(main())
