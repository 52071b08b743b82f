"""The records of `phone-deliveries`: what each key says, and how it is written and read.

The topic is compacted, so the newest record of each key is kept. What is asked for, how far it is, and what
people say about it have keys of their own: nobody overwrites what another one wrote.
"""

from binascii import crc32
from typing import Final, Literal

import msgspec
from msgspec import Struct

from metering.alerts import Alert

State = Literal["sending", "waiting", "delivered", "dead"]


class Record(Struct, frozen=True, kw_only=True, tag_field="type"):
    """One record. `at_ms` is when it was written, by the clock of its writer."""

    at_ms: int


class Claim(Record, frozen=True, kw_only=True, tag="claim"):
    """A notifier has taken over the partition: what another one begins from here on does not count."""

    owner: str


class Asked(Record, frozen=True, kw_only=True, tag="asked"):
    """An alert is to go to a route at `due_ms`; `held` ones of a route go together in one message."""

    alert: Alert
    route: str
    due_ms: int
    held: bool


class Chain(Record, frozen=True, kw_only=True, tag="chain"):
    """One message and its attempts.

    Attributes:
        id: the message's id, the same in every attempt.
        route: where it goes.
        channel: of the route.
        alerts: ids of the alerts in it.
        state: `sending` from before an attempt to its outcome, which is one of the others.
        attempt: number of the newest attempt, from 1.
        before: how many attempts had been made when people last asked for another round.
        since_ms: when the first attempt of this round began.
        due_ms: when the next attempt is due, where there is one.
        owner: who makes the attempt: the owner named by a claim.
        reason: what became of the newest attempt, in words.
    """

    id: str
    route: str
    channel: str
    alerts: tuple[str, ...]
    state: State
    attempt: int
    before: int = 0
    since_ms: int
    due_ms: int
    owner: str
    reason: str = ""


class Acknowledged(Record, frozen=True, kw_only=True, tag="acknowledged"):
    """A person has seen the alert: it needs no further attempts."""

    alert: str
    by: str


class Retry(Record, frozen=True, kw_only=True, tag="retry"):
    """A person wants a dead chain tried again."""

    chain: str


class RouteState(Record, frozen=True, kw_only=True, tag="route"):
    """A route was disabled because its receiver said that it is gone for good, or enabled by a person."""

    route: str
    disabled: bool
    reason: str = ""


AnyRecord = Claim | Asked | Chain | Acknowledged | Retry | RouteState

CLAIM_KEY: Final = b"claim"

_encoder: Final = msgspec.json.Encoder()
_decoder: Final = msgspec.json.Decoder(AnyRecord)


def key_of(record: AnyRecord) -> bytes:
    """The key under which a record is kept."""
    match record:
        case Claim():
            return CLAIM_KEY
        case Asked():
            return asked_key(record.alert.id, record.route)
        case Chain():
            return chain_key(record.id)
        case Acknowledged():
            return f"acknowledged|{record.alert}".encode()
        case Retry():
            return f"retry|{record.chain}".encode()
        case RouteState():
            return f"route|{record.route}".encode()


def asked_key(alert: str, route: str) -> bytes:
    """The key under which it is kept that an alert is to go to a route."""
    return f"asked|{alert}|{route}".encode()


def chain_key(chain: str) -> bytes:
    """The key under which a chain is kept."""
    return f"chain|{chain}".encode()


def encode(record: AnyRecord) -> bytes:
    """The value of a record."""
    return _encoder.encode(record)


def decode(value: bytes) -> AnyRecord:
    """Read a value.

    Raises:
        ValueError: it is none of the records known here.
    """
    record: AnyRecord = _decoder.decode(value)
    return record


def partition_of(route: str, partitions: int) -> int:
    """The partition of everything that concerns a route: one notifier at a time serves it."""
    return crc32(route.encode()) % partitions
