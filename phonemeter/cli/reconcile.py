"""`phonemeter reconcile [APPID]`: the platform's count beside ours, and the difference by cause."""

from typing import Annotated, Final, Literal

import typer

from metering.agreement_causes import Cause
from metering.printable_text import one_line
from metering.times import from_ms
from phonemeter.agreement.reading import is_known
from phonemeter.agreement.report import AgreementReport, CauseReport, read_agreement
from phonemeter.cli.app_choice import AppId, choose_app
from phonemeter.cli.days import Day, begin_of
from phonemeter.clickhouse import ledger_client, unknown_app
from phonemeter.errors import UserError
from phonemeter.formats import to_minute
from phonemeter.settings import Settings, load
from phonemeter.tables import print_table
from phonemeter.terminal import Table, Terminal, output, print_json, say
from producers.client import EventProducer
from producers.clock import wall_clock_ms
from producers.events import account_agreement_set

EVENTS_SHOWN: Final = 5
SOURCE: Final = "/phonemeter/reconcile"

POLICIES: Final = {
    "report": "differences to WeChat's count are shown, and from now on none is booked",
    "follow": "a difference to WeChat's count that stays is booked from now on, at no store",
}

MEANINGS: Final[dict[Cause, str]] = {
    "exchange_failed": "the code was refused at the exchange, after the call was charged",
    "code_unused": "the code was never exchanged, after the call was charged",
    "no_pack_here": "uncovered here: the platform took them from a pack that our log does not have",
    "not_charged_here": "free or exempt here, charged at the platform",
    "lost_callback": "no event reached us: the callback was lost, or its code never reached a back end",
    "before_log": "used before our log begins",
    "double_tap": "the same client tapped twice within 5 seconds",
    "legacy": "decrypted on the server, without a code",
    "test_build": "taps of a development or trial build",
    "lag": "counted shortly before an observation by one side, shortly after it by the other",
    "late_event": "arrived after the observation that counted them",
    "late_purchase": "the pack was recorded late, so they were uncovered or in another pack here",
    "unexplained": "nothing in the log explains them",
}


def reconcile(
    appid: AppId = None,
    *,
    day: Day = None,
    policy: Annotated[
        str | None,
        typer.Option(
            metavar="POLICY",
            help="Only set what becomes of differences that stay: report (show) or follow (book as well).",
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Compare the platform's count of an app with ours: per quota, and the difference by cause.

    Our count is as of the time of each observation of the platform's, by the
    times of the calls. A cause is named as far as events support it; where
    they leave open which of several it is, all of them are named. Without a
    day the last 31 days are compared. Days and times are Shanghai's; in JSON
    times are UTC.

    With --policy follow, a difference that stays is booked to the platform,
    at no store; the causes are still those of events.
    """
    settings = load()
    url = settings.clickhouse
    chosen = choose_app(appid, url, "reconcile")
    if policy is not None:
        if day is not None:
            raise UserError("Give --policy or --day, not both: a policy counts from now on.")
        _set_policy(settings, chosen, policy)
        if as_json:
            print_json({"appid": chosen, "policy": policy})
        return
    found = read_agreement(url, chosen, None if day is None else begin_of(day))
    if as_json:
        print_json(found)
    else:
        _show(found, output())


def _set_policy(settings: Settings, appid: str, policy: str) -> None:
    if policy not in {"report", "follow"}:
        raise UserError(f"--policy {one_line(policy)!r} is none; it is report or follow.")
    with ledger_client(settings.clickhouse) as client:
        if not is_known(client, appid):
            raise unknown_app(appid)
    now = from_ms(wall_clock_ms())
    chosen: Literal["report", "follow"] = "follow" if policy == "follow" else "report"
    with EventProducer(settings) as producer:
        producer.connect()
        producer.publish(account_agreement_set(appid=appid, policy=chosen, time=now, source=SOURCE))
    say(f"{one_line(appid)}: {POLICIES[chosen]} (policy {chosen}).", stderr=True)


def _show(found: AgreementReport, console: Terminal) -> None:
    table = Table("capability", "pack", box=None, padding=(0, 1, 0, 0))
    for title in ("platform", "here", "difference"):
        table.add_column(title, justify="right")
    for title in ("since (Shanghai)", "observed", ""):
        table.add_column(title)
    for quota in found.quotas:
        table.add_row(
            quota.capability or "both",
            quota.pack_id or "trial quota",
            f"{quota.used:,}",
            f"{quota.charged:,}",
            f"{quota.difference:+,}" if quota.difference else "0",
            to_minute(quota.since_at_ms),
            to_minute(quota.observed_at_ms),
            "stays" if quota.stays else "",
        )
    print_table(console, table)
    console.print()
    console.print(_summary(found))
    if found.followed:
        what = "booked" if found.followed > 0 else "given back"
        calls = "1 call" if abs(found.followed) == 1 else f"{abs(found.followed):,} calls"
        console.print(f"{calls} {what} to follow the platform, at no store; no event is behind them.")
    if found.policy == "follow":
        console.print("A difference that stays is booked (policy follow).")
    for cause in found.causes:
        console.print(f"{_amount(cause)}: {_meaning(cause)}{_where(cause)}")
        if cause.events:
            more = cause.events_total - EVENTS_SHOWN
            told = ", ".join(map(one_line, cause.events[:EVENTS_SHOWN]))
            console.print(f"  events: {told}{f' and {more:,} more' if more > 0 else ''}")


def _summary(found: AgreementReport) -> str:
    if not found.change:
        return "In this time the platform's count grew as ours did."
    grew = "more" if found.change > 0 else "less"
    return f"In this time the platform's count grew by {abs(found.change):,} calls {grew} than ours."


def _amount(cause: CauseReport) -> str:
    calls = "1 call" if cause.calls == 1 else f"{cause.calls:,} calls"
    if not cause.effect:
        return f"{calls}, agreed by now"
    return f"{calls} more at the platform" if cause.effect > 0 else f"{calls} more here"


def _meaning(cause: CauseReport) -> str:
    told = "; or ".join(MEANINGS[one] for one in cause.causes)
    return f"{'one of: ' if len(cause.causes) > 1 else ''}{told} ({', '.join(cause.causes)})"


def _where(cause: CauseReport) -> str:
    until = to_minute(cause.to_at_ms)
    return f", by {until}" if cause.from_at_ms is None else f", {to_minute(cause.from_at_ms)} to {until}"
