"""The dead letter: the copy of a record that is no valid event, on `phone-dead-letters`.

A dead letter always fits into a record. Brokers limit the size of records after compression, so that a record
of any size can be in the log. Records that could be events are kept whole; of larger ones the letter has the
beginning, the sizes and a hash, and the record itself stays in the log.
"""

from collections.abc import Iterator
from hashlib import sha256
from typing import Final

import msgspec
from msgspec import Struct

from metering.content_modes import Header, Headers
from metering.events import VALUE_BYTES_MAX

VALUE_BYTES_KEPT: Final = VALUE_BYTES_MAX
KEY_BYTES_KEPT: Final = 1_024
HEADERS_BYTES_KEPT: Final = 16_384
HEADERS_KEPT: Final = 100

RECORD_BYTES_MAX: Final = 400_000
"""The largest dead letter, with its value in base64 and every character of header names escaped."""


class OriginalSizes(Struct, frozen=True, kw_only=True):
    """The sizes of a record of which a letter holds only the beginning.

    Attributes:
        value_bytes, key_bytes, headers_bytes: sizes in the log.
        value_sha256: of the value, in hexadecimal; empty without a value.
    """

    value_bytes: int
    key_bytes: int
    headers_bytes: int
    value_sha256: str

    @staticmethod
    def of(key: bytes | None, value: bytes | None, headers: Headers) -> "OriginalSizes":
        """The sizes of a record."""
        return OriginalSizes(
            value_bytes=len(value or b""),
            key_bytes=len(key or b""),
            headers_bytes=sum(map(_header_bytes, headers)),
            value_sha256="" if value is None else sha256(value).hexdigest(),
        )


class DeadLetter(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A rejected record with its place and the reason.

    Attributes:
        topic, partition, offset: the place of the record; together its identity.
        recorded_at_ms: the broker's time of the record.
        reason: one word (`metering.rejections.RejectionReason`).
        sentence: the fault, for a person.
        key, value: the original bytes (base64 in JSON); None where the record had none.
        headers: of the record, in their order.
        original: None if key, value and headers are whole.
    """

    topic: str
    partition: int
    offset: int
    recorded_at_ms: int
    reason: str
    sentence: str
    key: bytes | None
    value: bytes | None
    headers: tuple[Header, ...] = ()
    original: OriginalSizes | None = None

    def with_bytes(self, key: bytes | None, value: bytes | None, headers: Headers) -> "DeadLetter":
        """The letter with these bytes, cut to the limits of a letter."""
        kept = tuple(_kept(headers))
        whole = (
            len(value or b"") <= VALUE_BYTES_KEPT
            and len(key or b"") <= KEY_BYTES_KEPT
            and len(kept) == len(headers)
        )
        return msgspec.structs.replace(
            self,
            key=None if key is None else key[:KEY_BYTES_KEPT],
            value=None if value is None else value[:VALUE_BYTES_KEPT],
            headers=kept,
            original=None if whole else OriginalSizes.of(key, value, headers),
        )


def _kept(headers: Headers) -> Iterator[Header]:
    left = HEADERS_BYTES_KEPT
    for header in headers[:HEADERS_KEPT]:
        left -= _header_bytes(header)
        if left < 0:
            return
        yield header


def _header_bytes(header: Header) -> int:
    name, value = header
    return len(name.encode(errors="surrogatepass")) + len(value or b"")


_decoder = msgspec.json.Decoder(DeadLetter)


def encode(letter: DeadLetter) -> bytes:
    """Encode a dead letter as the value of a record of `phone-dead-letters`."""
    return msgspec.json.encode(letter)


def decode(value: bytes) -> DeadLetter:
    """Decode a dead letter.

    Raises:
        ValueError: not a dead letter.
    """
    try:
        return _decoder.decode(value)
    except ValueError as error:
        raise ValueError(f"not a dead letter: {error}") from None
