"""The count that decides whether a figure counts: it agrees with the rules, and notices what is wrong."""

from collections.abc import Callable

import pytest

from bench.checking import EntryFields, difference, expected, published
from bench.traffic import events
from metering.ledger import decode_rows, encode_records
from metering.partition import meter
from metering.partition_state import PartitionState
from metering.records import Record
from metering.rules import Rules

RECORDED_AT_MS = 1_795_359_600_000
PACKS = ((30, 90), (50, 180), (10_000_000, 365))
TAPS = 2_500


@pytest.fixture(scope="module")
def log() -> list[tuple[int, bytes]]:
    """Two apps, of which the busier uses up its trial quota and two packs."""
    return [(offset, value) for offset, (_, value) in enumerate(events(TAPS, 2, packs=PACKS))]


@pytest.fixture(scope="module")
def ledger(log: list[tuple[int, bytes]]) -> list[EntryFields]:
    """The entries that the rules make of it, as they are on the broker."""
    keys = [key for key, _ in events(TAPS, 2, packs=PACKS)]
    records = [
        Record(offset, RECORDED_AT_MS, key, value) for (offset, value), key in zip(log, keys, strict=True)
    ]
    entries = meter(PartitionState(0), records, Rules()).entries
    decoded = [decode_rows(value) for value in encode_records(0, entries)]
    return [line for record in decoded for line in published(record.columns, record.rows)]


def test_the_count_and_the_rules_agree_on_every_event(
    log: list[tuple[int, bytes]], ledger: list[EntryFields]
) -> None:
    assert difference(expected(log), ledger) is None
    assert len(ledger) == len(log)
    assert {line.kind for line in ledger} == {"purchase", "trial_charge", "charge", "duplicate"}
    assert len({line.pack_id for line in ledger if line.kind == "charge"}) >= 3


def charge(ledger: list[EntryFields]) -> int:
    return next(at for at, line in enumerate(ledger) if line.kind == "charge")


def changed(**fields: object) -> Callable[[list[EntryFields]], list[EntryFields]]:
    def change(ledger: list[EntryFields]) -> list[EntryFields]:
        at = charge(ledger)
        line = EntryFields(**{**ledger[at]._asdict(), **fields})
        return [*ledger[:at], line, *ledger[at + 1 :]]

    return change


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda ledger: ledger[:-1], id="the last line is missing"),
        pytest.param(lambda ledger: ledger[1:], id="the first line is missing"),
        pytest.param(lambda ledger: [*ledger, ledger[-1]], id="a line is there twice"),
        pytest.param(lambda ledger: [ledger[1], ledger[0], *ledger[2:]], id="two lines are exchanged"),
        pytest.param(changed(remaining=1), id="another remainder"),
        pytest.param(changed(amount_micro_yuan=1), id="another amount"),
        pytest.param(changed(pack_id="another"), id="another pack"),
        pytest.param(changed(kind="uncovered"), id="not covered"),
        pytest.param(changed(offset=10**9), id="another offset"),
        pytest.param(changed(appid="wx2"), id="another app"),
        pytest.param(changed(event_id="f" * 32), id="another event"),
        pytest.param(changed(calls=2), id="two calls"),
    ],
)
def test_a_wrong_ledger_is_noticed(
    log: list[tuple[int, bytes]],
    ledger: list[EntryFields],
    change: Callable[[list[EntryFields]], list[EntryFields]],
) -> None:
    assert difference(expected(log), change(ledger)) is not None
