"""The client matrix: `python -m tests.clients [--only NAME,...]`, or `make clients`.

Starts a stack of its own on free ports, has every producer whose toolchain is on the machine send its groups,
and compares what became of each record. The exit status is 1 if one became something else than it must.
"""

import argparse
import sys
import tempfile
from pathlib import Path

from rich.console import Console
from rich.table import Table

from phonemeter.settings import load
from phonemeter.stack import services
from phonemeter.stack.stack import Stack
from tests.clients.plan import cloud_events_of, records_of
from tests.clients.producers import PRODUCERS
from tests.clients.run import Result, run_matrix
from tests.ports import free_port


def main() -> int:
    """Run the matrix and print its table; the exit status."""
    parser = argparse.ArgumentParser(prog="python -m tests.clients", description=__doc__)
    names = [producer.name for producer in PRODUCERS]
    parser.add_argument("--only", help=f"comma-separated, of: {', '.join(names)}")
    only = parser.parse_args().only
    wanted = set(only.split(",") if only else names)
    if wanted - set(names):
        parser.error(f"no such producer: {', '.join(sorted(wanted - set(names)))}")
    talk = Console(stderr=True)
    ports = {name: free_port() for group in services.PORTS.values() for name in group}
    chosen = [producer for producer in PRODUCERS if producer.name in wanted]
    with (
        tempfile.TemporaryDirectory(prefix="clients-stack-") as directory,
        Stack(load(data_dir=Path(directory), **ports)) as stack,
    ):
        results = run_matrix(chosen, stack, lambda said: talk.print(said, highlight=False, markup=False))
    _show(results)
    return 0 if any(not result.left_out for result in results) and all(one.well for one in results) else 1


def _show(results: list[Result]) -> None:
    out = Console(width=None if sys.stdout.isatty() else 200)
    for title, make in (("records", records_of), ("CloudEvents", cloud_events_of)):
        rows = [result for result in results if result.producer.groups is make]
        if rows:
            out.print(_table(title, [group.name for group in make("", "x")], rows))
    for result in results:
        for sentence in (result.complaint, *(one for group in result.groups.values() for one in group)):
            if sentence:
                out.print(f"{result.producer.name}: {sentence}", highlight=False, markup=False)
        if result.left_out:
            out.print(
                f"{result.producer.name} was left out: {result.left_out}", highlight=False, markup=False
            )


def _table(title: str, groups: list[str], results: list[Result]) -> Table:
    table = Table("producer", "language", *groups, title=title, title_justify="left")
    for result in results:
        table.add_row(
            result.producer.name, result.producer.language, *(_cell(result, group) for group in groups)
        )
    return table


def _cell(result: Result, group: str) -> str:
    if result.left_out:
        return ""
    if group in result.producer.cannot:
        return "-"
    return "[red]RED[/red]" if result.groups.get(group) else "ok"


if __name__ == "__main__":
    sys.exit(main())
