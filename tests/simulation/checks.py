"""Checks of an outcome against a run without faults, an independent model of the rules, and rule 14."""

import json
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from metering import dead_letters, remembered_ids
from metering.accounts import NEVER_MS
from metering.events import CAPABILITIES
from metering.ledger import CALL_KINDS, Entry
from metering.live_balances import AppSums
from metering.partition import MeteringResult, meter
from metering.partition_state import PartitionState
from metering.records import Record, RecordRange
from metering.routing_policy import DEFAULT_POLICY
from metering.rules import Rules
from tests.metering.books import assert_running_balances
from tests.metering.model import Model
from tests.simulation.effective_order import effective_order, without_settlements
from tests.simulation.engine import Row
from tests.simulation.events import PARTITIONS, is_misplaced

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


def meter_without_faults(partition: int, log: Sequence[Record], rules: Rules) -> MeteringResult:
    """Meter a partition's log in one piece, without faults."""
    end = log[-1].offset + 1 if log else 0
    return meter(PartitionState(partition, partitions=PARTITIONS), RecordRange(log, 0, end), rules)


def check_rows(partition: int, rows: Sequence[Row], truth: MeteringResult) -> None:
    """Require that the table holds each entry of the run without faults exactly once, and nothing else."""
    stored = Counter(rows)
    wanted = Counter((partition, *_fields(entry)) for entry in truth.entries)
    lost, doubled = wanted - stored, stored - wanted
    if lost:
        raise WrongOutcomeError(f"partition {partition}: {lost.total()} lines lost, the first {_first(lost)}")
    if doubled:
        raise WrongOutcomeError(
            f"partition {partition}: {doubled.total()} lines doubled or made up, the first {_first(doubled)}"
        )


def check_balances(truth: MeteringResult) -> None:
    """Require rule 14 after every entry: a later settlement may repair what one broke."""
    try:
        assert_running_balances(truth.entries)
    except AssertionError as error:
        raise WrongOutcomeError(str(error)) from error


def check_figures(
    partition: int, log: Sequence[Record], rows: Sequence[Row], rules: Rules, truth: MeteringResult
) -> None:
    """Require that the table adds up to the figures of a model that shares no code with the rules.

    The model decides in the order in which it is given events. What was counted is that of the order of
    arrival, and what calls were taken from that of the order of effective time.
    """
    arrived = [record for record in without_settlements(log) if not is_misplaced(record, partition)]
    model = _model(rules, duplicate_window_ms=rules.duplicate_window_ms, chunk_ids=remembered_ids.CHUNK_IDS)
    model.read_all(record.value or b"" for record in arrived)
    misplaced = len(without_settlements(log)) - len(arrived)
    found, rejected = _added_up(rows)
    _compare(model, found, ("succeeded", "denied", "failed", "duplicates"))
    told = model.rejected + misplaced
    require(rejected == told, f"{told} records are no events, the table holds {rejected}")
    settled = _model(rules, duplicate_window_ms=NEVER_MS, chunk_ids=2 * len(log) + 2, in_order=True)
    settled.read_all(effective_order(log, truth.entries))
    _compare(settled, found, ("charged", "trial_charged", "free", "exempt", "uncovered", "amount_micro_yuan"))
    _check_packs(settled.figures()["apps"], rows)


def _model(rules: Rules, *, duplicate_window_ms: int, chunk_ids: int, in_order: bool = False) -> Model:
    parameters = asdict(rules)
    names = ("billing_start_ms", "trial_calls", "trial_scope", "allowed_lateness_ms", "remembered_ids_max")
    return Model(
        duplicate_window_ms=duplicate_window_ms,
        chunk_ids=chunk_ids,
        in_order=in_order,
        **{name: parameters[name] for name in names},
    )


