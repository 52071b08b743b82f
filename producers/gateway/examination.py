"""The events of a request, each examined before anything is sent, and each with its result afterwards."""

from collections.abc import Sequence
from typing import Any, Final, Literal

import msgspec

from metering.events import AnyEvent, ClockTicked, Migrated, Settled
from metering.http_endpoints import HeldEvent
from metering.personal_identifiers import mask_identifiers
from metering.rejections import Rejection
from producers.event_batch import CheckedEvent
from producers.event_check import check
from producers.gateway.api_keys import ApiKey
from producers.gateway.content_modes import Given
from producers.gateway.held_events import held_event

Outcome = Literal["accepted", "duplicate", "refused", "unconfirmed"]
OUTCOMES: Final[tuple[Outcome, ...]] = ("accepted", "duplicate", "refused", "unconfirmed")

OURS: Final = (ClockTicked, Settled)
"""Events that only phonemeter's own services publish: they concern all apps, or decide about facts."""

ID_CHARACTERS_MAX: Final = 128


class EventResult(msgspec.Struct, omit_defaults=True):
    """The result of one event of a request.

    Attributes:
        index: its place in the request, from 0.
        id: its id; none where it can't be read.
        reason: why it was refused, in one word.
        detail: the same in a sentence.
    """

    index: int
    outcome: Outcome
    id: str | None = None
    reason: str | None = None
    detail: str | None = None


class _Envelope(msgspec.Struct):
    id: str = ""


_envelope = msgspec.json.Decoder(_Envelope)


class Examined:
    """The examined events of a request.

    Attributes:
        results: one per event; `accepted` means at first only that nothing is wrong with it.
        to_send: the events to send, in their order.
        places: the place in the request of each of them.
        held: those of them that name a hold.
    """

    def __init__(self) -> None:
        self.results: list[EventResult] = []
        self.to_send: list[CheckedEvent] = []
        self.places: list[int] = []
        self.held: list[HeldEvent] = []

    def leave_unconfirmed(self, detail: str, places: Sequence[int] | None = None) -> None:
        """Note that events may or may not be stored: those at places, or all that are accepted."""
        for index in self.places if places is None else places:
            one = self.results[index]
            if one.outcome == "accepted":
                one.outcome, one.detail = "unconfirmed", detail

    def counts(self) -> dict[Outcome, int]:
        """The number of events by outcome."""
        found = [one.outcome for one in self.results]
        return {outcome: found.count(outcome) for outcome in OUTCOMES}

    def document(self) -> dict[str, Any]:
        """The results as the answer has them."""
        return {"results": self.results} | {str(name): count for name, count in self.counts().items()}


def examine(given: Sequence[Given], key: ApiKey, now_ms: int) -> Examined:
    """Examine the events of a request that was made with a key."""
    examined = Examined()
    seen: set[tuple[str, str]] = set()
    for index, value in enumerate(given):
        event = value if isinstance(value, Rejection) else check(value, now_ms=now_ms)
        refused = event if isinstance(event, Rejection) else _refusal(event, key)
        if refused is not None or isinstance(event, Rejection):
            examined.results.append(_refused(index, value, refused))
            continue
        outcome: Outcome = "duplicate" if (event.subject, event.id) in seen else "accepted"
        examined.results.append(EventResult(index, outcome, event.id))
        if outcome == "accepted" and isinstance(value, bytes):
            seen.add((event.subject, event.id))
            examined.to_send.append(CheckedEvent(event.subject.encode(), value))
            examined.places.append(index)
            held = held_event(event, value)
            if held is not None:
                examined.held.append(held)
    return examined


def _refusal(event: AnyEvent, key: ApiKey) -> tuple[str, str] | None:
    if isinstance(event, OURS):
        return "type_not_allowed", "type: only phonemeter's own services publish such events."
    if not key.covers(event.subject):
        return "app_not_allowed", f"subject: the API key {key.prefix} is not for the app {event.subject}."
    if isinstance(event, Migrated) and not key.covers(event.data.to):
        return "app_not_allowed", f"data.to: the API key {key.prefix} is not for that app."
    return None


def _refused(index: int, value: Given, refused: Rejection | tuple[str, str] | None) -> EventResult:
    reason, detail = (
        (refused.reason, refused.sentence) if isinstance(refused, Rejection) else refused or ("", "")
    )
    return EventResult(index, "refused", _shown_id(value), reason, detail)


def _shown_id(value: Given) -> str | None:
    """The id of an event that was refused, masked: it may be what it was refused for."""
    if isinstance(value, Rejection):
        return None
    try:
        found = _envelope.decode(value).id[:ID_CHARACTERS_MAX]
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    return mask_identifiers(found) or None
