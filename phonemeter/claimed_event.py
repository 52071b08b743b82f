"""The event that a dead letter claims to be."""

from typing import Any, NamedTuple

import msgspec
from msgspec import Struct

from metering.content_modes import structured_event
from metering.dead_letters import DeadLetter


class ClaimedEvent(NamedTuple):
    """The app and the id of the event that a letter claims to be; each empty if it cannot be read."""

    appid: str
    event_id: str


class _Claimed(Struct):
    subject: Any = None
    id: Any = None


_claim_decoder = msgspec.json.Decoder(_Claimed)


def claimed_event(letter: DeadLetter) -> ClaimedEvent:
    """Read the claim of a letter."""
    try:
        claimed = _claim_decoder.decode(structured_event(letter.value, letter.headers) or b"")
    except (ValueError, RecursionError):
        claimed = _Claimed()
    subject = claimed.subject if isinstance(claimed.subject, str) else ""
    key = (letter.key or b"").decode(errors="backslashreplace")
    return ClaimedEvent(subject or key, claimed.id if isinstance(claimed.id, str) else "")
