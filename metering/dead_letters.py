"""The dead letter: a record that is no event, kept whole on `phone-dead-letters` (DESIGN section 5)."""

import msgspec
from msgspec import Struct


class DeadLetter(Struct, frozen=True, kw_only=True):
    """A rejected record with its place and the reason.

    Attributes:
        topic, partition, offset: where the record stands; together its identity.
        recorded_at_ms: the broker's time of the record.
        reason: one word to count by (`metering.events.RejectionReason`).
        sentence: what is wrong, for a person.
        key, value: the original bytes (base64 in JSON); None where the record had none.
    """

    topic: str
    partition: int
    offset: int
    recorded_at_ms: int
    reason: str
    sentence: str
    key: bytes | None
    value: bytes | None


_decoder = msgspec.json.Decoder(DeadLetter)


def encode(letter: DeadLetter) -> bytes:
    """The value of its record on `phone-dead-letters`."""
    return msgspec.json.encode(letter)


def decode(value: bytes) -> DeadLetter:
    """Read a dead letter back.

    Raises:
        ValueError: not a dead letter.
    """
    try:
        return _decoder.decode(value)
    except ValueError as error:
        raise ValueError(f"not a dead letter: {error}") from None
