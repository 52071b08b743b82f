"""`phonemeter explain EVENT_ID`: the history of one event, with reasons."""

from collections.abc import Iterable, Sequence
from typing import Annotated, Final

import msgspec
import typer

from metering.explanation import CapabilityBalance, ConsideredPack, Explanation
from metering.ledger import Entry
from metering.times import shanghai_time
from phonemeter.audit.event_corrections import ToldCorrection
from phonemeter.audit.event_history import EventHistory, Occurrence, find_history
from phonemeter.cli.audit_progress import audit_progress
from phonemeter.errors import UserError
from phonemeter.formats import to_minute, yuan
from phonemeter.settings import load
from phonemeter.tables import print_table
from phonemeter.terminal import Table, Terminal, output, print_json

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
    """Explain what happened to one event: the decision and why, the balance, the entries, and changes since.

    Changes are packs that took the call over, settlements that moved calls like it, and corrections. The
    partition of the event is metered again from the log, by the code that the worker runs, so the reasons are
    those of the decision. Its entries are then looked up in phone-ledger and in ClickHouse. Times are
    Shanghai's; in JSON they are UTC.
    """
    if not event_id:
        raise UserError("EVENT_ID is empty; give the id of an event, as its producer made it.")
    with audit_progress() as show:
        history = find_history(load(), event_id, app, show)
    if as_json:
        print_json(_as_json(history))
    else:
        _show(history, output())


def _as_json(history: EventHistory) -> object:
    """The history with the names of the entries' fields."""
    return msgspec.to_builtins(history, enc_hook=None) | {
        "occurrences": [
            msgspec.to_builtins(one) | {"explanation": _explanation(one.explanation)}
            for one in history.occurrences
        ],
        "takeovers": [
            msgspec.to_builtins(one) | {"entries": _entries(one.entries)} for one in history.takeovers
        ],
        "published": _entries(history.published),
        "stored": _entries(history.stored),
    }


def _explanation(explanation: Explanation) -> object:
    return msgspec.to_builtins(explanation) | {"entries": _entries(explanation.entries)}


def _entries(entries: Iterable[Entry]) -> list[dict[str, object]]:
    return [
        msgspec.structs.asdict(entry) | {"details": msgspec.json.decode(entry.details or "{}")}
        for entry in entries
    ]


def _show(history: EventHistory, console: Terminal) -> None:
    owner = f" of app {history.appid}" if history.appid else ""
    console.print(f"Event {history.event_id}{owner}, partition {history.partition}", style="bold")
    if history.settings_note:
        console.print(history.settings_note, style="yellow")
    for occurrence in history.occurrences:
        _show_occurrence(occurrence, console)
    for takeover in history.takeovers:
        console.print()
        console.print(
            f"Offset {takeover.offset:,}: pack {takeover.pack_id} was recorded and took the call over.",
            style="bold",
        )
    for move in history.settlements:
        console.print()
        console.print(f"Offset {move.offset:,}: settlement", style="bold")
        console.print(move.sentence)
    if history.corrections:
        console.print()
        console.print("Its corrections (times in Asia/Shanghai)", style="bold")
        print_table(console, _corrections(history.corrections))
    _show_entries(history, console)


def _corrections(corrections: Sequence[ToldCorrection]) -> Table:
    table = Table("told", "by", "what", "note", "in the figures", "correction")
    for told in corrections:
        fields = ", ".join(f"{name} = {value}" for name, value in told.fields.items())
        of = (
            ""
            if told.corrects not in {one.event_id for one in corrections}
            else f" correction {told.corrects}"
        )
        table.add_row(
            to_minute(told.time_ms),
            told.source,
            f"set{of} {fields}" if told.fields else f"void{of}",
            told.note,
            _in_figures(told),
            told.event_id,
        )
    return table


def _in_figures(told: ToldCorrection) -> str:
    if told.state == "refused":
        return "no: refused"
    void = "" if told.holds else "; void by a later one"
    if told.settled_at_ms is None:
        return f"not yet: the app is unsettled{void}"
    return f"since {to_minute(told.settled_at_ms)}{void}"


def _show_occurrence(occurrence: Occurrence, console: Terminal) -> None:
    explanation = occurrence.explanation
    console.print()
    reason = f" ({explanation.reason})" if explanation.reason else ""
    console.print(
        f"Offset {explanation.offset:,}: {explanation.decision}{reason}",
        style="bold",
    )
    console.print(explanation.why)
    if occurrence.duplicate_of is not None:
        console.print(f"The record that counted is at offset {occurrence.duplicate_of:,}.")
    console.print(
        f"event time {shanghai_time(explanation.time_ms)}, "
        f"recorded {shanghai_time(explanation.recorded_at_ms)}"
    )
    if explanation.before is not None and explanation.after is not None:
        console.print(_balance(explanation.capability, explanation.before, explanation.after))
    if explanation.considered:
        print_table(console, _packs(explanation.considered))
    for alert in explanation.alerts:
        console.print(f"alert: {alert}")
    if explanation.settlement:
        console.print(explanation.settlement)


def _balance(capability: str, before: CapabilityBalance, after: CapabilityBalance) -> str:
    return (
        f"balance of {capability}: {before.calls_left:,} calls before ({before.trial:,} trial), "
        f"{after.calls_left:,} after ({after.trial:,} trial)"
    )


def _packs(packs: Sequence[ConsideredPack]) -> Table:
    table = Table()
    table.add_column("consumption order", overflow="fold")
    table.add_column("")
    table.add_column("left", justify="right")
    table.add_column("of", justify="right")
    table.add_column("valid from (Shanghai)", no_wrap=True)
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


def _show_entries(history: EventHistory, console: Terminal) -> None:
    if not history.published:
        console.print()
        console.print("Its entries are not in phone-ledger yet: the worker has not reached it.")
        return
    table = Table("entry", "kind", "calls", "¥")
    table.add_column("pack", overflow="fold")
    for title in ("left", "reason", "ClickHouse"):
        table.add_column(title)
    stored = list(history.stored)
    for entry in history.published:
        table.add_row(
            f"{entry.offset}.{entry.line}",
            entry.kind,
            f"{entry.calls:,}",
            yuan(entry.amount_micro_yuan),
            entry.pack_id,
            f"{entry.remaining:,}" if entry.kind in _KINDS_WITH_REMAINDER else "",
            entry.reason,
            _stored_count(stored.count(entry)) if not history.not_asked else "not asked",
        )
    console.print()
    console.print("Its entries in the ledger", style="bold")
    print_table(console, table)
    foreign = sum(entry not in history.published for entry in stored)
    if foreign:
        console.print(
            f"ClickHouse has {foreign} other entries of it; phonemeter audit lists them.", style="red"
        )
    if history.not_asked:
        console.print(history.not_asked, style="red")


_KINDS_WITH_REMAINDER: Final = frozenset(
    {"charge", "trial_charge", "trial_grant", "opening", "purchase", "alert", "recovery", "lapse", "refund"}
)
"""Kinds of entries that change or measure a quota; in others `remaining` is 0 and has no meaning."""


def _stored_count(count: int) -> str:
    return {0: "missing", 1: "the same"}.get(count, f"{count} times")
