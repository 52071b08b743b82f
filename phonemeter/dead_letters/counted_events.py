"""The search in ClickHouse for an event that the stream may have counted before its id was forgotten."""

from typing import Final

import msgspec
from msgspec import Struct

from metering.topics import EVENTS
from phonemeter.clickhouse import ledger_client
from phonemeter.settings import Settings
from sinks.connection import rows
from sinks.entry_columns import ID_DIGITS, ID_DIGITS_MIN, shorten_ids

_OUTCOME: Final = (
    "SELECT source_partition, source_offset FROM ledger "
    "WHERE appid = %(appid)s AND event_id IN %(ids)s AND kind != 'duplicate' "
    "ORDER BY source_offset LIMIT 1"
)


class _Event(Struct):
    subject: str
    id: str


_decoder: Final = msgspec.json.Decoder(_Event)


class CountedEvents:
    """The events with an outcome in the ledger of ClickHouse, which goes back as far as that does."""

    def __init__(self, settings: Settings) -> None:
        self._url = settings.clickhouse

    def place_of(self, event: bytes) -> str:
        """A sentence with the record that an event was counted at; empty if the ledger does not have it.

        Raises:
            ClickHouseError: ClickHouse does not answer, or has no ledger.
        """
        try:
            wanted = _decoder.decode(event)
        except ValueError:
            return ""  # The producer refuses it with the reason.
        with ledger_client(self._url) as client:
            found = rows(client, _OUTCOME, {"appid": wanted.subject, "ids": stored_ids(wanted.id)})
        if not found:
            return ""
        ((partition, offset),) = found
        return f"It was counted before, as {EVENTS}-{partition}-{offset}; it is not counted again."


def stored_ids(event_id: str) -> list[str]:
    """The forms that ClickHouse may have of an event id, as its number of digits is a setting."""
    return sorted({shorten_ids((event_id,), digits)[0] for digits in range(ID_DIGITS_MIN, ID_DIGITS + 1)})
