"""`phonemeter audit`: the ledger, recomputed from the log, against the topics and ClickHouse."""

import logging
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Annotated, Final

import msgspec
import typer
from rich.console import Console

from phonemeter.audit import service, wording
from phonemeter.audit.auditor import Show
from phonemeter.audit.auditor import audit as carry_out
from phonemeter.audit.fleet import read_fleet
from phonemeter.audit.repair import allow_inserts
from phonemeter.audit.repair import repair as mend
from phonemeter.audit.report import Report
from phonemeter.errors import UserError
from phonemeter.settings import load

DIFFERENT: Final = 1
METRICS_PORT: Final = 9466
UNITS_S: Final = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}
LOG_FORMAT: Final = "%(asctime)s %(levelname)s %(name)s: %(message)s"


def audit(
    *,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
    most: Annotated[
        int, typer.Option("--most", min=1, max=1_000, help="Differences to print of each place.")
    ] = 10,
    every: Annotated[
        str | None,
        typer.Option(
            help="Audit again and again, so long from begin to begin (90s, 30m, 1h), and serve the results "
            "as metrics until stopped.",
            metavar="TIME",
        ),
    ] = None,
    repair: Annotated[
        bool,
        typer.Option(
            "--repair",
            help="If ClickHouse differs, build its ledger anew from phone-ledger, put it in the place of the "
            "old one at once, and audit again.",
        ),
    ] = False,
    port: Annotated[
        int, typer.Option(min=1, max=65_535, help="Port of the metrics, with --every.")
    ] = METRICS_PORT,
) -> None:
    """Recompute the ledger from the log of events and compare it with phone-ledger and with ClickHouse.

    The rules run over the whole log again. Held against them are every line of phone-ledger (one that was
    published twice has to be identical), every line in ClickHouse, and the dead letters. What the worker and
    the sink have not done yet is no difference; how far they are is said. Prints the first differences.

    The exit status is 0 if there is none, 1 if there is any. Changes nothing, unless --repair is given.
    """
    settings = load()
    if every is not None:
        if repair:
            raise UserError("--repair is done once and by a person; leave out --every.")
        every_s = seconds_of(every)
        logging.basicConfig(level=logging.INFO, format=LOG_FORMAT, stream=sys.stderr)
        for library in ("kafka", "aiokafka", "clickhouse_driver"):
            logging.getLogger(library).setLevel(logging.ERROR)
        service.audit_again_and_again(
            partial(carry_out, settings),
            partial(read_fleet, settings.clickhouse),
            every_s,
            settings.audit_balances_interval_s,
            settings.listen_host,
            port,
        )
        return
    if repair:
        # What the sink would log is told by the result.
        logging.getLogger("sinks").addHandler(logging.NullHandler())
        allow_inserts(settings.clickhouse)
    with progress() as show:
        report = carry_out(settings, show)
        if repair and report.places["ClickHouse"].kinds:
            repaired = mend(settings, show)
            console = Console(stderr=True, highlight=False, soft_wrap=True)
            console.print(f"{wording.verdict(report)} {wording.mended(repaired)}")
            report = carry_out(settings, show)
    tell(report, most=most, as_json=as_json)
    raise typer.Exit(0 if report.clean else DIFFERENT)


def seconds_of(text: str) -> float:
    """The seconds of a time such as 90s, 30m, 1h.

    Raises:
        UserError: it is none.
    """
    match = re.fullmatch(r"([1-9][0-9]{0,5})([smhd])", text)
    if match is None:
        raise UserError(
            f"--every {text!r} is not a time; write a number and a unit, such as 90s, 30m, 1h or 1d."
        )
    return int(match[1]) * UNITS_S[match[2]]


def tell(report: Report, *, most: int, as_json: bool) -> None:
    """Print an audit."""
    if as_json:
        told = {"clean": report.clean, "figures": report.figures}
        told |= {name: getattr(report, name) for name in ("partitions", "places", "repeated", "took_s")}
        sys.stdout.write(f"{msgspec.json.encode(told).decode()}\n")
        return
    console = Console(highlight=False, markup=False, soft_wrap=True)
    console.print(wording.verdict(report), style="bold green" if report.clean else "bold red")
    console.print(wording.scope(report))
    for sentence in (
        *wording.in_flight(report),
        *wording.differences(report, most),
        *wording.repeated(report, most),
    ):
        console.print(sentence)


@contextmanager
def progress() -> Iterator[Show]:
    """Show people, on stderr, how far an audit is."""
    console = Console(stderr=True)
    with console.status("Auditing ...") as status:

        def show(partition: int, offset: int, end: int) -> None:
            status.update(f"Auditing partition {partition}: {offset:,} of {end:,} records ...")

        yield show
