"""`phonemeter open APPID`: an app in use is taken up with what WeChat's page says was used (rule 16)."""

import re
from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Final

import typer

from metering.event_validation import is_appid
from metering.events import CAPABILITIES, Capability
from metering.printable_text import one_line
from metering.rules import Rules
from metering.times import from_ms
from phonemeter.clickhouse import ledger_client
from phonemeter.errors import UserError
from phonemeter.opening_plan import SENTENCES, Count, PlannedOpening, plan
from phonemeter.settings import Settings, load
from phonemeter.tables import print_table
from phonemeter.terminal import Table, output, print_json, say
from producers.client import EventProducer
from producers.clock import wall_clock_ms
from producers.events import CloudEvent, account_opened, usage_observed

INCOMPLETE: Final = 1
SOURCE: Final = "/phonemeter/open"
_PACK: Final = re.compile(r"(.{1,128})=(\d{1,10})", re.ASCII)
PACKS_MAX: Final = 1_000
"""Packs of one call; further ones need another."""


def open_app(
    appid: Annotated[str, typer.Argument(metavar="APPID", help="The app.")],
    *,
    capability: Annotated[
        str, typer.Option(metavar="CAPABILITY", help="The capability of the packs: quick or realtime.")
    ] = "quick",
    trial_used: Annotated[
        int | None,
        typer.Option(min=0, max=1_000_000_000, metavar="N", help="Calls of the trial quota that were used."),
    ] = None,
    pack: Annotated[
        list[str] | None,
        typer.Option(metavar="ID=USED", help="A pack, and how many of its calls were used; may be repeated."),
    ] = None,
    confirm: Annotated[
        bool, typer.Option("--confirm", help="Publish it. Without, it is only shown what would change.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Take up an app that is in use already, with what WeChat's page says was used of its quotas.

    Call it before the app's first event is published: a pack can be opened only while no call of its
    capability has been counted. A pack whose purchase is not recorded yet is opened with it. The trial quota
    can be opened later as well, while it still holds that many calls.

    The exit status is 0 if everything is opened, or would be; 1 if something is not.
    """
    counts = _counts(trial_used, pack or [])
    of = _capability(capability)
    if not is_appid(appid):
        raise UserError(
            f"{one_line(appid)!r} is no appid: that is 1 to 64 letters, digits, hyphens or underscores."
        )
    settings = load()
    with ledger_client(settings.clickhouse) as client:
        planned = plan(client, appid, of, counts, settings.rules())
    events = [_event(appid, of, each, settings.rules()) for each in planned if each.is_possible]
    if confirm and events:
        _publish(settings, events)
    if as_json:
        print_json(
            {"appid": appid, "capability": of, "published": confirm and events != [], "quotas": planned}
        )
    else:
        _show(appid, of, planned, confirm=confirm)
    raise typer.Exit(0 if all(each.is_possible for each in planned) else INCOMPLETE)


def _counts(trial_used: int | None, packs: Sequence[str]) -> list[Count]:
    counts = {} if trial_used is None else {"": Count("", trial_used)}
    for text in packs:
        given = _PACK.fullmatch(text)
        if given is None:
            raise UserError(
                f"--pack {one_line(text)!r} is not understood: give ID=USED, such as 10001-0001=6200."
            )
        pack_id, used = given.groups()
        if pack_id in counts:
            raise UserError(f"--pack names {one_line(pack_id)!r} twice; give each pack once.")
        counts[pack_id] = Count(pack_id, int(used))
    if not counts:
        raise UserError("Say what was used: --trial-used N, --pack ID=USED, or both.")
    if len(counts) > PACKS_MAX:
        raise UserError(f"--pack is given more than {PACKS_MAX:,} times; open the rest with another call.")
    return list(counts.values())


def _capability(text: str) -> Capability:
    for known in CAPABILITIES:
        if text == known:
            return known
    raise UserError(f"--capability {one_line(text)!r} is none; it is {' or '.join(CAPABILITIES)}.")


def _event(appid: str, capability: Capability, planned: PlannedOpening, rules: Rules) -> CloudEvent:
    now: datetime = from_ms(wall_clock_ms())
    if planned.pack_id:
        return usage_observed(
            appid=appid,
            capability=capability,
            time=now,
            used=planned.used,
            size=planned.size or 0,
            pack_id=planned.pack_id,
            source=SOURCE,
        )
    own = None if rules.trial_scope == "account" else capability
    return account_opened(appid=appid, trial_used=planned.used, time=now, capability=own, source=SOURCE)


def _publish(settings: Settings, events: Sequence[CloudEvent]) -> None:
    with EventProducer(settings) as producer:
        producer.connect()
        for event in events:
            producer.publish(event)


def _show(appid: str, capability: Capability, planned: Sequence[PlannedOpening], *, confirm: bool) -> None:
    console = output()
    table = Table(title=f"{appid}, {capability}", title_justify="left", box=None, padding=(0, 1, 0, 0))
    table.add_column("quota")
    for name in ("size", "used\nbefore", "left", "new:\nused before", "\nleft"):
        table.add_column(name, justify="right")
    table.add_column("opening")
    for each in planned:
        table.add_row(
            each.pack_id or "trial quota",
            _number(each.size),
            _number(each.used_before),
            _number(each.left),
            f"{each.used:,}",
            _number(each.left_after),
            SENTENCES[each.verdict],
        )
    print_table(console, table)
    possible = sum(each.is_possible for each in planned)
    if not possible:
        say("Nothing was published: nothing can be opened." if confirm else "Nothing can be opened.")
    elif confirm:
        say(f"{possible:,} published; `phonemeter balance {appid}` shows the result in a few seconds.")
    else:
        say("Nothing was published: add --confirm to open what can be opened.")


def _number(calls: int | None) -> str:
    return "" if calls is None else f"{calls:,}"
