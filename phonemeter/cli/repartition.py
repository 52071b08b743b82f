"""`phonemeter repartition`: the log moved to topics with more partitions."""

from typing import Annotated, Final

import typer

from phonemeter.cli.progress_bar import ProgressBar
from phonemeter.errors import UserError
from phonemeter.repartition.log_move import CopyReport, LogMover, MoveReport
from phonemeter.settings import load
from phonemeter.stack.data_services import data_services
from phonemeter.terminal import Terminal, print_json, say

Prefix = Annotated[
    str,
    typer.Option("--to-prefix", metavar="PREFIX", help="Prefix of the new topics.", show_default=False),
]
Partitions = Annotated[
    int,
    typer.Option(
        "--partitions", min=2, help="Their number of partitions: a multiple of today's.", show_default=False
    ),
]
_NEXT: Final = "run it again to copy what arrives meanwhile, and with --finish once the services are stopped"


def repartition(
    to_prefix: Prefix,
    partitions: Partitions,
    *,
    finish: Annotated[
        bool,
        typer.Option("--finish", help="Close the old log, copy the rest, compare the ledgers, open the new."),
    ] = False,
    abandon: Annotated[
        bool, typer.Option("--abandon", help="Open the old log again, before the move is finished.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Move the log to topics with another prefix and more partitions.

    First, while everything runs: copies all events, and if run again what has arrived since. Then, with
    --finish, no worker, sink or notifier may run: the old log is closed, so that Kafka refuses every event,
    whoever sends it; the rest is copied; the new log is metered, and has to give every app the ledger that it
    has. Only then the new topics are opened. ClickHouse keeps the old ledger under another name. After that,
    every service and producer is started with the prefix and the number of partitions that are printed. A
    run that was broken off goes on if it is run again. If the one-machine stack is down, Kafka and ClickHouse
    are started for it.

    The exit status is 0 if it was done, 1 if the ledgers differ or a server did not do its part.
    """
    if finish and abandon:
        raise UserError("Say what to do, --finish or --abandon, and not both.")
    settings = load()
    with ProgressBar("copying", None, Terminal(stderr=True)) as bar:
        mover = LogMover(settings, to_prefix, partitions, bar.show_part)
        copied: CopyReport | None = None
        moved: MoveReport | None = None
        with data_services(settings, ("kafka", "engine"), for_restore=True):
            if abandon:
                mover.abandon()
            elif finish:
                moved = mover.finish()
            else:
                copied = mover.copy()
    if as_json:
        print_json(_as_json(to_prefix, partitions, copied or (moved.copied if moved else None), moved))
        return
    if abandon:
        say(f"The old log takes events again; the topics with the prefix {to_prefix!r} may be deleted.")
    elif copied is not None:
        say(
            f"The new log has all {copied.records:,} records that the old one had, {copied.appended:,} of "
            f"them new, in {copied.took_s:,.1f} s: {_NEXT}."
        )
    elif moved is not None:
        say(_moved_sentence(to_prefix, partitions, moved))


def _as_json(
    prefix: str, partitions: int, copied: CopyReport | None, moved: MoveReport | None
) -> dict[str, object]:
    return {
        "prefix": prefix,
        "partitions": partitions,
        "records": copied.records if copied is not None else 0,
        "new_records": copied.appended if copied is not None else 0,
        "finished": moved is not None,
        "ledger_lines_checked": moved.lines if moved is not None else None,
        "ledger_kept_as": (moved.ledger_kept_as or None) if moved is not None else None,
        "closed_s": moved.took_s if moved is not None else None,
    }


def _moved_sentence(prefix: str, partitions: int, moved: MoveReport) -> str:
    if not moved.copied.records:
        return f"The log was moved to the prefix {prefix!r} before; its topics are open."
    aside = f" ClickHouse keeps the old ledger as {moved.ledger_kept_as}." if moved.ledger_kept_as else ""
    return (
        f"The new log gives every app the ledger that it had: {moved.lines:,} entries compared. The old log "
        f"was closed for {moved.took_s:,.1f} s, and stays closed.{aside} Set "
        f"PHONEMETER_KAFKA_PREFIX={prefix} and PHONEMETER_PARTITIONS={partitions} for every service, and "
        f"have every producer write to {prefix}phone-events; the first worker meters everything again."
    )
