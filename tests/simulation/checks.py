"""Whether a run came out right: against an undisturbed run, the second reading of the rules, and rule 14."""

import json
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from metering import dead_letters
from metering.ledger import CALL_KINDS, Entry
from metering.partition import Metered, PartitionState, Record, meter
from metering.rules import Rules
from tests.metering.model import Model
from tests.simulation.engine import Row

COUNTERS = {
    "charge": "charged",
    "trial_charge": "trial_charged",
    "free": "free",
    "exempt": "exempt",
    "uncovered": "uncovered",
    "denied": "denied",
    "failed": "failed",
    "duplicate": "duplicates",
}


class WrongOutcomeError(AssertionError):
    """The run lost, doubled or changed something."""


def require(holds: bool, what: str) -> None:  # noqa: FBT001 - a condition is a condition
    if not holds:
        raise WrongOutcomeError(what)


def undisturbed(partition: int, log: Sequence[Record], rules: Rules) -> Metered:
    """What the rules make of a partition's log when nothing goes wrong."""
    return meter(PartitionState(partition), log, rules)


def check_rows(partition: int, rows: Sequence[Row], truth: Metered) -> None:
    """The table holds each line of the undisturbed run exactly once, and nothing else."""
    stored = Counter(rows)
    wanted = Counter((partition, *_fields(entry)) for entry in truth.entries)
    lost, doubled = wanted - stored, stored - wanted
    if lost:
        raise WrongOutcomeError(f"partition {partition}: {lost.total()} lines lost, the first {_first(lost)}")
    if doubled:
        raise WrongOutcomeError(
            f"partition {partition}: {doubled.total()} lines doubled or made up, the first {_first(doubled)}"
        )


def check_figures(log: Sequence[Record], rows: Sequence[Row], rules: Rules) -> None:
    """The table adds up to what a model says that shares no code with the rules."""
    parameters = asdict(rules)
    names = ("billing_start_ms", "trial_calls", "trial_scope", "allowed_lateness_ms", "duplicate_window_ms")
    model = Model(**{name: parameters[name] for name in names})
    model.read_all(record.value or b"" for record in log)
    apps: dict[str, Any] = model.figures()["apps"]
    wanted = {
        (appid, capability, name): use[name]
        for appid, app in apps.items()
        for capability, use in app.items()
        if capability != "trial"
        for name in (*COUNTERS.values(), "amount_micro_yuan")
        if use[name]
    }
    found: Counter[tuple[str, str, str]] = Counter()
    rejected = 0
    for row in rows:
        entry = Entry(*row[1:])
        rejected += entry.kind == "rejection"
        place = (entry.appid, entry.capability)
        if entry.kind in COUNTERS and entry.capability:
            found[*place, COUNTERS[entry.kind]] += entry.calls if entry.kind in CALL_KINDS else 1
        if entry.kind == "charge":
            found[*place, "amount_micro_yuan"] += entry.amount_micro_yuan
    differing = {
        place: (wanted.get(place, 0), found[place])
        for place in wanted.keys() | found.keys()
        if wanted.get(place, 0) != found[place]
    }
    require(not differing, f"the model says and the table holds: {differing}")
    require(rejected == model.rejected, f"{model.rejected} records are no events, the table holds {rejected}")
    _check_packs(apps, rows)


def _check_packs(apps: Mapping[str, Any], rows: Sequence[Row]) -> None:
    """Rule 14, per pack: granted = charged + lapsed + refunded + remaining, nothing outside the validity."""
    moved: defaultdict[tuple[str, str], Counter[str]] = defaultdict(Counter)
    cost: Counter[tuple[str, str]] = Counter()
    terms: dict[tuple[str, str], tuple[int, int]] = {}
    outcomes: Counter[tuple[str, str, int]] = Counter()
    for row in rows:
        entry = Entry(*row[1:])
        pack_of_app = (entry.appid, entry.pack_id)
        if entry.pack_id:
            moved[pack_of_app][entry.kind] += entry.calls
        if entry.kind == "purchase":
            details = json.loads(entry.details)
            terms[pack_of_app] = (details["starts_at_ms"], details["expires_at_ms"])
        if entry.kind == "charge":
            cost[pack_of_app] += entry.amount_micro_yuan
            starts, expires = terms[pack_of_app]
            require(starts <= entry.time_ms < expires, f"charged outside the pack's validity: {entry}")
        if entry.kind in CALL_KINDS:
            outcomes[entry.appid, entry.event_id, entry.time_ms] += entry.calls
    require(set(outcomes.values()) <= {1}, "an event has more or less than one outcome")
    for appid, app in apps.items():
        for pack in (*app["quick"]["packs"], *app["realtime"]["packs"]):
            kinds, paid = moved[appid, pack["pack_id"]], cost[appid, pack["pack_id"]]
            rest = kinds["purchase"] - kinds["charge"] - kinds["lapse"] - kinds["refund"]
            require(rest == pack["remaining"] >= 0, f"{pack} is left, the table adds up to {rest}: {kinds}")
            require(paid == pack["amount_micro_yuan"], f"{pack}, the table adds up to a cost of {paid}")


def check_dead_letters(log: Sequence[Record], truth: Metered) -> None:
    """What is no event is kept whole, at least once."""
    kept = {dead_letters.decode(record.value or b"") for record in log}
    require(kept == set(truth.dead_letters), f"dead letters: {kept ^ set(truth.dead_letters)}")


def check_alerts(partition: int, log: Sequence[Record], truth: Metered) -> None:
    """Each alert is published, at least once."""
    published = {json.loads(record.value or b"")["id"] for record in log}
    wanted = {f"{partition}-{e.offset}-{e.line}" for e in truth.entries if e.kind in {"alert", "recovery"}}
    require(published == wanted, f"alerts: {published ^ wanted}")


def _fields(entry: Entry) -> tuple[Any, ...]:
    return tuple(getattr(entry, name) for name in entry.__struct_fields__)


def _first(lines: Counter[Row]) -> Row:
    return min(lines, key=lambda row: row[:3])
