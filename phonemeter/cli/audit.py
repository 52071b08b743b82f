"""`phonemeter audit`: the ledger, recomputed from the log, against the topics and ClickHouse."""

import logging
import re
from functools import partial
from typing import Annotated, Final

import typer

from phonemeter import log_lines
from phonemeter.audit import sentences, service
from phonemeter.audit.apps_summary import read_summary
from phonemeter.audit.auditor import audit as carry_out
from phonemeter.audit.repair import allow_inserts
from phonemeter.audit.repair import repair as repair_ledger
from phonemeter.audit.report import AuditReport
from phonemeter.cli.audit_progress import audit_progress
from phonemeter.errors import UserError
from phonemeter.settings import load
from phonemeter.stack.data_services import data_services
from phonemeter.terminal import output, print_json
from sinks.preconditions import Preconditions, broker_view

DIFFERENT: Final = 1
AUDIT_FIELDS: Final = (
    "partitions",
    "places",
    "repeated",
    "shared_packs",
    "beyond_horizon",
    "late_facts",
    "took_s",
    "settings_note",
    "another_log",
    "clients_forgotten_before",
)
UNITS_S: Final = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}


def audit(
    *,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
    most: Annotated[
        int, typer.Option("--most", min=1, max=1_000, help="Number of differences to print for each place.")
    ] = 10,
    every: Annotated[
        str | None,
        typer.Option(
            help="Audit repeatedly, at this interval from start to start (90s, 30m, 1h), and serve the "
            "results as metrics until stopped.",
            metavar="TIME",
        ),
    ] = None,
    repair: Annotated[
        bool,
        typer.Option(
            "--repair",
            help="If ClickHouse differs, build its ledger again from phone-ledger, replace the old one with "
            "it atomically, and audit again.",
        ),
    ] = False,
    port: Annotated[
        int | None,
        typer.Option(
            min=1, max=65_535, help="Port of the metrics, with --every. [default: the setting audit_port]"
        ),
    ] = None,
) -> None:
    """Recompute the ledger from the log of events and compare it with phone-ledger and with ClickHouse.

    The whole log is metered again. The result is compared with every entry of phone-ledger (one that was
    published twice has to be identical), every entry in ClickHouse, and the dead letters. What the worker and
    the sink have not processed yet is no difference, but is reported. Prints the first differences. If the
    one-machine stack is down, Kafka and ClickHouse are started for the audit.

    The exit status is 0 if there is none, 1 if there is any. Changes nothing, unless --repair is given.
    """
    settings = load()
    if every is not None:
        if repair:
            raise UserError("--repair is done once and by a person; leave out --every.")
        every_s = parse_interval_s(every)
        log_lines.configure(settings.log_format, "audit")
        service.audit_periodically(
            partial(carry_out, settings),
            partial(read_summary, settings.clickhouse),
            every_s,
            settings.audit_balances_interval_s,
            preconditions=Preconditions(frozenset(), partial(broker_view, settings.kafka_access)),
            host=settings.listen_host,
            port=port or settings.audit_port,
        )
        return
    if repair:
        # The result reports what the sink would log.
        logging.getLogger("sinks").addHandler(logging.NullHandler())
    with data_services(settings, ("kafka", "engine")), audit_progress() as show:
        if repair:
            allow_inserts(settings.clickhouse)
        report = carry_out(settings, show)
        if repair and report.places["ClickHouse"].kinds:
            repaired = repair_ledger(settings, show)
            console = output(stderr=True)
            console.print(f"{sentences.verdict(report)} {sentences.repair_result(repaired)}")
            report = carry_out(settings, show)
    print_report(report, most=most, as_json=as_json)
    raise typer.Exit(0 if report.clean else DIFFERENT)


def parse_interval_s(text: str) -> float:
    """Parse a duration such as 90s, 30m, 1h into seconds.

    Raises:
        UserError: it is none.
    """
    match = re.fullmatch(r"([1-9][0-9]{0,5})([smhd])", text)
    if match is None:
        raise UserError(
            f"--every {text!r} is not a time; write a number and a unit, such as 90s, 30m, 1h or 1d."
        )
    return int(match[1]) * UNITS_S[match[2]]


def print_report(report: AuditReport, *, most: int, as_json: bool) -> None:
    """Print an audit."""
    if as_json:
        told = {"clean": report.clean, "figures": report.figures}
        told |= {name: getattr(report, name) for name in AUDIT_FIELDS}
        print_json(told)
        return
    console = output()
    console.print(sentences.verdict(report), style="bold green" if report.clean else "bold red")
    console.print(sentences.scope(report))
    if report.settings_note:
        console.print(report.settings_note, style="yellow")
    if report.another_log:
        console.print(report.another_log, style="bold red")
    for sentence in (
        *sentences.forgotten(report),
        *sentences.in_flight(report),
        *sentences.differences(report, most),
        *sentences.repeated(report, most),
        *sentences.shared_packs(report, most),
        *sentences.beyond_horizon(report, most),
    ):
        console.print(sentence)
