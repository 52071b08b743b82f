"""The ledger: immutable entries of what each event did, and the records of `phone-ledger` that carry them.

An entry is identified by source partition, source offset and line (its number within the record). The entries
of a partition are ordered by that identity, so that the highest stored identity tells what is stored.
"""

from collections.abc import Sequence
from typing import Any, Final, Literal

import msgspec
from msgspec import Struct

from metering.stored_formats import refuse_newer

EntryKind = Literal[
    "charge",
    "trial_charge",
    "free",
    "exempt",
    "uncovered",
    "denied",
    "failed",
    "duplicate",
    "rejection",
    "trial_grant",
    "opening",
    "opening_refused",
    "purchase",
    "purchase_refused",
    "refund",
    "refund_refused",
    "refund_waiting",
    "lapse",
    "registration",
    "alerting_set",
    "migration",
    "migration_refused",
    "agreement_set",
    "routing_set",
    "charge_notice",
    "usage_observed",
    "correction",
    "correction_refused",
    "corrected",
    "followed",
    "unsettled",
    "settlement",
    "settlement_refused",
    "alert",
    "recovery",
    "clock_start",
]
"""Kinds of entries. The first five are the outcomes of a succeeded authorization: their `calls` add up to the
number of calls, also when a pack takes over uncovered calls or a settlement moves calls. `clock_start` is the
first clock tick of the partition: from there on time passes by the clock, and not by the events alone.
`corrected` are calls that a correction took out of the log, negative where it put them into it; `followed`
those that were given back to follow the platform's count, negative where they were taken."""

AlertReason = Literal[
    "level", "expiry", "run_out", "uncovered", "refused", "minute_burn", "client_burn", "charge_notice"
]
"""The `reason` of an entry of kind `alert`; a charge notice is told like one, and nothing is wrong."""

RecoveryReason = Literal["level", "run_out", "uncovered", "refused"]
"""The `reason` of an entry of kind `recovery`."""

CALL_KINDS: Final[tuple[EntryKind, ...]] = ("charge", "trial_charge", "free", "exempt", "uncovered")

MOVED_REASONS: Final = frozenset({"taken_over", "settled"})
"""The `reason` of entries that move calls that were counted before."""

RECORD_ENTRIES_MAX: Final = 2_000
"""Limit of entries per ledger record; an entry usually has 200 to 400 bytes."""

RECORD_BYTES_MAX: Final = 900_000
"""Limit of bytes per ledger record: brokers take 1 MB by default."""


class Entry(Struct, frozen=True, array_like=True, gc=False):
    """A ledger entry: one row of the ledger.

    Attributes:
        offset: source offset: of the record that caused it.
        line: its number among the entries of that record, from 0.
        kind: see `EntryKind`.
        time_ms: time at which it took effect: of the event, of a lapse the expiry.
        recorded_at_ms: time at which the record arrived (the broker's; offline the event's).
        appid: the app.
        capability: `quick`, `realtime`, or empty if it is about the whole app.
        event_id: the event that caused it; empty if only time did.
        calls: calls moved: 1 for a call, -1 for the reversal of an uncovered call, the size for a purchase,
            the remainder for a refund or lapse (negative for its reversal), those used before for an opening,
            any number for a settlement's move, otherwise 0.
        amount_micro_yuan: the cost of `calls`.
        pack_id: the pack; empty for the trial quota.
        remaining: the running balance: calls left in the pack or the trial quota after this entry.
        reason: one word; `metering/README.md` lists them.
        errno: the component's error number of a denied or failed authorization.
        scene, store, env, client, source: of the event.
        details: JSON object with fields of this kind alone: terms of a pack, level of an alert, a rejection.
    """

    offset: int
    line: int
    kind: EntryKind
    time_ms: int
    recorded_at_ms: int
    appid: str
    capability: str = ""
    event_id: str = ""
    calls: int = 0
    amount_micro_yuan: int = 0
    pack_id: str = ""
    remaining: int = 0
    reason: str = ""
    errno: int = 0
    scene: str = ""
    store: str = ""
    env: str = ""
    client: str = ""
    source: str = ""
    details: str = ""


COLUMNS: Final[tuple[str, ...]] = Entry.__struct_fields__
"""The names of an entry's fields, in the order of the rows of a ledger record."""


FORMAT: Final = 1
"""The format of ledger records."""


class LedgerRecord(Struct, frozen=True, kw_only=True):
    """The value of a ledger record: the entries of a range of source offsets, as rows of `columns`."""

    format: Literal[1] = 1
    partition: int
    first_offset: int
    last_offset: int
    columns: tuple[str, ...] = COLUMNS
    rows: Sequence[Entry]


class LedgerRows(Struct, frozen=True, kw_only=True):
    """A ledger record as it is read: rows as plain lists, to be turned into columns."""

    format: Literal[1]
    partition: int
    first_offset: int
    last_offset: int
    columns: tuple[str, ...]
    rows: list[list[Any]]


_encoder = msgspec.json.Encoder()
_rows_decoder = msgspec.json.Decoder(LedgerRows)


def encode_records(partition: int, entries: Sequence[Entry]) -> list[bytes]:
    """Cut the entries of one partition into the values of ledger records, in order."""
    return [
        value
        for start in range(0, len(entries), RECORD_ENTRIES_MAX)
        for value in _encode(partition, entries[start : start + RECORD_ENTRIES_MAX])
    ]


def _encode(partition: int, rows: Sequence[Entry]) -> list[bytes]:
    """The value of one record, or those of its halves if it would be too large."""
    value = _encoder.encode(
        LedgerRecord(partition=partition, first_offset=rows[0].offset, last_offset=rows[-1].offset, rows=rows)
    )
    if len(value) <= RECORD_BYTES_MAX or len(rows) == 1:
        return [value]
    middle = len(rows) // 2
    return _encode(partition, rows[:middle]) + _encode(partition, rows[middle:])


def decode_rows(value: bytes) -> LedgerRows:
    """Decode a ledger record.

    Raises:
        ValueError: not a ledger record, or one with other columns.
    """
    try:
        record = _rows_decoder.decode(value)
    except ValueError as error:
        refuse_newer(value, FORMAT)
        raise ValueError(f"not a ledger record: {error}") from None
    if record.columns != COLUMNS:
        raise ValueError(f"the ledger record has columns {record.columns}; this version knows {COLUMNS}")
    return record