def _added_up(rows: Sequence[Row]) -> tuple[Counter[tuple[str, str, str]], int]:
    """The figures of a table, and the number of records that are no events."""
    found: Counter[tuple[str, str, str]] = Counter()
    rejected = 0
    for row in rows:
        entry = Entry(*row[1:])
        rejected += entry.kind == "rejection"
        place = (entry.appid, entry.capability)
        is_call = entry.kind in CALL_KINDS
        if entry.kind in COUNTERS and entry.capability:
            found[*place, COUNTERS[entry.kind]] += entry.calls if is_call else 1
        if is_call or entry.kind == "corrected":
            found[*place, "succeeded"] += entry.calls
        if entry.kind == "charge":
            found[*place, "amount_micro_yuan"] += entry.amount_micro_yuan
    return found, rejected


def _compare(model: Model, found: Mapping[tuple[str, str, str], int], names: Sequence[str]) -> None:
    apps: dict[str, Any] = model.figures()["apps"]
    wanted = {
        (appid, capability, name): use[name]
        for appid, app in apps.items()
        for capability, use in app.items()
        if capability != "trial"
        for name in names
    }
    there = {place: number for place, number in found.items() if place[2] in names}
    differing = {
        place: (wanted.get(place, 0), there.get(place, 0))
        for place in wanted.keys() | there.keys()
        if wanted.get(place, 0) != there.get(place, 0)
    }
    require(not differing, f"the model says and the table holds: {differing}")


def _check_packs(apps: Mapping[str, Any], rows: Sequence[Row]) -> None:
    """Require rule 14 for each pack, and no charge outside its validity."""
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
        if entry.kind in CALL_KINDS and entry.reason != "settled":
            outcomes[entry.appid, entry.event_id, entry.time_ms] += entry.calls
    require(set(outcomes.values()) <= {1}, "an event has more or less than one outcome")
    for appid, app in apps.items():
        for pack in (*app["quick"]["packs"], *app["realtime"]["packs"]):
            kinds, paid = moved[appid, pack["pack_id"]], cost[appid, pack["pack_id"]]
            rest = kinds["purchase"] - kinds["opening"] - kinds["charge"] - kinds["lapse"] - kinds["refund"]
            require(kinds["opening"] == pack["used_before"], f"{pack} was opened with {kinds['opening']}")
            require(rest == pack["remaining"] >= 0, f"{pack} is left, the table adds up to {rest}: {kinds}")
            require(paid == pack["amount_micro_yuan"], f"{pack}, the table adds up to a cost of {paid}")


def check_dead_letters(log: Sequence[Record], truth: MeteringResult) -> None:
    """Require a whole dead letter, at least once, for each record that is no event."""
    kept = {dead_letters.decode(record.value or b"") for record in log}
    require(kept == set(truth.dead_letters), f"dead letters: {kept ^ set(truth.dead_letters)}")


def check_alerts(partition: int, log: Sequence[Record], truth: MeteringResult) -> None:
    """Require that each alert is published, at least once."""
    published = {json.loads(record.value or b"")["id"] for record in log}
    wanted = {f"{partition}-{e.offset}-{e.line}" for e in truth.entries if e.kind in {"alert", "recovery"}}
    require(published == wanted, f"alerts: {published ^ wanted}")


def check_live_balances(rows: Sequence[Row], truth: MeteringResult) -> None:
    """Require that the entries of each app add up to what its account has left."""
    sums: defaultdict[str, AppSums] = defaultdict(AppSums)
    for row in sorted(rows, key=lambda row: row[:3]):
        entry = Entry(*row[1:])
        sums[entry.appid].take(entry)
    for account in truth.state.accounts.values():
        for capability in CAPABILITIES:
            live = sums[account.appid].balance(capability)
            left = live.ledger_left_at(account.clock_ms)
            kept = account.balance(account.capabilities[capability])
            require(left == kept, f"{account.appid} has {kept} {capability} calls left, live are {left}")
            policy = account.capabilities[capability].routing or DEFAULT_POLICY
            require(live.policy == policy, f"{account.appid} has the policy {policy}, live is {live.policy}")
            require(live.is_exempt == account.exempt, f"{account.appid} is exempt or not: {live}")


def _fields(entry: Entry) -> tuple[Any, ...]:
    return tuple(getattr(entry, name) for name in entry.__struct_fields__)


def _first(lines: Counter[Row]) -> Row:
    return min(lines, key=lambda row: row[:3])
