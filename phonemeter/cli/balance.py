"""`phonemeter balance APPID`: what an app has left, from the views on the ledger in ClickHouse."""

from dataclasses import dataclass
from typing import Annotated, Any, Final

import typer
from clickhouse_driver import Client
from rich.console import Console
from rich.table import Table

from metering.times import format_time, parse_time, to_ms
from phonemeter.cli.asking import asking
from phonemeter.cli.telling import output, print_json, to_minute, unknown_app, yuan
from phonemeter.settings import load
from sinks.connection import rows

OPEN: Final = frozenset({"active", "pending"})

_BALANCES: Final = """
SELECT capability, calls_left, trial_size, trial_remaining, trial_shared, packs_remaining, packs_pending
FROM balances_now WHERE appid = %(appid)s ORDER BY capability
"""

# Burn order is the rule's total order: expiry, then start, then id (DESIGN rule 5).
_PACKS: Final = """
SELECT
    capability, pack_id, status, calls, remaining, charged, lapsed, starts_at, expires_at, amount_micro_yuan
FROM packs WHERE appid = %(appid)s ORDER BY capability, expires_at, starts_at, pack_id
"""


@dataclass(frozen=True, slots=True)
class Pack:
    """One pack. `burns` is its place in the order in which packs are used up; None once it holds nothing."""

    pack_id: str
    status: str
    burns: int | None
    calls: int
    remaining: int
    charged: int
    lapsed: int
    starts_at: str
    expires_at: str
    amount_micro_yuan: int


@dataclass(frozen=True, slots=True)
class Capability:
    """What is left of one capability: trial quota and active packs together in `calls_left`."""

    calls_left: int
    trial_remaining: int
    packs_remaining: int
    packs_pending: int
    packs: list[Pack]


@dataclass(frozen=True, slots=True)
class Balance:
    """What an app has left. A trial quota that is `trial_shared` serves both capabilities."""

    appid: str
    trial_size: int
    trial_remaining: int
    trial_shared: bool
    capabilities: dict[str, Capability]


def balance(
    appid: Annotated[str, typer.Argument(help="The app, for example wxfb1f3d218d111092.", metavar="APPID")],
    *,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Show what an app has left: trial quota, balance per capability, and its packs in burn order.

    The figures come from ClickHouse, so they are as fresh as the ledger there; `phonemeter status` says how
    fresh. Times are Shanghai's; in JSON they are UTC.
    """
    found = read_balance(load().clickhouse, appid)
    if as_json:
        print_json(found)
    else:
        _show(found, output(markup=True, soft_wrap=False))


def read_balance(url: str, appid: str) -> Balance:
    """The balance of an app, from the ClickHouse at `url`.

    Raises:
        OperationError: the app is unknown, ClickHouse does not answer, or it has no ledger yet.
    """
    with asking(url) as client:
        return _read(client, appid)


def _read(client: Client, appid: str) -> Balance:
    balances = rows(client, _BALANCES, {"appid": appid})
    if not balances:
        raise unknown_app(appid)
    packs = rows(client, _PACKS, {"appid": appid})
    shared = bool(balances[0][4])
    trials = balances[:1] if shared else balances
    return Balance(
        appid=appid,
        trial_size=sum(row[2] for row in trials),
        trial_remaining=sum(row[3] for row in trials),
        trial_shared=shared,
        capabilities={
            capability: Capability(left, trial, active, pending, _packs_of(capability, packs))
            for capability, left, _, trial, _, active, pending in balances
        },
    )


def _packs_of(capability: str, packs: list[tuple[Any, ...]]) -> list[Pack]:
    found = []
    place = 0
    for of, pack_id, status, calls, remaining, charged, lapsed, starts_at, expires_at, amount in packs:
        if of != capability:
            continue
        burns = None
        if status in OPEN:
            place += 1
            burns = place
        times = (format_time(to_ms(starts_at)), format_time(to_ms(expires_at)))
        found.append(Pack(pack_id, status, burns, calls, remaining, charged, lapsed, *times, amount))
    return found


def _show(found: Balance, console: Console) -> None:
    console.print(f"[bold]{found.appid}[/bold]", highlight=False)
    scope = "for both capabilities together" if found.trial_shared else "one per capability"
    console.print(
        f"trial quota: {found.trial_remaining:,} of {found.trial_size:,} calls left, {scope}", highlight=False
    )
    for name, capability in found.capabilities.items():
        _show_capability(name, capability, console)


def _show_capability(name: str, capability: Capability, console: Console) -> None:
    pending = f", {capability.packs_pending:,} more in packs to come" if capability.packs_pending else ""
    console.print(
        f"\n[bold]{name}[/bold]: {capability.calls_left:,} calls left ({capability.trial_remaining:,} trial, "
        f"{capability.packs_remaining:,} in packs{pending})",
        highlight=False,
    )
    if not capability.packs:
        return
    # On 80 columns, too, no id and no date may be cut off: they go on in the next line.
    table = Table(highlight=False, box=None, padding=(0, 1, 0, 0))
    table.add_column("burns", no_wrap=True)
    table.add_column("pack", overflow="fold")
    table.add_column("status", no_wrap=True)
    for title in ("left", "of", "lapsed", "cost ¥"):
        table.add_column(title, justify="right", no_wrap=True)
    table.add_column("valid from")
    table.add_column("until (Shanghai)")
    for pack in capability.packs:
        table.add_row(
            str(pack.burns or ""),
            pack.pack_id,
            pack.status,
            f"{pack.remaining:,}",
            f"{pack.calls:,}",
            f"{pack.lapsed:,}" if pack.lapsed else "",
            yuan(pack.amount_micro_yuan),
            to_minute(parse_time(pack.starts_at)),
            to_minute(parse_time(pack.expires_at)),
        )
    console.print(table)
