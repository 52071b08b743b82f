"""The fact that a correction is about, looked up in ClickHouse by its event id."""

import re
from collections.abc import Mapping
from typing import Final, Literal, NamedTuple

import msgspec
from clickhouse_driver import Client

from metering.event_reader import read
from metering.ledger import CALL_KINDS, Entry
from metering.placement import PartitionIndex
from metering.printable_text import one_line
from metering.rejections import Rejection
from metering.topics import EVENTS
from phonemeter.dead_letters.counted_events import stored_ids
from phonemeter.errors import OperationError, UserError
from phonemeter.topic_reader import OffsetSpan, TopicReader
from sinks.connection import rows
from sinks.entry_columns import ID_DIGITS, ID_DIGITS_MIN
from sinks.ledger_table import TABLE_COLUMNS

FactKind = Literal["call", "purchase", "assignment", "refund", "registration", "correction"]

APPS_SHOWN: Final = 5
ENTRIES_MAX: Final = 1_000
"""Entries of one event id that are looked through; an id that many apps have is refused."""

_KINDS: Final[Mapping[str, FactKind]] = {
    **dict.fromkeys(CALL_KINDS, "call"),
    "purchase": "purchase",
    "purchase_refused": "purchase",
    "refund": "refund",
    "refund_refused": "refund",
    "refund_waiting": "refund",
    "registration": "registration",
    "correction": "correction",
}

_REFUSALS: Final[Mapping[str, str]] = {
    "free": "its call was before the start of billing: it is free, and a correction would have no effect",
    "denied": "the user refused: that is no call, nothing is charged for it, and it is not corrected",
    "failed": "the authorization failed: that is no call, nothing is charged for it, and it is not corrected",
    "opening": "it opened a trial quota: a later opening holds instead of it (phonemeter open)",
    "opening_refused": "it is an opening that was refused: nothing came of it",
    "alerting_set": "it set thresholds of alerts: those that are set later hold instead",
    "routing_set": "it set a routing policy: what is set later holds instead",
    "charge_notice": "it asked for a charge notice, which nothing takes back: ask for another one",
    "usage_observed": "it is a count of the platform: the next one takes its place",
    "settlement": "it is a settlement, which follows from the facts: correct one of these",
    "settlement_refused": "it is a settlement that was refused: nothing came of it",
    "correction_refused": "it is a correction that was refused: nothing came of it",
}
"""The reasons why an event is not corrected, by the kind of its entry."""

_TOO_MANY_PACKS: Final = "it was refused because the app has too many packs: publish the purchase again"

_MILLISECONDS: Final = {
    "time": "toUnixTimestamp64Milli(time)",
    "recorded_at": "toUnixTimestamp64Milli(recorded_at)",
}
_ENTRIES: Final = f"""
SELECT source_partition, {", ".join(_MILLISECONDS.get(name, name) for name in TABLE_COLUMNS)}
FROM ledger
WHERE event_id IN %(ids)s AND reason NOT IN ('taken_over', 'settled')
    AND kind NOT IN ('duplicate', 'unsettled', 'trial_grant', 'lapse', 'alert', 'recovery', 'rejection')
ORDER BY kind = 'opening', source_offset, line
LIMIT {ENTRIES_MAX + 1:d}
"""  # noqa: S608 - our own names

_FIRST_DIGITS: Final = re.compile(rf"[0-9a-f]{{{ID_DIGITS_MIN},{ID_DIGITS - 1}}}")


class CorrectableFact(NamedTuple):
    """A fact that can be corrected.

    Attributes:
        kind: what it is.
        event_id: its whole event id; its entry may have the first digits.
        partition: source partition of its entry.
        entry: its outcome, as ClickHouse has it.
    """

    kind: FactKind
    event_id: str
    partition: int
    entry: Entry


def find_fact(client: Client, reader: TopicReader, event_id: str, appid: str | None) -> CorrectableFact:
    """Find the fact of an event id, of which the first 16 digits are enough if it is a SHA-256.

    Raises:
        OperationError: the ledger has no event of that id, or one that is not corrected.
        UserError: several apps have one.
        clickhouse_driver.errors.Error, OSError, EOFError: ClickHouse is away or refuses.
    """
    found = [
        (partition, Entry(*columns))
        for partition, *columns in rows(client, _ENTRIES, {"ids": stored_ids(event_id)})
    ]
    entries = [(partition, entry) for partition, entry in found if appid in {None, entry.appid}]
    if not entries:
        raise _unknown(event_id, appid)
    apps = sorted({entry.appid for _, entry in entries})
    if len(apps) > 1:
        raise UserError(
            f"Several apps have an event {one_line(event_id)} ({', '.join(apps[:APPS_SHOWN])}); say which "
            "with --app APPID."
        )
    partition, entry = entries[0]
    refusal = _TOO_MANY_PACKS if entry.reason == "too_many_packs" else _REFUSALS.get(entry.kind, "")
    if not refusal and entry.kind not in _KINDS:
        refusal = f"there is no correction of what the ledger calls {entry.kind}"
    if refusal:
        raise OperationError(f"Event {one_line(event_id)} cannot be corrected: {refusal}.")
    kind = _KINDS[entry.kind]
    if kind == "purchase" and "assigned_at_ms" in msgspec.json.decode(entry.details):
        kind = "assignment"
    return CorrectableFact(kind, _whole_id(reader, partition, entry, event_id), partition, entry)


def _unknown(event_id: str, appid: str | None) -> OperationError:
    whose = f" of app {one_line(appid)}" if appid else ""
    return OperationError(
        f"The ledger has no event {one_line(event_id)}{whose}: check the id, wait until it is metered "
        "and stored, or look whether it is a dead letter (phonemeter dead-letters list)."
    )


def _whole_id(reader: TopicReader, partition: int, entry: Entry, given: str) -> str:
    """The whole event id, which is in the log where ClickHouse keeps the first digits."""
    if not _FIRST_DIGITS.fullmatch(given):
        return given
    partitions = len(reader.spans(EVENTS))
    span = OffsetSpan(entry.offset, entry.offset + 1)
    for records in reader.batches(EVENTS, partition, span):
        for record in records:
            event = read(record, PartitionIndex(partition, partitions))
            if not isinstance(event, Rejection) and event.id.startswith(given):
                return event.id
    raise OperationError(
        f"Record {EVENTS}-{partition}-{entry.offset} of event {given} can't be read any more; give the whole "
        "id, as it was published."
    )
