"""Rating: the rules over a file of events, offline, and the accounts that result.

It calls the same `metering.partition.meter` as the stream.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from itertools import islice
from typing import Final, NamedTuple

import msgspec
from msgspec import Struct

from metering.accounts import Account, CapabilityAccount
from metering.events import CAPABILITIES, CLOCK_KEY, Zoned
from metering.ledger import CALL_KINDS, Entry
from metering.offline_settlement import ROUNDS_MAX, OfflineSettler
from metering.packs import Pack, PackStatus
from metering.partition import meter
from metering.partition_state import PartitionState, WorkingState
from metering.records import Record
from metering.rules import Rules
from metering.times import EARLIEST_MS, LATEST_MS, format_time, to_ms

BATCH_RECORDS = 1_000
"""Records of a batch; a record has at most 64 KiB."""


class TrialReport(Struct):
    """The trial quota of an app, in calls, and how many of them were used before this log."""

    size: int
    remaining: int
    used_before: int = 0


class PackReport(Struct):
    """A pack: its size, remainder, lapsed calls, cost of its charged calls, calls used before this log."""

    pack_id: str
    calls: int
    remaining: int
    lapsed: int
    status: PackStatus
    starts_at: str
    expires_at: str
    amount_micro_yuan: int
    used_before: int = 0


class CapabilityReport(Struct):
    """One capability of an app: authorizations by outcome, calls that corrections took out, and its packs."""

    succeeded: int = 0
    charged: int = 0
    trial_charged: int = 0
    free: int = 0
    exempt: int = 0
    uncovered: int = 0
    denied: int = 0
    failed: int = 0
    duplicates: int = 0
    corrected: int = 0
    amount_micro_yuan: int = 0
    packs: list[PackReport] = []


class Rating(Struct):
    """The apps of a log, and the number of its rejected records."""

    apps: dict[str, dict[str, TrialReport | CapabilityReport]]
    rejected: int


class RejectedLine(NamedTuple):
    """A line that is no valid event: its number from 1 on, and the reason."""

    number: int
    reason: str
    sentence: str


COUNTERS: Final[dict[str, str]] = {
    "charge": "charged",
    "trial_charge": "trial_charged",
    "free": "free",
    "exempt": "exempt",
    "uncovered": "uncovered",
    "corrected": "corrected",
    "denied": "denied",
    "failed": "failed",
    "duplicate": "duplicates",
}
"""By kind of ledger entry, the figure of a capability that it adds to."""


def rate(
    lines: Iterable[bytes],
    rules: Rules,
    *,
    at_ms: int | None = None,
    settled: bool = False,
    on_rejected: Callable[[RejectedLine], None] = lambda _line: None,
    on_alert: Callable[[Entry], None] = lambda _entry: None,
) -> Rating:
    """Rate events given as JSON lines in the order of the log; blank lines are skipped.

    With `at_ms`, later events are left out, and time passes up to it. If `settled`, the figures are those of
    the order of effective time (rule 8), whatever the horizon, as all facts are at hand; otherwise those that
    the order of the lines gives at once.
    `on_rejected` is called for every line that is no valid event, `on_alert` for every alert and recovery of
    the order of the lines.

    Raises:
        ValueError: `at_ms` is a time that no event can have.
        TooManyCallsError: there are too many calls to put them in order.
    """
    if at_ms is not None and not EARLIEST_MS <= at_ms <= LATEST_MS:
        raise ValueError(f"{at_ms} is outside {EARLIEST_MS} to {LATEST_MS}, the times that events may have")
    state: PartitionState = WorkingState(0)
    tally = _Tally()
    if settled:
        rules = replace(rules, settle_horizon_ms=LATEST_MS)
    settler = OfflineSettler(rules) if settled else None
    numbered = _events(lines, at_ms)
    while batch := list(islice(numbered, BATCH_RECORDS)):
        first = state.next_offset
        metered = meter(state, _records(first, (text for _, text in batch)), rules)
        state = metered.state
        tally.add(metered.entries)
        if settler is not None:
            settler.add(metered.entries)
        for alert in metered.alerts:
            on_alert(alert)
        for letter in metered.dead_letters:
            number, _ = batch[letter.offset - first]
            on_rejected(RejectedLine(number, letter.reason, letter.sentence))
    if at_ms is not None:
        metered = meter(state, _records(state.next_offset, [_tick(at_ms)]), rules)
        state = metered.state
        tally.add(metered.entries)
        for alert in metered.alerts:
            on_alert(alert)
    if settler is not None:
        state = _settle(settler, state, tally, rules)
    return tally.rating(state, rules)


def _settle(settler: OfflineSettler, state: PartitionState, tally: "_Tally", rules: Rules) -> PartitionState:
    for _ in range(ROUNDS_MAX):
        events = [event.value for event in settler.events(state)]
        if not events:
            break
        metered = meter(state, _records(state.next_offset, events), rules)
        state = metered.state
        settler.add(metered.entries)
        tally.add(metered.entries)
    return state


class _Tally:
    """Sums of ledger entries by app and capability."""

    def __init__(self) -> None:
        self._reports: defaultdict[tuple[str, str], CapabilityReport] = defaultdict(CapabilityReport)
        self._pack_amounts: defaultdict[tuple[str, str], int] = defaultdict(int)
        self._rejected = 0

    def add(self, entries: Iterable[Entry]) -> None:
        for entry in entries:
            if entry.kind == "rejection":
                self._rejected += 1
            elif entry.kind in COUNTERS:
                self._count(entry)

    def rating(self, state: PartitionState, rules: Rules) -> Rating:
        trial_calls = sum(Account.new("", rules).trials.values())
        return Rating(
            {appid: self._app(account, trial_calls) for appid, account in sorted(state.accounts.items())},
            self._rejected,
        )

    def _count(self, entry: Entry) -> None:
        report = self._reports[entry.appid, entry.capability]
        counter = COUNTERS[entry.kind]
        if entry.kind == "corrected":
            report.corrected += entry.calls
        elif entry.kind in CALL_KINDS:
            report.succeeded += entry.calls
            setattr(report, counter, getattr(report, counter) + entry.calls)
        else:
            setattr(report, counter, getattr(report, counter) + 1)
        if entry.kind == "charge":
            report.amount_micro_yuan += entry.amount_micro_yuan
            self._pack_amounts[entry.appid, entry.pack_id] += entry.amount_micro_yuan

    def _app(self, account: Account, trial_calls: int) -> dict[str, TrialReport | CapabilityReport]:
        report: dict[str, TrialReport | CapabilityReport] = {
            "trial": TrialReport(trial_calls, sum(account.trials.values()), account.trials_used_before)
        }
        for capability in CAPABILITIES:
            of_capability = self._reports[account.appid, capability]
            of_capability.packs = list(self._packs(account, account.capabilities[capability]))
            report[capability] = of_capability
        return report

    def _packs(self, account: Account, capability_account: CapabilityAccount) -> Iterator[PackReport]:
        ended = {closed.pack.pack_id: closed for closed in capability_account.closed}
        for pack in sorted(capability_account.packs):
            closed = ended.get(pack.pack_id)
            yield PackReport(
                pack.pack_id,
                pack.calls,
                pack.remaining,
                closed.lapsed if closed else 0,
                closed.status if closed else _status(account, pack),
                format_time(pack.starts_at_ms),
                format_time(pack.expires_at_ms),
                self._pack_amounts[account.appid, pack.pack_id],
                pack.used_before,
            )


def _status(account: Account, pack: Pack) -> PackStatus:
    if pack.remaining == 0:
        return "exhausted"
    return "pending" if account.clock_ms < pack.starts_at_ms else "active"


def _events(lines: Iterable[bytes], at_ms: int | None) -> Iterator[tuple[int, bytes]]:
    """The lines that are not blank and not after `at_ms`, with their numbers."""
    for number, line in enumerate(lines, 1):
        text = line.strip()
        if text and (at_ms is None or not _happened_after(text, at_ms)):
            yield number, text


def _records(first: int, values: Iterable[bytes]) -> Iterator[Record]:
    return (Record(offset, None, None, value) for offset, value in enumerate(values, first))


class _Dated(Struct):
    time: Zoned


def _happened_after(value: bytes, at_ms: int) -> bool:
    """True if an event is after `at_ms`; without a readable time it is left to be rejected."""
    try:
        return to_ms(_dated_decoder.decode(value).time) > at_ms
    except (ValueError, RecursionError):
        return False


_dated_decoder = msgspec.json.Decoder(_Dated)


def _tick(time_ms: int) -> bytes:
    return msgspec.json.encode(
        {
            "specversion": "1.0",
            "id": f"tick-{time_ms}",
            "source": "/phonemeter/rate",
            "type": "clock.ticked",
            "subject": CLOCK_KEY,
            "time": format_time(time_ms),
        }
    )
