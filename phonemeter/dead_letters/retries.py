"""Retries of dead letters: the event corrected, checked like any producer's, published and marked."""

from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal, NamedTuple, Protocol

import msgspec

from metering.batch_ids import COUNT, COUNT_ATTRIBUTE
from metering.content_modes import EventFormatError, structured_event
from metering.dead_letters import DeadLetter
from metering.duplicate_keys import duplicate_key
from phonemeter.clickhouse import ClickHouseError
from phonemeter.dead_letters.fixes import ATTRIBUTE, Fix
from phonemeter.dead_letters.letter_log import LetterId, letter_id
from phonemeter.dead_letters.mask import masked_text
from phonemeter.dead_letters.originals import OriginalGoneError
from phonemeter.errors import UserError
from producers.delivery import Place
from producers.errors import DeliveryError, RefusedError

UNCONFIRMED_MAX: Final = 500
"""Retries in flight at a time."""

Verdict = Literal["published", "refused", "fixed already", "not delivered"]


class RetryOutcome(NamedTuple):
    """The outcome of one retry: the position of the event if it was published, else the reason."""

    identity: LetterId
    verdict: Verdict
    place: Place | None
    sentence: str


class NotCorrectedError(Exception):
    """The correction cannot be applied to a letter; the message has the reason."""


@dataclass(frozen=True, slots=True)
class LetterCorrection:
    """A correction of letters: an `event` that replaces the letter, or fields to set and unset, or nothing.

    Paths are tuples of names, from the outermost field inwards.
    """

    event: bytes | None = None
    set_fields: tuple[tuple[tuple[str, ...], object], ...] = ()
    unset_fields: tuple[tuple[str, ...], ...] = ()

    def apply(self, letter: DeadLetter) -> bytes:
        """The event to publish instead of a letter; it has the letter's id.

        Raises:
            NotCorrectedError: the letter, or the event given for it, is no JSON object or lacks a field.
        """
        event = (
            _object(_event_of(letter), "the dead letter")
            if self.event is None
            else _object(self.event, "the one given")
        )
        for path, value in self.set_fields:
            _parent_of(event, path)[path[-1]] = value
        for path in self.unset_fields:
            if _parent_of(event, path).pop(path[-1], _NOTHING) is _NOTHING:
                raise NotCorrectedError(f"The event has no field {'.'.join(path)} that could be unset.")
        if event.get("type") == "clock.ticked":
            raise NotCorrectedError("A clock tick is not published again: the next one replaces it.")
        marks = {ATTRIBUTE: str(letter_id(letter))}
        if letter.reason == "beyond_horizon":
            marks[COUNT_ATTRIBUTE] = COUNT
        return msgspec.json.encode({**event, **marks})


def parse_path(text: str) -> tuple[str, ...]:
    """Parse a path such as `data.client` or `$.data.client`.

    Raises:
        UserError: it is none.
    """
    path = tuple(text.removeprefix("$.").split("."))
    if not all(path):
        raise UserError(f"{text!r} is not a path; write it like time or data.client.")
    return path


def parse_assignment(text: str) -> tuple[tuple[str, ...], object]:
    """Parse `PATH=VALUE`; a value that is JSON is decoded, any other is text.

    Raises:
        UserError: it is none.
    """
    path, separator, value = text.partition("=")
    if not separator:
        raise UserError(f"{text!r} sets nothing; write it like time=2026-10-17T10:05:03+08:00.")
    try:
        return parse_path(path), msgspec.json.decode(value)
    except msgspec.DecodeError:
        return parse_path(path), value


class _PendingEvent(Protocol):
    def result(self, timeout_s: float | None = None) -> Place | None: ...


class RetryPublisher(Protocol):
    """The part of a producer that retries use."""

    def publish(self, event: bytes) -> _PendingEvent:
        """Check an event and send it; raises as `EventProducer.publish`."""


