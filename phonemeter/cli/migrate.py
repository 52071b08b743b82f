"""`phonemeter migrate OLD NEW`: an app that got another appid takes what it holds along (rule 16)."""

from collections.abc import Sequence
from typing import Annotated, Final

import typer

from metering.event_validation import is_appid
from metering.printable_text import one_line
from metering.times import format_time
from phonemeter.app_migration import MigrationPlan, MovedPack, MovedTrial, read_plan
from phonemeter.clickhouse import ledger_client
from phonemeter.errors import UserError
from phonemeter.history.ledger_progress import wait_for_ledger
from phonemeter.settings import Settings, load
from phonemeter.tables import print_table
from phonemeter.terminal import Table, output, print_json, say
from producers.client import EventProducer
from producers.clock import wall_clock_ms
from producers.events import CloudEvent

AGAIN: Final = "call this again: what is done stays, and the rest follows"


def migrate(
    old: Annotated[str, typer.Argument(metavar="OLD", help="The appid that the app had.")],
    new: Annotated[str, typer.Argument(metavar="NEW", help="The appid that it has now.")],
    *,
    confirm: Annotated[
        bool, typer.Option("--confirm", help="Publish it. Without, it is only shown what would move.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Carry an app over to its new appid, after WeChat has migrated it (小程序账号迁移).

    What the packs and the trial quota of OLD hold leaves it; NEW gets the same packs with what was used of
    them, the used calls of the trial quota, the owner, thresholds and routing policies. Call it when OLD has
    no calls any more. If it is interrupted, call it again: it completes what is left and changes nothing that
    is done.
    """
    for appid in (old, new):
        if not is_appid(appid):
            raise UserError(
                f"{one_line(appid)!r} is no appid: that is 1 to 64 letters, digits, hyphens or underscores."
            )
    if old == new:
        raise UserError("OLD and NEW are the same appid; name the one that the app had and the one it has.")
    settings = load()
    if confirm:
        _wait(settings)
    plan = _read(settings, old, new)
    published = 0
    if confirm and plan.migrated_ms is None:
        published += _publish(settings, [plan.leaving(wall_clock_ms())])
        _wait(settings)
        plan = _read(settings, old, new)
    arriving = plan.arriving()
    if confirm:
        published += _publish(settings, arriving)
    if as_json:
        print_json(_told(plan, published, len(arriving), confirm=confirm))
    else:
        _show(plan, published, len(arriving), confirm=confirm)


def _read(settings: Settings, old: str, new: str) -> MigrationPlan:
    shared = settings.rules().trial_scope == "account"
    with ledger_client(settings.clickhouse) as client:
        return read_plan(client, old, new, is_shared=shared)


def _wait(settings: Settings) -> None:
    for _ in wait_for_ledger(settings, AGAIN):
        pass


def _publish(settings: Settings, events: Sequence[CloudEvent]) -> int:
    with EventProducer(settings) as producer:
        producer.connect()
        for event in events:
            producer.publish(event)
    return len(events)


def _told(plan: MigrationPlan, published: int, missing: int, *, confirm: bool) -> dict[str, object]:
    at = None if plan.migrated_ms is None else format_time(plan.migrated_ms)
    return {
        "old": plan.old,
        "new": plan.new,
        "migrated_at": at,
        "published": published,
        "missing": 0 if confirm else missing,
        "packs": [_pack(pack) for pack in plan.packs],
        "trials": plan.trials,
        "owner": dict(zip(("entity_type", "name", "category"), plan.owner, strict=False)),
        "thresholds": plan.thresholds,
        "routing": plan.routing,
    }


def _pack(pack: MovedPack) -> dict[str, object]:
    return {
        "pack_id": pack.pack_id,
        "capability": pack.capability,
        "calls": pack.calls,
        "used": pack.used,
        "counted_since": pack.short,
        "is_there": pack.is_there,
    }


def _show(plan: MigrationPlan, published: int, missing: int, *, confirm: bool) -> None:
    table = Table(title=f"{plan.old} to {plan.new}", title_justify="left", box=None, padding=(0, 1, 0, 0))
    table.add_column("quota")
    table.add_column("capability")
    for name in ("size", "used", "moves"):
        table.add_column(name, justify="right")
    table.add_column("")
    for trial in plan.trials:
        table.add_row("trial quota", trial.capability or "all", *_numbers(trial), "")
    for pack in plan.packs:
        table.add_row(
            pack.pack_id, pack.capability, *_numbers(pack), "is in the new app" if pack.is_there else ""
        )
    print_table(output(), table)
    for pack in plan.packs:
        if pack.short:
            say(
                f"Pack {pack.pack_id}: {plan.old} has used {pack.used:,} calls of it, and its purchase in "
                f"{plan.new} says {pack.told or 0:,}: correct `used_before` there to {pack.used:,}."
            )
    if confirm and published:
        say(f"{published:,} published; `phonemeter balance {plan.new}` shows the result in a few seconds.")
    elif confirm:
        say("Nothing was published: all of it is done.")
    elif plan.migrated_ms is None:
        say(f"Nothing was published: add --confirm when {plan.old} has no calls any more.")
    elif missing:
        say(f"{plan.old} has left, and {missing:,} facts of {plan.new} are missing: add --confirm.")
    else:
        say("All of it is done.")


def _numbers(quota: MovedPack | MovedTrial) -> tuple[str, str, str]:
    size = quota.calls if isinstance(quota, MovedPack) else quota.size
    return f"{size:,}", f"{quota.used:,}", f"{size - quota.used:,}"
