"""`phonemeter correct EVENT_ID`: an earlier fact is void, or some of its fields are others (rule 15)."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Final, NamedTuple

import msgspec
import typer
from clickhouse_driver import Client

from metering.events import ChangedFields
from metering.printable_text import one_line
from metering.rules import Rules
from metering.times import from_ms, parse_time
from phonemeter.clickhouse import ledger_client
from phonemeter.corrections.amounts import Change, Figure, changes, read_amounts
from phonemeter.corrections.facts import CorrectableFact, find_fact
from phonemeter.corrections.fields import MOMENTS, parse_fields
from phonemeter.corrections.preview import CorrectionTrial, FieldValues, Preview
from phonemeter.errors import OperationError, UserError
from phonemeter.event_log import recorded_rules
from phonemeter.formats import to_second, yuan
from phonemeter.settings import Settings, load
from phonemeter.tables import print_table
from phonemeter.terminal import Table, output, print_json, say
from phonemeter.topic_reader import open_reader
from producers.client import EventProducer
from producers.clock import wall_clock_ms
from producers.events import CloudEvent, fact_corrected, named_id, to_json
from sinks.connection import rows

SOURCE: Final = "/phonemeter/correct"

FIGURES: Final[dict[Figure, str]] = {
    "calls": "{}: calls",
    "uncovered": "{}: uncovered",
    "exempt": "{}: exempt",
    "cost_micro_yuan": "{}: cost ¥",
    "trial_left": "trial quota: left",
    "pack_calls": "pack {}: calls",
    "pack_left": "pack {}: left",
    "pack_refunded": "pack {}: refunded",
}
"""The figures in words; a pack has its capability beside its id."""

_CLOCK: Final = "SELECT runs_on, toUnixTimestamp64Milli(now) FROM clock"


class TriedCorrection(NamedTuple):
    """A correction, with what it would change."""

    fact: CorrectableFact
    event: CloudEvent
    preview: Preview
    is_unsettled: bool


def correct(
    event_id: Annotated[
        str,
        typer.Argument(
            metavar="EVENT_ID", help="The fact's event id; of a SHA-256 its first 16 digits are enough."
        ),
    ],
    *,
    void: Annotated[bool, typer.Option("--void", help="It never was.")] = False,
    set_fields: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="FIELD=VALUE",
            help="A field as it should have been, such as calls=10000 or paid_at='2026-06-01 10:00' "
            "(Shanghai's time, unless it has a zone); may be repeated.",
            show_default=False,
        ),
    ] = None,
    note: Annotated[str, typer.Option(metavar="TEXT", help="Why, for those who read the history.")] = "",
    app: Annotated[
        str | None,
        typer.Option(metavar="APPID", help="The app whose fact it is; not needed if no other has that id."),
    ] = None,
    confirm: Annotated[
        bool, typer.Option("--confirm", help="Publish it. Without, it is only shown what would change.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Correct a fact that was wrong: a call, a purchase, a refund, a registration, or an earlier correction.

    It is shown what would change: the fact, the use and cost of the app, and what its packs hold, as the
    settlement would work them out that follows seconds after the correction. Nothing in the log is changed;
    the history stays, and `phonemeter explain EVENT_ID` shows it.

    To take a correction back, make it void.
    """
    if not event_id:
        raise UserError("EVENT_ID is empty; give the id of an event, as its producer made it.")
    if void == bool(set_fields):
        raise UserError("Say what was wrong: either --void, or --set FIELD=VALUE with the right values.")
    settings = load()
    correction = _worked_out(settings, event_id, app, set_fields or [], note)
    if confirm:
        with EventProducer(settings) as producer:
            producer.connect()
            producer.publish(correction.event)
    if as_json:
        print_json(_as_json(correction, published=confirm))
    else:
        _show(correction, confirm=confirm)


def _worked_out(
    settings: Settings, event_id: str, appid: str | None, set_fields: Sequence[str], note: str
) -> TriedCorrection:
    """The correction, checked, and what it would change.

    Raises:
        OperationError: there is no such fact, it is not corrected, or nothing would change.
        UserError: a field is none of it, or a value is not accepted.
    """
    with open_reader(settings.kafka_access) as reader, ledger_client(settings.clickhouse) as client:
        rules = recorded_rules(reader, settings.rules()).log
        fact = find_fact(client, reader, event_id, appid)
        changed = parse_fields(fact.kind, set_fields) if set_fields else None
        return _tried(settings.clickhouse, client, fact, changed, note, rules)