def retry(
    letters: Iterable[DeadLetter],
    correction: LetterCorrection,
    publisher: RetryPublisher,
    fixes: Mapping[LetterId, Fix],
    tell: Callable[[RetryOutcome], None],
    *,
    whole: Callable[[DeadLetter], DeadLetter] = lambda letter: letter,
    counted: Callable[[bytes], str] = lambda _event: "",
) -> None:
    """Publish letters again, in their order, and report the outcome of each.

    `whole` restores a truncated letter; letters in `fixes` are left alone. An event that is beyond
    the horizon is refused with the sentence of `counted`, if there is one. An event that is still invalid is
    refused and does not stop the others; a failed delivery stops the rest, which could otherwise overtake it.
    """
    in_flight: deque[tuple[LetterId, _PendingEvent]] = deque()
    try:
        for letter in letters:
            identity = letter_id(letter)
            if identity in fixes:
                tell(RetryOutcome(identity, "fixed already", None, fix_sentence(fixes[identity])))
                continue
            try:
                given = letter if correction.event is not None else whole(letter)
                event = correction.apply(given)
                if letter.reason == "beyond_horizon" and (where := counted(event)):
                    tell(RetryOutcome(identity, "refused", None, where))
                    continue
                in_flight.append((identity, publisher.publish(event)))
            except (NotCorrectedError, OriginalGoneError, ClickHouseError) as error:
                tell(RetryOutcome(identity, "refused", None, str(error)))
            except RefusedError as error:
                tell(RetryOutcome(identity, "refused", None, masked_text(letter, str(error))))
            except DeliveryError as error:
                tell(RetryOutcome(identity, "not delivered", None, str(error)))
                return
            if len(in_flight) > UNCONFIRMED_MAX and not _await_delivery(in_flight.popleft(), tell):
                return
    finally:
        while in_flight:
            _await_delivery(in_flight.popleft(), tell)


def fix_sentence(fix: Fix) -> str:
    """The sentence about a letter's fix."""
    done = "It was retried as" if fix.how == "retried" else "Its producer has sent the event again as"
    return f"{done} {LetterId(fix.partition, fix.offset)}."


def _await_delivery(sent: tuple[LetterId, _PendingEvent], tell: Callable[[RetryOutcome], None]) -> bool:
    identity, delivery = sent
    try:
        place = delivery.result()
    except DeliveryError as error:
        tell(RetryOutcome(identity, "not delivered", None, str(error)))
        return False
    tell(RetryOutcome(identity, "published", place, ""))
    return True


_NOTHING: Final = object()


def _event_of(letter: DeadLetter) -> bytes:
    """The event of a letter in structured mode, which it is published in."""
    try:
        value = structured_event(letter.value, letter.headers) or b""
    except EventFormatError as error:
        raise NotCorrectedError(f"{error} Write the event again (--edit FILE).") from None
    try:
        key = duplicate_key(value)
    except RecursionError:
        raise NotCorrectedError("The event is nested too deeply; write it again (--edit FILE).") from None
    if key is not None:
        raise NotCorrectedError(f"The key {key!r} occurs twice: write the event again (--edit FILE).")
    return value


def _object(text: bytes, what: str) -> dict[str, Any]:
    try:
        event = msgspec.json.decode(text)
    except (ValueError, RecursionError):
        event = None
    if not isinstance(event, dict):
        raise NotCorrectedError(
            f"An event is a JSON object, and {what} is not one; write it again (--edit FILE)."
        )
    return event


def _parent_of(event: dict[str, Any], path: tuple[str, ...]) -> dict[str, Any]:
    """The object that has the last name of a path; missing objects on the way are created."""
    holder = event
    for name in path[:-1]:
        inner = holder.setdefault(name, {})
        if not isinstance(inner, dict):
            raise NotCorrectedError(
                f"The event's {name} is no object, so that {'.'.join(path)} has no place."
            )
        holder = inner
    return holder
