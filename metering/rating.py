"""Rating: the rules alone over a file of events, offline, and the accounts that result.

The stream and this module call the same `metering.partition.meter`: a figure here and one in the ledger can't
come from different code.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import Final, NamedTuple

import msgspec
from msgspec import Struct

from metering.accounts import Account, Use
from metering.events import CAPABILITIES, CLOCK_KEY, Zoned
from metering.ledger import CALL_KINDS, Entry
from metering.packs import Pack, PackStatus
from metering.partition import PartitionState, Record, WorkingState, meter
from metering.rules import Rules
from metering.times import EARLIEST_MS, LATEST_MS, format_time, to_ms

BATCH_RECORDS = 1_000
"""A record has 64 KiB at most, so that a batch is small whatever the file is."""


class TrialReport(Struct):
    """The trial quota of an app, in calls."""

    size: int
    remaining: int


class PackReport(Struct):
    """One pack: what it held, holds, lost, and what its charged calls cost."""

    pack_id: str
    calls: int
    remaining: int
    lapsed: int
    status: PackStatus
    starts_at: str
    expires_at: str
    amount_micro_yuan: int


class UseReport(Struct):
    """One capability of an app: authorizations by outcome, and its packs."""

    succeeded: int = 0
    charged: int = 0
    trial_charged: int = 0
    free: int = 0
    exempt: int = 0
    uncovered: int = 0
    denied: int = 0
    failed: int = 0
    duplicates: int = 0
    amount_micro_yuan: int = 0
    packs: list[PackReport] = []


class Rating(Struct):
    """All apps of a log, and how many of its records are no events."""

    apps: dict[str, dict[str, TrialReport | UseReport]]
    rejected: int


class RejectedLine(NamedTuple):
    """A line that is no event: its number from 1 on, and why."""

    number: int
    reason: str
    sentence: str


COUNTERS: Final[dict[str, str]] = {
    "charge": "charged",
    "trial_charge": "trial_charged",
    "free": "free",
    "exempt": "exempt",
    "uncovered": "uncovered",
    "denied": "denied",
    "failed": "failed",
    "duplicate": "duplicates",
}
"""Kinds of ledger lines, and the figure of an app's capability that they add to."""


def rate(
    lines: Iterable[bytes],
    rules: Rules,
    *,
    at_ms: int | None = None,
    on_rejected: Callable[[RejectedLine], None] = lambda _line: None,
) -> Rating:
    """Rate events given as JSON lines in the order of the log; blank lines are passed over.

    Args:
        lines: one event each.
        rules: the parameters of metering.
        at_ms: rate as of this time: what happened later is left out, and time passes up to it.
        on_rejected: told of every line that is no event, as it is read.

    Raises:
        ValueError: `at_ms` is a time that no event can have.
    """
    if at_ms is not None and not EARLIEST_MS <= at_ms <= LATEST_MS:
        raise ValueError(f"{at_ms} is outside {EARLIEST_MS} to {LATEST_MS}, the times that events may have")
    state: PartitionState = WorkingState(0)
    tally = _Tally()
    numbered = _events(lines, at_ms)
    while batch := list(islice(numbered, BATCH_RECORDS)):
        first = state.next_offset
        metered = meter(state, _records(first, (text for _, text in batch)), rules)
        state = metered.state
        tally.add(metered.entries)
        for letter in metered.dead_letters:
            number, _ = batch[letter.offset - first]
            on_rejected(RejectedLine(number, letter.reason, letter.sentence))
    if at_ms is not None:
        metered = meter(state, _records(state.next_offset, [_tick(at_ms)]), rules)
        state = metered.state
        tally.add(metered.entries)
    return tally.rating(state, rules)


class _Tally:
    """Adds up ledger lines by app and capability."""

    def __init__(self) -> None:
        self._uses: defaultdict[tuple[str, str], UseReport] = defaultdict(UseReport)
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
        use = self._uses[entry.appid, entry.capability]
        counter = COUNTERS[entry.kind]
        if entry.kind in CALL_KINDS:
            use.succeeded += entry.calls
            setattr(use, counter, getattr(use, counter) + entry.calls)
        else:
            setattr(use, counter, getattr(use, counter) + 1)
        if entry.kind == "charge":
            use.amount_micro_yuan += entry.amount_micro_yuan
            self._pack_amounts[entry.appid, entry.pack_id] += entry.amount_micro_yuan

    def _app(self, account: Account, trial_calls: int) -> dict[str, TrialReport | UseReport]:
        report: dict[str, TrialReport | UseReport] = {
            "trial": TrialReport(trial_calls, sum(account.trials.values()))
        }
        for capability in CAPABILITIES:
            use = self._uses[account.appid, capability]
            use.packs = list(self._packs(account, account.uses[capability]))
            report[capability] = use
        return report

    def _packs(self, account: Account, use: Use) -> Iterator[PackReport]:
        ended = {closed.pack.pack_id: closed for closed in use.closed}
        for pack in sorted(use.packs):
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
            )


def _status(account: Account, pack: Pack) -> PackStatus:
    if pack.remaining == 0:
        return "exhausted"
    return "pending" if account.clock_ms < pack.starts_at_ms else "active"


def _events(lines: Iterable[bytes], at_ms: int | None) -> Iterator[tuple[int, bytes]]:
    """The lines that hold something, with their numbers, without those that happened after `at_ms`."""
    for number, line in enumerate(lines, 1):
        text = line.strip()
        if text and (at_ms is None or not _happened_after(text, at_ms)):
            yield number, text


def _records(first: int, values: Iterable[bytes]) -> Iterator[Record]:
    return (Record(offset, None, None, value) for offset, value in enumerate(values, first))


class _Dated(Struct):
    time: Zoned


def _happened_after(value: bytes, at_ms: int) -> bool:
    """What has no time that can be read is left to be rejected."""
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