def _tried(
    url: str, client: Client, fact: CorrectableFact, changed: ChangedFields | None, note: str, rules: Rules
) -> TriedCorrection:
    trial = CorrectionTrial(url, fact, rules)
    try:
        newest = trial.newest
        ((runs_on, now_ms),) = rows(client, _CLOCK)
        time_ms = wall_clock_ms() if runs_on == "wall" else now_ms
        if newest is not None:
            # At one millisecond the order of corrections would be that of their ids.
            time_ms = max(time_ms, newest.time_ms + 1)
        event = _event(fact, changed, note, time_ms, "" if newest is None else newest.event_id)
        preview = trial.preview(changed, time_ms, read_amounts(client, fact.entry.appid))
        _check(fact, changed, preview)
        return TriedCorrection(fact, event, preview, trial.is_unsettled)
    finally:
        trial.close()


def _event(
    fact: CorrectableFact, changed: ChangedFields | None, note: str, time_ms: int, after: str
) -> CloudEvent:
    """The event, whose id is the same until another correction of the fact is in the ledger."""
    appid = fact.entry.appid
    fields = {} if changed is None else msgspec.to_builtins(changed)
    told = msgspec.json.encode(fields, order="sorted").decode() if fields else "void"
    return fact_corrected(
        appid=appid,
        event_id=fact.event_id,
        time=from_ms(time_ms),
        void=changed is None,
        changed=fields,
        note=note,
        correction_id=named_id("fact.corrected", appid, fact.event_id, told, after),
        source=SOURCE,
    )


def _check(fact: CorrectableFact, changed: ChangedFields | None, preview: Preview) -> None:
    if preview.before != preview.after:
        used, size = (preview.after or {}).get("used_before", 0), (preview.after or {}).get("calls", 0)
        if changed is not None and (changed.used_before or 0) > size >= used:
            raise UserError(f"--set used_before={changed.used_before:,}: the pack has {size:,} calls.")
        return
    shown = one_line(fact.event_id)
    if changed is None and fact.kind != "correction" and preview.before is None:
        raise OperationError(
            f"Event {shown} is void already: phonemeter explain {shown} shows its corrections."
        )
    raise OperationError(
        f"Nothing would change: event {shown} has that already, or another correction holds instead."
    )


def _as_json(correction: TriedCorrection, *, published: bool) -> Mapping[str, Any]:
    preview = correction.preview
    before, after = preview.before or {}, preview.after or {}
    return {
        "appid": correction.fact.entry.appid,
        "event_id": correction.fact.event_id,
        "kind": correction.fact.kind,
        "correction": msgspec.json.decode(to_json(correction.event)),
        "published": published,
        "unsettled": correction.is_unsettled,
        "before": preview.before,
        "after": preview.after,
        "fields": [name for name in {**before, **after} if before.get(name) != after.get(name)],
        "figures": changes(preview.amounts, preview.amounts_after),
    }


def _show(correction: TriedCorrection, *, confirm: bool) -> None:
    console, preview, fact = output(), correction.preview, correction.fact
    say(f"{fact.entry.appid}, {fact.kind} {one_line(fact.event_id)}")
    print_table(console, _fields(preview.before, preview.after))
    console.print()
    figures = changes(preview.amounts, preview.amounts_after)
    if figures:
        print_table(console, _figures(figures))
    else:
        console.print("No figure of the app would change.")
    console.print()
    if correction.is_unsettled:
        console.print("The app is unsettled by other facts; the figures are those after their settlement.")
    if confirm:
        say(
            f"Published as {correction.event['id']}; it is settled within seconds: phonemeter explain "
            f"{one_line(fact.event_id)} shows when."
        )
    else:
        say("Nothing was published: add --confirm to correct it.")


def _fields(before: FieldValues | None, after: FieldValues | None) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0))
    for name in ("field", "now", "corrected"):
        table.add_column(name)
    was, becomes = before or {}, after or {}
    if before is None or after is None:
        table.add_row("", "void" if before is None else "", "void" if after is None else "")
    for name in {**was, **becomes}:
        table.add_row(name, _value(name, was.get(name)), _value(name, becomes.get(name)))
    return table


def _value(name: str, value: object) -> str:
    if value is None:
        return ""
    if name in MOMENTS:
        return to_second(parse_time(str(value)))
    if name == "price_micro_yuan" and isinstance(value, int):
        return f"¥{yuan(value)}"
    return f"{value:,}" if isinstance(value, int) else str(value)


def _figures(figures: Sequence[Change]) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0))
    table.add_column("figure")
    for name in ("now", "corrected"):
        table.add_column(name, justify="right")
    for change in figures:
        named = f"{change.pack_id} ({change.capability})" if change.pack_id else change.capability
        table.add_row(
            FIGURES[change.figure].format(named),
            _amount(change.figure, change.before),
            _amount(change.figure, change.after),
        )
    return table


def _amount(figure: Figure, amount: int | None) -> str:
    if amount is None:
        return "no pack"
    if figure == "pack_refunded":
        return "yes" if amount else "no"
    return yuan(amount) if figure == "cost_micro_yuan" else f"{amount:,}"
