"""Run the real processes under faults for some minutes and report the outcome.

The exit status is 1 if anything was lost or doubled, or if a requested fault never happened.
"""

import argparse
import logging
import random
import shutil
import signal
import statistics
import sys
import tempfile
import time
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path

from rich.console import Console
from rich.table import Table

from phonemeter.audit.auditor import audit
from phonemeter.settings import load as load_settings
from tests.simulation import mutations
from tests.torture import cluster_faults, faults
from tests.torture.faults import Scene
from tests.torture.http_load import HttpLoad
from tests.torture.load import Load
from tests.torture.rig import Rig
from tests.torture.verdict import Count, Verdict, judge

ALL_FAULTS = {**faults.ALL, **cluster_faults.ALL}

RECOVERS_S_MAX = 300.0
STORED_S_MAX = 240.0


@dataclass
class Outcome:
    """The outcome of one kind of fault."""

    fired: int = 0
    recovered_s: list[float] = field(default_factory=list)
    never_recovered: int = 0
    lost: int = 0
    doubled: int = 0


class Torture:
    """A run: one fault after the other under load, each with its recovery."""

    def __init__(self, scene: Scene, console: Console, seconds: float) -> None:
        self._scene = scene
        self._console = console
        self._seconds = seconds
        self._seen = Count(0, 0)
        self.outcomes: defaultdict[str, Outcome] = defaultdict(Outcome)

    def run(self, wanted: list[str]) -> None:
        """Inject every wanted fault once, in random order, and again until the time is over."""
        began_s = time.monotonic()
        self._scene.rig.until(lambda: self._scene.rig.look().lost == 0 and self._probed("warm"), 60)
        rounds = 0
        while rounds == 0 or time.monotonic() - began_s < self._seconds:
            deck = sorted(wanted)
            self._scene.chance.shuffle(deck)
            for name in deck:
                if rounds and time.monotonic() - began_s >= self._seconds:
                    break
                self._scene.rig.rest(self._scene.chance.uniform(0.2, 3.0))
                self._inject(name, f"{rounds}-{name}")
            rounds += 1

    def _inject(self, name: str, mark: str) -> None:
        outcome = self.outcomes[name]
        outcome.fired += ALL_FAULTS[name](self._scene)
        ended_s = time.monotonic()
        if self._probed(mark):
            outcome.recovered_s.append(time.monotonic() - ended_s)
            found = self._scene.rig.look()
            outcome.lost += max(0, found.lost - self._seen.lost)
            outcome.doubled += max(0, found.doubled - self._seen.doubled)
            self._seen = found
            self._console.print(f"{name}: recovered in {outcome.recovered_s[-1]:.1f} s")
        else:
            outcome.never_recovered += 1
            self._console.print(f"{name}: not recovered within {RECOVERS_S_MAX:.0f} s")

    def _probed(self, mark: str) -> bool:
        load, rig = self._scene.load, self._scene.rig
        probes = load.probes(mark)

        def all_visible() -> bool:
            load.ask_again(probes)
            return rig.visible([probe.id for probe in probes])

        return rig.until(all_visible, RECOVERS_S_MAX)


