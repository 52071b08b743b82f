"""What is to be done with a record of `phone-alerts`. Pure."""

import logging
from typing import Final, Literal, NamedTuple

import msgspec

from metering.alerts import Alert
from metering.topics import ALERTS
from sinks.lines import Position
from sinks.notifier.kafka_log import Record
from sinks.notifier.records import Asked
from sinks.notifier.routes import Routes

log = logging.getLogger(__name__)

_decoder: Final = msgspec.json.Decoder(Alert)


class Judged(NamedTuple):
    """The verdict, up to which position the alerts are known with it, and where this one is to go."""

    outcome: Literal["routed", "unrouted", "too_old", "repeated", "unreadable"]
    position: Position
    asked: tuple[Asked, ...] = ()


def judge(record: Record, known: Position, routes: Routes | None, age_ms_max: int, now_ms: int) -> Judged:
    """Judge a record.

    The alerts of a partition come in the order of what caused them, and again from some place on after a
    crash of the worker: what is not above the highest position was judged before.

    Args:
        record: of `phone-alerts`.
        known: the highest position judged so far in its partition.
        routes: where alerts go; None if there is no file.
        age_ms_max: alerts published longer ago go nowhere.
        now_ms: the time.
    """
    try:
        alert = _decoder.decode(record.value or b"")
        position = position_of(alert.id)
    except ValueError as error:
        log.warning(
            "Record %d of %s partition %d is no alert (%s); it is left out.",
            record.offset,
            ALERTS,
            record.partition,
            error,
        )
        return Judged("unreadable", known)
    if position <= known:
        return Judged("repeated", known)
    if now_ms - record.time_ms > age_ms_max:
        return Judged("too_old", position)
    asked = tuple(routes.asked(alert, now_ms)) if routes else ()
    return Judged("routed" if asked else "unrouted", position, asked)


def position_of(alert_id: str) -> Position:
    """Offset and line in the id of an alert, which is partition, offset and line.

    Raises:
        ValueError: it is not.
    """
    match alert_id.split("-"):
        case [_, offset, line]:
            return Position(int(offset), int(line))
    raise ValueError(f"{alert_id[:40]!r} is not partition, offset and line")
