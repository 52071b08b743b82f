"""`phonemeter routing [APPID]`: the routing policy of an app, shown or set (rule 20)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Final

import typer
from clickhouse_driver import Client
from msgspec import structs

from dashboards.reads.routing import PolicyInForce, read_policies
from metering.events import Capability
from metering.printable_text import one_line
from metering.routing_policy import RoutingChoices, RoutingMode, StaleAnswer, StoreBudget
from metering.times import from_ms
from phonemeter.cli.app_choice import AppId, choose_app
from phonemeter.cli.option_groups import with_option_groups
from phonemeter.clickhouse import ledger_client, unknown_app
from phonemeter.errors import UserError
from phonemeter.formats import to_minute
from phonemeter.settings import Settings, load
from phonemeter.tables import print_table
from phonemeter.terminal import Table, Terminal, output, print_json, say
from producers.client import EventProducer
from producers.clock import wall_clock_ms
from producers.errors import RefusedError
from producers.events import CloudEvent, account_routing_set
from sinks.connection import rows

SOURCE: Final = "/phonemeter/routing"
CALLS_MAX: Final = 1_000_000_000


@dataclass(frozen=True)
class RoutingOptions:
    """The options that set a policy, under the names of the fields of the event."""

    mode: Annotated[
        RoutingMode | None,
        typer.Option(help="What decides: the balance, or one answer for everybody."),
    ] = None
    reserve_calls: Annotated[
        int | None,
        typer.Option(min=0, metavar="N", help="Calls left at which nobody is sent to WeChat any more."),
    ] = None
    lead_minutes: Annotated[
        int | None,
        typer.Option(min=0, metavar="N", help="Nor with a run-out nearer than this; 0: off."),
    ] = None
    sms_left: Annotated[
        int | None,
        typer.Option(min=0, metavar="N", help="Short messages left; 0: numbers by hand."),
    ] = None
    ask_known_members: Annotated[
        bool | None,
        typer.Option(
            "--ask-known/--no-ask-known",
            help="Whether members whose number is on file see the paid button.",
        ),
    ] = None
    store_budget: Annotated[
        list[str] | None,
        typer.Option(
            metavar="[STORE=]N",
            help="Calls a day of a store, or of each other store; in place of all budgets before.",
        ),
    ] = None
    no_budgets: Annotated[bool, typer.Option("--no-budgets", help="No store has a budget any more.")] = False
    when_stale: Annotated[
        StaleAnswer | None,
        typer.Option(help="The answer while what is known of the balance is stale."),
    ] = None
    refusal_pause_s: Annotated[
        int | None,
        typer.Option(min=10, max=86_400, metavar="N", help="Seconds without WeChat after its refusal."),
    ] = None

    def choices(self) -> RoutingChoices:
        """The choices.

        Raises:
            UserError: a budget is none.
        """
        if self.store_budget and self.no_budgets:
            raise UserError("Give --store-budget or --no-budgets, not both.")
        budgets: list[StoreBudget] | None = [] if self.no_budgets else None
        if self.store_budget:
            budgets = [StoreBudget(calls, store) for store, calls in _budgets(self.store_budget).items()]
        same = {
            name: getattr(self, name) for name in RoutingChoices.__struct_fields__ if name != "store_budgets"
        }
        return RoutingChoices(**same, store_budgets=budgets)


@with_option_groups
def routing(
    appid: AppId = None,
    *,
    capability: Annotated[Capability | None, typer.Option(help="Of one alone. Default: both.")] = None,
    options: RoutingOptions,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Show how members of an app are sent to WeChat, short messages or neither, or set it.

    Without an option that sets something, the policy in force is shown. What
    is not given stays as it is. A policy that is set holds within seconds.
    """
    settings = load()
    choices = options.choices()
    chosen = choose_app(appid, settings.clickhouse, "routing")
    with ledger_client(settings.clickhouse) as client:
        policies = [one for one in _read(client, chosen) if capability in {None, one.capability}]
    events = _events(chosen, choices, policies) if choices != RoutingChoices() else []
    if events:
        policies = [structs.replace(one, policy=one.policy.with_choices(choices)) for one in policies]
        _publish(settings, events)
    if as_json:
        print_json({"appid": chosen, "published": len(events), "policies": [*map(_told, policies)]})
        return
    _show(policies, output())
    if events:
        say("Published: it holds within seconds.", stderr=True)


def _budgets(given: Sequence[str]) -> Mapping[str, int]:
    """The budgets by store; the empty store is each other one."""
    budgets: dict[str, int] = {}
    for text in given:
        store, _, calls = text.rpartition("=")
        if not (calls.isascii() and calls.isdecimal() and int(calls) <= CALLS_MAX):
            raise UserError(
                f"--store-budget {one_line(text)!r} is none: write STORE=N, such as store-03=50, or N for "
                f"each other store, with N from 0 to {CALLS_MAX:,}."
            )
        if store in budgets:
            raise UserError(
                f"--store-budget has {one_line(store) or 'each other store'} twice: give it once."
            )
        budgets[store] = int(calls)
    return budgets


def _read(client: Client, appid: str) -> list[PolicyInForce]:
    found = read_policies(partial(rows, client), appid)
    if not found:
        raise unknown_app(appid)
    return found


def _events(appid: str, choices: RoutingChoices, policies: Sequence[PolicyInForce]) -> list[CloudEvent]:
    now = from_ms(wall_clock_ms())
    given = structs.asdict(choices)
    if choices.store_budgets is not None:
        given["store_budgets"] = {budget.store: budget.calls for budget in choices.store_budgets}
    try:
        return [
            account_routing_set(appid=appid, capability=one.capability, time=now, source=SOURCE, **given)
            for one in policies
        ]
    except RefusedError as error:
        raise UserError(f"The policy is refused. {error}") from None


def _publish(settings: Settings, events: Sequence[CloudEvent]) -> None:
    with EventProducer(settings) as producer:
        producer.connect()
        for event in events:
            producer.publish(event)


def _told(one: PolicyInForce) -> dict[str, object]:
    return {"capability": one.capability, **structs.asdict(one.policy), "set_at_ms": one.set_at_ms}


def _show(policies: Sequence[PolicyInForce], console: Terminal) -> None:
    table = Table("", *(one.capability for one in policies), box=None, padding=(0, 2, 0, 0))
    described = [_described(one) for one in policies]
    for name in described[0]:
        table.add_row(name, *(each[name] for each in described))
    print_table(console, table)


def _described(one: PolicyInForce) -> dict[str, str]:
    policy = one.policy
    budgets = (f"{budget.store or 'each other store'} {budget.calls:,}" for budget in policy.store_budgets)
    return {
        "decides (mode)": policy.mode,
        "reserve": f"{policy.reserve_calls:,} calls",
        "lead time": f"{policy.lead_minutes:,} min" if policy.lead_minutes else "off",
        "short messages left": "not counted" if policy.sms_left is None else f"{policy.sms_left:,}",
        "known members": "asked" if policy.ask_known_members else "not asked",
        "calls of a store a day": ", ".join(budgets) or "no budget",
        "when stale": policy.when_stale,
        "pause after a refusal": f"{policy.refusal_pause_s:,} s",
        "set (Shanghai)": "never" if one.set_at_ms is None else to_minute(one.set_at_ms),
    }
