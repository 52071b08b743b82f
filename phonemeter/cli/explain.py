"""`phonemeter explain EVENT_ID`: what happened to one event, and why."""

from collections.abc import Iterable, Sequence
from typing import Annotated, Final

import msgspec
import typer
from rich.console import Console
from rich.table import Table

from metering.explaining import Balance, ConsideredPack, Explanation
from metering.ledger import Entry
from phonemeter.audit.story import Occurrence, Story, tell
from phonemeter.audit.wording import yuan
from phonemeter.cli.audit import progress
from phonemeter.cli.telling import print_json, to_minute, to_second
from phonemeter.errors import UserError
from phonemeter.settings import load

VERDICTS: Final = {
    "taken": "took the call",
    "not_needed": "not needed",
    "not_started": "not valid yet",
    "expired": "expired",
    "exhausted": "exhausted",
    "lapsed": "lapsed",
    "refunded": "refunded",
}


def explain(
    event_id: Annotated[str, typer.Argument(help="The event's id.", metavar="EVENT_ID")],
    *,
    app: Annotated[
        str | None, typer.Option(help="The app whose event it is; not needed if no other has that id.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Explain what happened to one event: the decision and why, the balance, the ledger's lines, takeovers.

    The event's partition is metered again from the log, by the code that the worker runs, so the reasons are
    those of the decision. Its lines are then looked up in phone-ledger and in ClickHouse. Times are
    Shanghai's; in JSON they are milliseconds since 1970.
    """
    if not event_id:
        raise UserError("EVENT_ID is empty; give the id of an event, as its producer made it.")
    with progress() as show:
        story = tell(load(), event_id, app, show)
    if as_json:
        print_json(_named(story))
    else:
        _show(story, Console(highlight=False, markup=False, soft_wrap=True))


def _named(story: Story) -> object:
    """The story with the names of the lines' fields."""
    return msgspec.to_builtins(story, enc_hook=None) | {
        "occurrences": [
            msgspec.to_builtins(one) | {"explanation": _explanation(one.explanation)}
            for one in story.occurrences
        ],
        "takeovers": [msgspec.to_builtins(one) | {"entries": _lines(one.entries)} for one in story.takeovers],
        "published": _lines(story.published),
        "stored": _lines(story.stored),
    }


def _explanation(explanation: Explanation) -> object:
    return msgspec.to_builtins(explanation) | {"entries": _lines(explanation.entries)}


def _lines(entries: Iterable[Entry]) -> list[dict[str, object]]:
    return [msgspec.structs.asdict(entry) for entry in entries]


def _show(story: Story, console: Console) -> None:
    owner = f" of app {story.appid}" if story.appid else ""
    console.print(f"Event {story.event_id}{owner}, partition {story.partition}", style="bold")
    for occurrence in story.occurrences:
        _show_occurrence(occurrence, console)
    for takeover in story.takeovers:
        console.print(
            f"\nOffset {takeover.offset:,}: pack {takeover.pack_id} was recorded and took the call over.",
            style="bold",
        )
    _show_lines(story, console)


def _show_occurrence(occurrence: Occurrence, console: Console) -> None:
    told = occurrence.explanation
    console.print(
        f"\nOffset {told.offset:,}: {told.decision}{f' ({told.reason})' if told.reason else ''}", style="bold"
    )
    console.print(told.why)
    if occurrence.duplicate_of is not None:
        console.print(f"The record that counted is at offset {occurrence.duplicate_of:,}.")
    console.print(
        f"event time {to_second(told.time_ms)}, recorded {to_second(told.recorded_at_ms)} (Shanghai)"
    )
    if told.before is not None and told.after is not None:
        console.print(_balance(told.capability, told.before, told.after))
    if told.considered:
        console.print(_packs(told.considered))
    for alert in told.alerts:
        console.print(f"alert: {alert}")


def _balance(capability: str, before: Balance, after: Balance) -> str:
    return (
        f"balance of {capability}: {before.calls_left:,} calls before ({before.trial:,} trial), "
        f"{after.calls_left:,} after ({after.trial:,} trial)"
    )


def _packs(packs: Sequence[ConsideredPack]) -> Table:
    table = Table(highlight=False)
    table.add_column("in burn order", overflow="fold")
    table.add_column("")
    table.add_column("left", justify="right")
    table.add_column("of", justify="right")
    table.add_column("valid from", no_wrap=True)
    table.add_column("until (Shanghai)", no_wrap=True)
    for pack in packs:
        table.add_row(
            pack.pack_id,
            VERDICTS[pack.verdict],
            f"{pack.remaining:,}",
            f"{pack.calls:,}",
            to_minute(pack.starts_at_ms),
            to_minute(pack.expires_at_ms),
        )
    return table


def _show_lines(story: Story, console: Console) -> None:
    if not story.published:
        console.print("\nIts lines are not in phone-ledger yet: the worker has not come so far.")
        return
    table = Table("line", "kind", "calls", "¥", highlight=False)
    table.add_column("pack", overflow="fold")
    for title in ("left", "reason", "ClickHouse"):
        table.add_column(title)
    stored = list(story.stored)
    for entry in story.published:
        table.add_row(
            f"{entry.offset}.{entry.line}",
            entry.kind,
            f"{entry.calls:,}",
            yuan(entry.amount_micro_yuan),
            entry.pack_id,
            f"{entry.remaining:,}" if entry.kind in _TELL_WHAT_IS_LEFT else "",
            entry.reason,
            _times(stored.count(entry)) if not story.not_asked else "not asked",
        )
    console.print("\nIts lines in the ledger", style="bold")
    console.print(table)
    foreign = sum(entry not in story.published for entry in stored)
    if foreign:
        console.print(
            f"ClickHouse has {foreign} lines of it otherwise; phonemeter audit says how.", style="red"
        )
    if story.not_asked:
        console.print(story.not_asked, style="red")


_TELL_WHAT_IS_LEFT: Final = frozenset(
    {"charge", "trial_charge", "trial_grant", "purchase", "alert", "recovery", "lapse", "refund"}
)
"""Kinds of lines that move or measure a quota; what the others say to be left is 0 and means nothing."""


def _times(count: int) -> str:
    return {0: "missing", 1: "the same"}.get(count, f"{count} times")
