"""Rating: the rules alone over a file of events, offline, and the accounts that result.

The stream and this module call the same `metering.partition.meter`: a figure here and one in the ledger can't
come from different code.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from itertools import islice

import msgspec
from msgspec import Struct

from metering.accounts import Account, Use
from metering.events import CAPABILITIES, CLOCK_KEY
from metering.ledger import CALL_KINDS, Entry
from metering.packs import Pack, PackStatus
from metering.partition import PartitionState, Record, meter
from metering.rules import Rules
from metering.times import format_time, parse_time

BATCH_RECORDS = 10_000


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


_COUNTED = {
    "charge": "charged",
    "trial_charge": "trial_charged",
    "free": "free",
    "exempt": "exempt",
    "uncovered": "uncovered",
    "denied": "denied",
    "failed": "failed",
    "duplicate": "duplicates",
}


def rate(lines: Iterable[bytes], rules: Rules, *, at_ms: int | None = None) -> Rating:
    """Rate events given as JSON lines in the order of the log; blank lines are passed over.

    Args:
        lines: one event each.
        rules: the parameters of metering.
        at_ms: rate as of this time: what happened later is left out, and time passes up to it.
    """
    state = PartitionState(0)
    tally = _Tally()
    records = _records(lines, at_ms)
    while batch := list(islice(records, BATCH_RECORDS)):
        metered = meter(state, batch, rules)
        state = metered.state
        tally.add(metered.entries)
    if at_ms is not None:
        metered = meter(state, [Record(state.next_offset, None, None, _tick(at_ms))], rules)
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
            elif entry.kind in _COUNTED:
                self._count(entry)

    def rating(self, state: PartitionState, rules: Rules) -> Rating:
        return Rating(
            {appid: self._app(account, rules) for appid, account in sorted(state.accounts.items())},
            self._rejected,
        )

    def _count(self, entry: Entry) -> None:
        use = self._uses[entry.appid, entry.capability]
        counter = _COUNTED[entry.kind]
        if entry.kind in CALL_KINDS:
            use.succeeded += entry.calls
            setattr(use, counter, getattr(use, counter) + entry.calls)
        else:
            setattr(use, counter, getattr(use, counter) + 1)
        if entry.kind == "charge":
            use.amount_micro_yuan += entry.amount_micro_yuan
            self._pack_amounts[entry.appid, entry.pack_id] += entry.amount_micro_yuan

    def _app(self, account: Account, rules: Rules) -> dict[str, TrialReport | UseReport]:
        report: dict[str, TrialReport | UseReport] = {
            "trial": TrialReport(rules.trial_calls * len(account.trial), sum(account.trial.values()))
        }
        for capability in CAPABILITIES:
            use = self._uses[account.appid, capability]
            use.packs = list(self._packs(account, account.uses[capability]))
            report[capability] = use
        return report

    def _packs(self, account: Account, use: Use) -> Iterator[PackReport]:
        ended = {closed.pack.pack_id: closed for closed in use.closed}
        for pack in sorted((*use.open, *use.spent, *(closed.pack for closed in use.closed))):
            closed = ended.get(pack.pack_id)
            yield PackReport(
                pack.pack_id,
                pack.calls,
                use.remaining[pack.pack_id],
                closed.lapsed if closed else 0,
                closed.status if closed else _status(account, use, pack),
                format_time(pack.starts_at_ms),
                format_time(pack.expires_at_ms),
                self._pack_amounts[account.appid, pack.pack_id],
            )


def _status(account: Account, use: Use, pack: Pack) -> PackStatus:
    if use.remaining[pack.pack_id] == 0:
        return "exhausted"
    return "pending" if account.clock_ms < pack.starts_at_ms else "active"


def _records(lines: Iterable[bytes], at_ms: int | None) -> Iterator[Record]:
    texts = (
        text
        for text in map(bytes.strip, lines)
        if text and not (at_ms is not None and _happened_after(text, at_ms))
    )
    return (Record(offset, None, None, text) for offset, text in enumerate(texts))


class _Dated(Struct):
    time: str


def _happened_after(value: bytes, at_ms: int) -> bool:
    try:
        return parse_time(msgspec.json.decode(value, type=_Dated).time) > at_ms
    except ValueError:
        return False


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
