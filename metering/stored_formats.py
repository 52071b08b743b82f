"""Formats of stored JSON records: one that a newer version wrote is refused, in the same words everywhere."""

import msgspec
from msgspec import Struct


class NewerFormatError(ValueError):
    """A record has a format that only a newer version reads."""


class _Numbered(Struct):
    format: int = 0


_decoder = msgspec.json.Decoder(_Numbered)


def refuse_newer(value: bytes, known: int) -> None:
    """Check that a record, which could not be read, is not one of a newer format.

    Raises:
        NewerFormatError: it is one.
    """
    try:
        found = _decoder.decode(value).format
    except msgspec.MsgspecError:
        return
    if found > known:
        raise newer_format(found, known)


def newer_format(found: int, known: int) -> NewerFormatError:
    """The error about a record of a newer format."""
    return NewerFormatError(
        f"it has format {found}, which a newer version wrote; this one reads format {known}: start "
        f"the newer one"
    )
