"""Putting dead letters back: the event corrected, checked as every producer's, published, and marked."""

from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal, NamedTuple, Protocol

import msgspec

from metering.dead_letters import DeadLetter
from phonemeter.dead_letters.fixes import ATTRIBUTE, Fix
from phonemeter.dead_letters.letters import Identity, identity_of
from phonemeter.dead_letters.masking import shown_text
from phonemeter.errors import UserError
from producers.client import Place
from producers.errors import DeliveryError, RefusedError

UNCONFIRMED_MAX: Final = 500
"""Retries on their way at a time."""

Verdict = Literal["published", "refused", "fixed already", "not delivered"]


class Outcome(NamedTuple):
    """What became of one retry: its place where it was published, else why not."""

    identity: Identity
    verdict: Verdict
    place: Place | None
    sentence: str


class NotCorrectedError(Exception):
    """A letter can't be corrected in the way that was asked for; the message says why."""


@dataclass(frozen=True, slots=True)
class Correction:
    """How a letter is corrected: a whole `event` instead of it, or fields of it set and unset, or not at all.

    Paths are tuples of names, from the event's own fields inwards.
    """

    event: bytes | None = None
    set_fields: tuple[tuple[tuple[str, ...], object], ...] = ()
    unset_fields: tuple[tuple[str, ...], ...] = ()

    def apply(self, letter: DeadLetter) -> bytes:
        """The event to publish instead of a letter; it carries the letter's name.

        Raises:
            NotCorrectedError: the letter, or the event given for it, is no JSON object, or has no such field.
        """
        event = (
            _object(letter.value or b"", "the letter")
            if self.event is None
            else _object(self.event, "the one given")
        )
        for path, value in self.set_fields:
            _holder(event, path)[path[-1]] = value
        for path in self.unset_fields:
            if _holder(event, path).pop(path[-1], _NOTHING) is _NOTHING:
                raise NotCorrectedError(f"The event has no field {'.'.join(path)} that could be unset.")
        if event.get("type") == "clock.ticked":
            raise NotCorrectedError("A clock tick is not put back: the next one makes up for it.")
        return msgspec.json.encode({**event, ATTRIBUTE: str(identity_of(letter))})


def parse_path(text: str) -> tuple[str, ...]:
    """Read a path such as `data.client` or `$.data.client`.

    Raises:
        UserError: it is none.
    """
    path = tuple(text.removeprefix("$.").split("."))
    if not all(path):
        raise UserError(f"{text!r} is not a path; write it like time or data.client.")
    return path


def parse_assignment(text: str) -> tuple[tuple[str, ...], object]:
    """Read `PATH=VALUE`; a value that is JSON stands for what it says, anything else for its text.

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


class _Delivery(Protocol):
    def result(self, timeout_s: float | None = None) -> Place: ...


class Publisher(Protocol):
    """What a retry needs of a producer."""

    def publish(self, event: bytes) -> _Delivery:
        """Check an event and send it; raises as `EventProducer.publish`."""


def retry(
    letters: Iterable[DeadLetter],
    correction: Correction,
    publisher: Publisher,
    fixes: Mapping[Identity, Fix],
    tell: Callable[[Outcome], None],
) -> None:
    """Publish letters again, in their order, and tell of each what became of it.

    One in `fixes` is left alone. One that is still no event is refused and stops nothing; a delivery that
    fails stops the rest, which could otherwise overtake it.
    """
    on_their_way: deque[tuple[Identity, _Delivery]] = deque()
    try:
        for letter in letters:
            identity = identity_of(letter)
            if identity in fixes:
                tell(Outcome(identity, "fixed already", None, fixed_sentence(fixes[identity])))
                continue
            try:
                on_their_way.append((identity, publisher.publish(correction.apply(letter))))
            except NotCorrectedError as error:
                tell(Outcome(identity, "refused", None, str(error)))
            except RefusedError as error:
                tell(Outcome(identity, "refused", None, shown_text(letter, str(error))))
            except DeliveryError as error:
                tell(Outcome(identity, "not delivered", None, str(error)))
                return
            if len(on_their_way) > UNCONFIRMED_MAX and not _settle(on_their_way.popleft(), tell):
                return
    finally:
        while on_their_way:
            _settle(on_their_way.popleft(), tell)


def fixed_sentence(fix: Fix) -> str:
    """Where a letter's fix stands."""
    done = "It was retried as" if fix.how == "retried" else "Its producer has sent the event again as"
    return f"{done} {Identity(fix.partition, fix.offset)}."


def _settle(sent: tuple[Identity, _Delivery], tell: Callable[[Outcome], None]) -> bool:
    identity, delivery = sent
    try:
        place = delivery.result()
    except DeliveryError as error:
        tell(Outcome(identity, "not delivered", None, str(error)))
        return False
    tell(Outcome(identity, "published", place, ""))
    return True


_NOTHING: Final = object()


def _object(text: bytes, what: str) -> dict[str, Any]:
    try:
        event = msgspec.json.decode(text)
    except (ValueError, RecursionError):
        event = None
    if not isinstance(event, dict):
        raise NotCorrectedError(
            f"An event is a JSON object, and {what} is none; write it anew (--edit FILE)."
        )
    return event


def _holder(event: dict[str, Any], path: tuple[str, ...]) -> dict[str, Any]:
    """The object that holds the last name of a path; objects on the way are made where they are missing."""
    holder = event
    for name in path[:-1]:
        inner = holder.setdefault(name, {})
        if not isinstance(inner, dict):
            raise NotCorrectedError(
                f"The event's {name} is no object, so that {'.'.join(path)} has no place."
            )
        holder = inner
    return holder