def main() -> int:
    options = _options()
    # Servers are down on purpose; the clients here need not log it.
    logging.disable(logging.CRITICAL)
    # On SIGTERM, it still unmounts its file system and removes its directory.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    console = Console(width=120, highlight=False)
    directory = Path(tempfile.mkdtemp(prefix="phonemeter-torture-"))
    seconds = 60 * options.minutes
    try:
        with Rig(directory, options.mutation, options.brokers) as rig:
            minutes = max(options.minutes, 5.0)
            load = Load(rig.kafka, options.seed, options.rate, minutes, rig.kafka_settings)
            chance = random.Random(options.seed)  # noqa: S311 - a seed that replays is the point
            http = HttpLoad(rig.gateway_port, rig.key)
            scene = Scene(rig, load, http, chance, min(faults.AWAY_S_MAX, seconds * faults.AWAY_SHARE))
            torture = Torture(scene, console, seconds)
            load.start()
            http.start()
            try:
                torture.run(options.faults)
            finally:
                load.stop()
                http.stop()
            came_in = rig.until(rig.all_stored, STORED_S_MAX)
            rig.rest(3)
            verdict = judge(rig.kafka, rig.engine_port)
            report = audit(load_settings(kafka=rig.kafka, clickhouse=rig.clickhouse))
            wrong = http.wrong(rig.clickhouse)
            backup = _restored(rig)
            _show(console, torture.outcomes, verdict, options)
            ended = {program.name: program.ended_by_itself for program in rig.programs}
            console.print(
                f"published {load.published}, refused {load.refused}, producers renewed {load.renewed}, "
                f"restarts {ended}"
            )
            console.print(
                f"gateway: {len(http.accepted)} events accepted since the log was last replaced, "
                f"{http.repeated} requests sent again; not counted once: {wrong or 'none'}",
                markup=False,
            )
            console.print(f"phonemeter audit: {'clean' if report.clean else report}", markup=False)
            console.print(f"backup, restored beside the log: {backup or 'as it was'}", markup=False)
            if not came_in:
                console.print(f"[red]Not everything was stored within {STORED_S_MAX:.0f} s.[/red]")
    finally:
        if options.keep:
            console.print(f"Everything is kept in {directory}.")
        else:
            shutil.rmtree(directory, ignore_errors=True)
    fired = all(torture.outcomes[name].fired for name in options.faults)
    recovered = not any(outcome.never_recovered for outcome in torture.outcomes.values())
    well = verdict.clean and report.clean and came_in and not wrong and not backup
    return 0 if well and fired and recovered else 1


def _restored(rig: Rig) -> str:
    """Add the rest of the log to the backup and restore it; a difference in words."""
    if not rig.backups.take():
        return "it was not taken"
    return rig.backups.restored(rig.clickhouse.replace("/phonemeter", "/restored"))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.torture", description=__doc__)
    parser.add_argument("--seed", type=int, default=1, help="seed of load and faults (default: %(default)s)")
    parser.add_argument(
        "--minutes",
        type=float,
        default=5.0,
        help="at least; longer if needed for one round of all faults (default: %(default)s)",
    )
    parser.add_argument("--rate", type=int, default=150, help="events per second (default: %(default)s)")
    parser.add_argument(
        "--brokers",
        type=int,
        choices=(1, 3),
        default=1,
        help="three: a cluster, with faults that take several (default: %(default)s)",
    )
    parser.add_argument("--faults", nargs="+", choices=sorted(ALL_FAULTS), metavar="FAULT")
    parser.add_argument(
        "--mutation", choices=["", *(each.name for each in mutations.ALL)], default="", help="a planted bug"
    )
    parser.add_argument("--keep", action="store_true", help="keep data and logs")
    options = parser.parse_args()
    possible = ALL_FAULTS if options.brokers > 1 else faults.ALL
    options.faults = options.faults or sorted(possible)
    if not possible.keys() >= set(options.faults):
        parser.error("these faults take --brokers 3")
    return options


def _show(
    console: Console, outcomes: dict[str, Outcome], verdict: Verdict, options: argparse.Namespace
) -> None:
    brokers = f"{options.brokers} broker{'s' if options.brokers > 1 else ''}"
    title = f"seed {options.seed}, {options.minutes:g} minutes, {options.rate} events/s, {brokers}"
    table = Table(title=title)
    table.add_column("fault")
    for column in ("fired", "recovered in, median s", "max s", "lost", "doubled"):
        table.add_column(column, justify="right")
    for name, outcome in sorted(outcomes.items()):
        times = outcome.recovered_s
        median, worst = (f"{statistics.median(times):.1f}", f"{max(times):.1f}") if times else ("-", "-")
        table.add_row(
            name,
            str(outcome.fired),
            median,
            "never" if outcome.never_recovered else worst,
            str(outcome.lost),
            str(outcome.doubled),
        )
    table.add_section()
    changed = verdict.doubled + verdict.made_up
    table.add_row("all, line by line", "", "", "", str(verdict.lost), str(changed))
    console.print(table)
    console.print(
        f"{verdict.records} records, {verdict.lines} lines compared with the rules alone; "
        f"{verdict.dead_letters} dead letters, {verdict.dead_letters_lost} of them missing"
    )
    if verdict.first:
        console.print(f"The first difference: {verdict.first}", markup=False)


if __name__ == "__main__":
    sys.exit(main())
