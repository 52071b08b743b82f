"""`phonemeter doctor`: each step to Kafka and ClickHouse, and what to ask others for."""

from dataclasses import asdict
from typing import Annotated, Final

import typer
from rich.text import Text

from metering.kafka_rights import RIGHTS
from phonemeter.doctor.clickhouse_steps import take_clickhouse_steps
from phonemeter.doctor.findings import Findings, StepFinding
from phonemeter.doctor.kafka_steps import KafkaSteps
from phonemeter.errors import UserError
from phonemeter.settings import load
from phonemeter.terminal import output, print_json

FAILED: Final = 1
DEFAULT: Final = ("worker", "sink", "settler", "notifier", "gateway", "console")
_STYLES: Final = {"ok": "green", "failed": "red", "advice": "yellow", "not tried": "dim"}


def doctor(
    *,
    service: Annotated[
        list[str] | None,
        typer.Option(
            "--service",
            metavar="NAME",
            help=f"Services that this account runs: {', '.join(RIGHTS)}. May be given several times. "
            f"Default: {', '.join(DEFAULT)}.",
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Try each step to Kafka and to ClickHouse with these settings, and say what to ask others for.

    Names, connections, TLS, logins, advertised listeners, rights, settings of topics, clocks: a line each, ok
    or failed, with the reason and the command that mends it. Nothing is written. The exit status is 0 if no
    step failed, otherwise 1.
    """
    services = tuple(service or DEFAULT)
    unknown = [name for name in services if name not in RIGHTS]
    if unknown:
        raise UserError(f"--service {unknown[0]} is no service; choose from {', '.join(RIGHTS)}.")
    settings = load()
    findings = Findings()
    KafkaSteps(settings.kafka_access, services, settings.partitions, findings).take()
    take_clickhouse_steps(settings.clickhouse, frozenset(services), findings)
    if as_json:
        print_json(
            {
                "healthy": not findings.failed,
                "services": list(services),
                "findings": [asdict(one) for one in findings.all],
            }
        )
    else:
        for one in findings.all:
            _print(one)
    raise typer.Exit(FAILED if findings.failed else 0)


def _print(one: StepFinding) -> None:
    console = output()
    head = " ".join(filter(None, (one.step, one.subject)))
    told = f": {one.told}" if one.told else ""
    console.print(Text.assemble((f"{one.state:9} ", _STYLES[one.state]), f"{head}{told}"))
    for line in one.remedy.splitlines():
        # Soft-wrapped, so that a command is copied as one line.
        console.print(Text(f"          {line}"), soft_wrap=True)
