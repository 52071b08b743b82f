"""Run the simulation: one seed with a report of each fault, or many seeds.

The exit status is 1 if a run had a wrong outcome; its seed is printed and replays exactly.
"""

import argparse
import sys
import time
from collections import Counter

from tests.simulation.gateway_world import GatewayWorld

WRONG_MAX = 10
"""The number of wrong runs after which the search ends."""


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("--seed", type=int, help="run this seed alone and report each fault")
    parser.add_argument("--first", type=int, default=0, help="the first of many seeds")
    parser.add_argument("--seeds", type=int, default=sys.maxsize, help="how many seeds at most")
    parser.add_argument("--minutes", type=float, default=1.0, help="how long to run further seeds")
    options = parser.parse_args()
    if options.seed is not None:
        world = GatewayWorld(options.seed, tell=_say)
        world.run()
        _say_counts(world.faults)
        return 0
    return _run_many(options.first, options.seeds, options.minutes)


def _run_many(first: int, seeds: int, minutes: float) -> int:
    began_s = time.monotonic()
    faults: Counter[str] = Counter()
    wrong: list[int] = []
    runs = 0
    while runs < seeds and len(wrong) < WRONG_MAX and time.monotonic() - began_s < 60 * minutes:
        world = GatewayWorld(first + runs)
        try:
            world.run()
        except Exception as error:  # noqa: BLE001 - any error is a finding of this seed
            wrong.append(world.seed)
            _say(f"seed {world.seed}: {error!r}")
        faults += world.faults
        runs += 1
    took_s = time.monotonic() - began_s
    _say_counts(faults)
    _say(f"{runs} seeds in {took_s:.1f} s, {runs / took_s * 60:.0f} a minute; wrong: {wrong or 'none'}")
    return 1 if wrong else 0


def _say_counts(faults: Counter[str]) -> None:
    for fault, count in sorted(faults.items()):
        _say(f"{count:8} {fault}")


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
