"""The ledger: immutable lines of what each event did, and the record that carries them on `phone-ledger`.

A line is identified by (source partition, source offset, line). Lines of one partition come in the order of
that identity, so that whoever stores them knows what it already has from the highest identity alone.
"""

from collections.abc import Sequence
from typing import Any, Final, Literal

import msgspec
from msgspec import Struct

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
    "purchase",
    "purchase_refused",
    "refund",
    "refund_refused",
    "lapse",
    "registration",
    "alerting_set",
    "usage_observed",
    "alert",
    "recovery",
]
"""What a line records. The first five are the outcomes of a succeeded authorization: their `calls` add up to
the number of calls, whichever way an uncovered call is taken over later."""

CALL_KINDS: Final[tuple[EntryKind, ...]] = ("charge", "trial_charge", "free", "exempt", "uncovered")

RECORD_ENTRIES_MAX: Final = 2_000
"""Lines per ledger record at most; a line is usually 200 to 400 bytes."""

RECORD_BYTES_MAX: Final = 900_000
"""Bytes per ledger record at most: a broker takes 1 MB unless told otherwise."""


class Entry(Struct, frozen=True, array_like=True, gc=False):
    """One line of the ledger.

    Attributes:
        offset: source offset of the record that caused it.
        line: its number among the lines of that record, from 0.
        kind: what it records.
        time_ms: when it took effect: the event's own time, a lapse's expiry.
        recorded_at_ms: when the record arrived (broker time; offline the event's time).
        appid: the app.
        capability: `quick`, `realtime`, or empty where it concerns the whole app.
        event_id: the event that it is the outcome of; empty for what time alone causes.
        calls: calls moved: 1 for a call, -1 for the uncovered line that a takeover reverses, a pack's size
            for a purchase or refund, the remainder for a lapse, 0 for what moves none.
        amount_micro_yuan: the money that belongs to `calls`.
        pack_id: the pack concerned; empty for the trial quota.
        remaining: what the pack (or the trial quota) holds after this line.
        reason: why, one word: `no_pack`, `exhausted`, `too_late`, `taken_over`, a refusal, an alert's kind.
        errno: the component's error number of a denied or failed authorization.
        scene, store, env, client, source: where the authorization happened, as the event said.
        details: JSON object of what this kind alone has: a pack's terms, an alert's level, a rejection.
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
"""The names of a row's fields, in the order in which a ledger record carries them."""


class LedgerRecord(Struct, frozen=True, kw_only=True):
    """The value of a record of `phone-ledger`: the lines of a run of source offsets, as rows of `columns`."""

    format: Literal[1] = 1
    partition: int
    first_offset: int
    last_offset: int
    columns: tuple[str, ...] = COLUMNS
    rows: Sequence[Entry]


class LedgerRows(Struct, frozen=True, kw_only=True):
    """A ledger record as a reader takes it: rows as plain lists, to be turned into columns."""

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
    """One record, or the halves of one that would be too large."""
    value = _encoder.encode(
        LedgerRecord(partition=partition, first_offset=rows[0].offset, last_offset=rows[-1].offset, rows=rows)
    )
    if len(value) <= RECORD_BYTES_MAX or len(rows) == 1:
        return [value]
    middle = len(rows) // 2
    return _encode(partition, rows[:middle]) + _encode(partition, rows[middle:])


def decode_rows(value: bytes) -> LedgerRows:
    """Read a ledger record for storing.

    Raises:
        ValueError: not a ledger record of a format and column order known here.
    """
    try:
        record = _rows_decoder.decode(value)
    except ValueError as error:
        raise ValueError(f"not a ledger record: {error}") from None
    if record.columns != COLUMNS:
        raise ValueError(f"the ledger record has columns {record.columns}; this version knows {COLUMNS}")
    return record
