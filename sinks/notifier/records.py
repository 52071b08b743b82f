"""The records of `phone-deliveries`: their keys and values.

The topic is compacted, so it keeps the newest record of each key. A request for a delivery, the delivery and
what people say about it have different keys, so no writer overwrites the record of another one.
"""

from binascii import crc32
from typing import Final, Literal, NamedTuple, Self

import msgspec
from msgspec import Struct

from metering.alerts import Alert
from metering.stored_formats import newer_format, refuse_newer

State = Literal["sending", "waiting", "delivered", "dead", "not_sent"]

FINAL_STATES: Final = frozenset({"delivered", "not_sent"})
"""States that neither the notifier nor a person can change."""


FORMAT: Final = 1
"""The format of the records; those of 0.1 do not name theirs."""


class DeliveryRecord(Struct, frozen=True, kw_only=True, tag_field="type"):
    """One record. `at_ms` is the time of writing, by the clock of its writer."""

    at_ms: int
    format: int = FORMAT


class Fence(DeliveryRecord, frozen=True, kw_only=True, tag="claim"):
    """The beginning of an epoch: attempts that another owner records behind it are void.

    `owner` is the fencing token, a random id of one assignment of the partition to one notifier.
    """

    owner: str


class DeliveryRequest(DeliveryRecord, frozen=True, kw_only=True, tag="asked"):
    """An alert to be delivered to a route at `due_ms`; requests that are `held` share a message per route."""

    alert: Alert
    route: str
    due_ms: int
    held: bool


class Delivery(DeliveryRecord, frozen=True, kw_only=True, tag="chain"):
    """One message to one route, with its attempts.

    Attributes:
        id: of the message, the same in every attempt.
        alerts: ids of the alerts in the message.
        state: `sending` from before an attempt to its outcome, then one of the others.
        attempt: number of the newest attempt, from 1.
        earlier_attempts: number of attempts before a person asked for another round.
        since_ms: beginning of the first attempt of this round.
        due_ms: time of the next attempt, if there is one.
        owner: fencing token of the notifier that makes the attempt.
        reason: outcome of the newest attempt, in words.
    """

    id: str
    route: str
    channel: str
    alerts: tuple[str, ...]
    state: State
    attempt: int
    earlier_attempts: int = msgspec.field(default=0, name="before")
    since_ms: int
    due_ms: int
    owner: str
    reason: str = ""


class Acknowledgement(DeliveryRecord, frozen=True, kw_only=True, tag="acknowledged"):
    """A person's word that the alert is taken care of: it needs no further attempts."""

    alert: str
    by: str


class Retry(DeliveryRecord, frozen=True, kw_only=True, tag="retry"):
    """A person's request for another round of attempts of a dead delivery."""

    delivery_id: str = msgspec.field(name="chain")


class RouteState(DeliveryRecord, frozen=True, kw_only=True, tag="route"):
    """A route disabled because its receiver answered that it is gone for good, or enabled by a person."""

    route: str
    disabled: bool
    reason: str = ""


AnyRecord = Fence | DeliveryRequest | Delivery | Acknowledgement | Retry | RouteState
AnyRouteRecord = DeliveryRequest | Delivery | RouteState

FENCE_KEY: Final = b"claim"

_encoder: Final = msgspec.json.Encoder()
_decoder: Final = msgspec.json.Decoder(AnyRecord)


def key_of(record: AnyRecord) -> bytes:
    """The key of a record."""
    match record:
        case Fence():
            return FENCE_KEY
        case DeliveryRequest():
            return request_key(record.alert.id, record.route)
        case Delivery():
            return delivery_key(record.id)
        case Acknowledgement():
            return f"acknowledged|{record.alert}".encode()
        case Retry():
            return f"retry|{record.delivery_id}".encode()
        case RouteState():
            return f"route|{record.route}".encode()


def request_key(alert_id: str, route: str) -> bytes:
    """The key of the request to deliver an alert to a route."""
    return f"asked|{alert_id}|{route}".encode()


def delivery_key(delivery_id: str) -> bytes:
    """The key of a delivery."""
    return f"chain|{delivery_id}".encode()


def delivery_id_of(request: DeliveryRequest) -> str:
    """The id of a delivery of one alert alone."""
    return f"alert_{request.alert.id}_{request.route}"


def encode(record: AnyRecord) -> bytes:
    """The value of a record."""
    return _encoder.encode(record)


def decode(value: bytes) -> AnyRecord:
    """Read a value.

    Raises:
        NewerFormatError: a newer version wrote it.
        ValueError: it is none of the records known here.
    """
    try:
        record: AnyRecord = _decoder.decode(value)
    except ValueError:
        refuse_newer(value, FORMAT)
        raise
    if record.format > FORMAT:
        raise newer_format(record.format, FORMAT)
    return record


def partition_of(route: str, partitions: int) -> int:
    """The partition of all records of a route, so that one notifier at a time serves it."""
    return crc32(route.encode()) % partitions


class DeliveryOutput(NamedTuple):
    """A record to publish on `phone-deliveries`; without a value, it removes the key."""

    partition: int
    key: bytes
    value: bytes | None

    @classmethod
    def of(cls, record: AnyRecord, partition: int) -> Self:
        """The output of a record on a partition."""
        return cls(partition, key_of(record), encode(record))

    @classmethod
    def of_route(cls, record: AnyRouteRecord, partitions: int) -> Self:
        """The output of a record on the partition of its route, of so many partitions."""
        return cls.of(record, partition_of(record.route, partitions))
