"""Cursors: where the next page begins, as a text that nobody needs to understand.

A cursor belongs to one list: an operation with its app and parameters, and the apps of the key. It has the
place behind which to go on and no number of rows, so rows that are added meanwhile move nothing.
"""

import base64
import binascii
import hashlib
from collections.abc import Sequence
from typing import Any, Final, TypeVar

import msgspec

from dashboards.http.errors import WrongParameterError

SUM_BYTES: Final = 8
CURSOR_CHARACTERS_MAX: Final = 1_024

REFUSED: Final = (
    "cursor: it does not belong to this list; take `next` of the answer before, with the same parameters, or "
    "leave it out to begin."
)

T = TypeVar("T")

_encoder = msgspec.msgpack.Encoder()


def write_cursor(scope: object, place: Sequence[Any]) -> str:
    """The cursor behind a place of the list that `scope` names."""
    packed = _encoder.encode(list(place))
    return base64.urlsafe_b64encode(_sum(scope, packed) + packed).rstrip(b"=").decode()


def read_cursor(scope: object, text: str, place: type[T]) -> T:
    """The place in a cursor.

    Raises:
        WrongParameterError: it is none of this list.
    """
    try:
        content = base64.urlsafe_b64decode(text.encode("ascii") + b"=" * (-len(text) % 4))
        told, packed = content[:SUM_BYTES], content[SUM_BYTES:]
        if told != _sum(scope, packed):
            raise WrongParameterError(REFUSED)
        return msgspec.msgpack.decode(packed, type=place)
    except (ValueError, binascii.Error, msgspec.DecodeError):
        raise WrongParameterError(REFUSED) from None


def _sum(scope: object, packed: bytes) -> bytes:
    return hashlib.blake2b(msgspec.json.encode(scope) + b"\0" + packed, digest_size=SUM_BYTES).digest()
