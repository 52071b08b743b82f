"""Checks of many events together, which find the few that need a check of their own.

They take a fraction of the time of single checks, and nearly always find nothing.
"""

from collections.abc import Sequence
from typing import Final

import numpy as np

from metering.duplicate_keys import may_hide_colons
from metering.personal_identifiers import are_hashes, is_client, texts_with_identifiers

BULK_EVENTS: Final = 200
"""Events that are checked together. With more, memory access costs more than the checks."""

_COLON: Final = ord(":")


def all_plain(values: Sequence[bytes], ids: Sequence[str], clients: Sequence[str], colons: int) -> bool:
    """Return whether all events are plainly valid in what is checked together.

    `clients` are of the events that have one; `colons` is the least number outside of ids and clients.
    """
    if not are_hashes(ids):
        if texts_with_identifiers(ids):
            return False
        colons += "".join(ids).count(":")
    if clients and not are_hashes(clients):
        joined_clients = "".join(clients)
        if texts_with_identifiers(clients) or not is_client(joined_clients):
            return False
        colons += joined_clients.count(":")
    joined = b"".join(values)
    return (
        bool(np.count_nonzero(np.frombuffer(joined, np.uint8) == _COLON) == colons)
        and is_utf8(joined)
        and not may_hide_colons(joined)
    )


def suspicious_events(ids: Sequence[str], clients: Sequence[str]) -> set[int]:
    """Find the events whose id or client identifies a person, or whose client has other characters.

    A client is empty if the event has none.
    """
    found = texts_with_identifiers(ids) | texts_with_identifiers(clients)
    if not is_client("".join(clients)):
        found.update(number for number, client in enumerate(clients) if not is_client(client))
    return found


def is_utf8(value: bytes) -> bool:
    """Return whether bytes are UTF-8; the decoder does not check the encoding of unknown fields."""
    if value.isascii():
        return True
    try:
        value.decode()
    except UnicodeDecodeError:
        return False
    return True
