"""Reading the records of a batch: what is plainly an event at once, the rest with the diagnosis it needs."""

from collections.abc import Iterable
from datetime import datetime
from typing import Protocol

import msgspec

from metering.events import (
    EARLIEST,
    PHONE_NUMBER_DIGITS,
    VALUE_BYTES_MAX,
    AnyEvent,
    Authorization,
    Rejection,
    decoder,
    is_appid,
    latest_time,
    read_event,
    read_record,
)


class Arrived(Protocol):
    """A record of the log; one of a file has neither key nor broker time: it arrives at its event time."""

    @property
    def recorded_at_ms(self) -> int | None:
        """The broker's time."""

    @property
    def key(self) -> bytes | None:
        """As published."""

    @property
    def value(self) -> bytes | None:
        """As published."""


def read(record: Arrived) -> AnyEvent | Rejection:
    """The event of a record, or why it is none."""
    if record.recorded_at_ms is None and record.value is not None:
        return read_event(record.value, now_ms=None)
    return read_record(record.key, record.value, now_ms=record.recorded_at_ms)


def read_all(records: Iterable[Arrived]) -> list[AnyEvent | Rejection]:
    """The same as `read` for each record, in less time: nearly all are authorizations with nothing wrong."""
    events: list[AnyEvent | Rejection] = []
    decode, add = decoder.decode, events.append
    now_ms, latest = None, latest_time(None)
    for record in records:
        if record.recorded_at_ms != now_ms:
            now_ms, latest = record.recorded_at_ms, latest_time(record.recorded_at_ms)
        value = record.value or b""
        try:
            event = decode(value)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            add(read(record))
            continue
        add(event if _is_plain(event, record.key, value, latest) else read(record))
    return events


def _is_plain(event: AnyEvent, key: bytes | None, value: bytes, latest: datetime) -> bool:
    """Whether nothing can be wrong with an event that was decoded; what is not plain may still be right."""
    if not isinstance(event, Authorization):
        return False
    client = event.data.client
    return (
        EARLIEST <= event.time <= latest
        and key == event.subject.encode()
        and (len(client) < PHONE_NUMBER_DIGITS or (client.isalnum() and not client.isdecimal()))
        and is_appid(event.subject)
        and value.isascii()
        and len(value) <= VALUE_BYTES_MAX
    )
