"""`phonemeter balance [APPID]`: the balance of an app, from the views on the ledger in ClickHouse."""

from functools import partial
from typing import Annotated

import typer
from rich.text import Text

from dashboards.reads.balance import AppBalance, CapabilityHolding, find_balance
from metering.printable_text import one_line
from metering.times import parse_time
from phonemeter.cli.app_choice import AppId, choose_app
from phonemeter.clickhouse import ledger_client, unknown_app
from phonemeter.formats import to_minute, yuan
from phonemeter.settings import load
from phonemeter.tables import print_table
from phonemeter.terminal import Table, Terminal, output, print_json
from sinks.connection import rows


def balance(
    appid: AppId = None,
    *,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Show what an app has left: trial quota, balance per capability, and its packs in consumption order.

    The figures come from ClickHouse, so they are as fresh as the ledger there; `phonemeter status` says how
    fresh. Times are Shanghai's; in JSON they are UTC.
    """
    url = load().clickhouse
    found = read_balance(url, choose_app(appid, url, "balance"))
    if as_json:
        print_json(found)
    else:
        _show(found, output())


def read_balance(url: str, appid: str) -> AppBalance:
    """The balance of an app, from the ClickHouse at `url`.

    Raises:
        OperationError: the app is unknown, ClickHouse does not answer, or it has no ledger yet.
    """
    with ledger_client(url) as client:
        found = find_balance(partial(rows, client), appid)
    if found is None:
        raise unknown_app(appid)
    return found.balance


def _show(found: AppBalance, console: Terminal) -> None:
    whose = (
        "Shanghai" if found.runs_on == "wall" else "Shanghai; the time of the events, as no clock ticks here"
    )
    as_of = to_minute(parse_time(found.as_of))
    console.print(Text.assemble((one_line(found.appid), "bold"), f", as of {as_of} ({whose})"))
    scope = ", for both capabilities together" if found.trial_shared else ", one per capability"
    console.print(
        f"trial quota: {found.trial_remaining:,} of {found.trial_size:,} calls left"
        f"{scope if found.trial_size else ''}"
    )
    if found.unsettled_from is not None:
        since = to_minute(parse_time(found.unsettled_from))
        console.print(f"unsettled: a fact arrived late, and figures from {since} on may still change")
    for name, capability in found.capabilities.items():
        _show_capability(name, capability, console)


def _show_capability(name: str, capability: CapabilityHolding, console: Terminal) -> None:
    beside = f"; {capability.packs_pending:,} more in packs to come" if capability.packs_pending else ""
    if capability.packs_expired:
        beside += f"; expired packs keep {capability.packs_expired:,} for late events"
    calls = "1 call" if capability.calls_left == 1 else f"{capability.calls_left:,} calls"
    console.print()
    console.print(
        Text.assemble(
            (name, "bold"),
            f": {calls} left ({capability.trial_remaining:,} trial, "
            f"{capability.packs_remaining:,} in packs{beside})",
        )
    )
    if not capability.packs:
        return
    table = Table("pack", "order", "status", box=None, padding=(0, 1, 0, 0))
    was_in_use = any(pack.used_before for pack in capability.packs)
    for title in ("left", "of", *(["used before"] if was_in_use else []), "lapsed", "cost ¥"):
        table.add_column(title, justify="right")
    table.add_column("valid from")
    table.add_column("until (Shanghai)")
    for pack in capability.packs:
        table.add_row(
            pack.pack_id,
            str(pack.burns or ""),
            pack.status,
            f"{0 if pack.status == 'expired' else pack.remaining:,}",
            f"{pack.calls:,}",
            *([f"{pack.used_before:,}"] if was_in_use else []),
            f"{pack.lapsed:,}" if pack.lapsed else "",
            yuan(pack.amount_micro_yuan),
            to_minute(parse_time(pack.starts_at)),
            to_minute(parse_time(pack.expires_at)),
        )
    print_table(console, table)
