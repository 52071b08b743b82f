"""Reading the records of a batch: what is plainly an event at once, the rest with the diagnosis it needs."""

from collections.abc import Container, Iterable
from typing import NamedTuple, Protocol

import msgspec

from metering.events import (
    PHONE_NUMBER_DIGITS,
    PHONE_NUMBER_WRITTEN_MAX,
    VALUE_BYTES_MAX,
    AnyEvent,
    Authorization,
    Rejection,
    decoder,
    is_appid,
    is_no_phone_number,
    read_event,
    read_record,
)
from metering.times import CLOCK_SKEW_MS, EARLIEST_MS, LATEST_MS, to_ms


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


class Batch(NamedTuple):
    """What a run of records says, of each the event, or why it is none, and the event's time.

    Attributes:
        events: or rejections.
        times_ms: of the events; 0 for a rejection.
    """

    events: list[AnyEvent | Rejection]
    times_ms: list[int]


def read_all(records: Iterable[Arrived], known: Container[str] = ()) -> Batch:
    """The same as `read` for each record, in less time: nearly all are authorizations with nothing wrong.

    What is not plainly right is left to `read`, so that the bounds may be narrower here, but never wider.

    Args:
        records: in their order.
        known: subjects of earlier events, which need not be looked at again.
    """
    events: list[AnyEvent | Rejection] = []
    times_ms: list[int] = []
    decode, add, add_time = decoder.decode, events.append, times_ms.append
    now_ms, latest_ms = None, _latest_ms(None)
    for record in records:
        if record.recorded_at_ms != now_ms:
            now_ms = record.recorded_at_ms
            latest_ms = _latest_ms(now_ms)
        value = record.value or b""
        try:
            event = decode(value)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            plain = False
        else:
            time_ms = to_ms(event.time)
            plain = (
                isinstance(event, Authorization)
                and EARLIEST_MS <= time_ms < latest_ms
                and record.key == event.subject.encode()
                and (
                    event.subject in known or (is_appid(event.subject) and is_no_phone_number(event.subject))
                )
                and (len(event.id) > PHONE_NUMBER_WRITTEN_MAX or is_no_phone_number(event.id))
                and (len(event.source) < PHONE_NUMBER_DIGITS or is_no_phone_number(event.source))
                and (len((data := event.data).scene) < PHONE_NUMBER_DIGITS or is_no_phone_number(data.scene))
                and (len(data.store) < PHONE_NUMBER_DIGITS or is_no_phone_number(data.store))
                and (len(data.env) < PHONE_NUMBER_DIGITS or is_no_phone_number(data.env))
                and (not data.client or is_no_phone_number(data.client))
                and value.isascii()
                and len(value) <= VALUE_BYTES_MAX
            )
        if plain:
            add(event)
            add_time(time_ms)
        else:
            checked = read(record)
            add(checked)
            add_time(0 if isinstance(checked, Rejection) else to_ms(checked.time))
    return Batch(events, times_ms)


def _latest_ms(now_ms: int | None) -> int:
    return LATEST_MS if now_ms is None else min(LATEST_MS, now_ms + CLOCK_SKEW_MS)
