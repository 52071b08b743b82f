"""The letters on `phone-dead-letters`: each once, by its identity, and those that are asked for."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import msgspec
from msgspec import Struct

from metering.dead_letters import DeadLetter, decode
from metering.topics import DEAD_LETTERS, EVENTS
from phonemeter.errors import OperationError, UserError
from phonemeter.replay.reading import TopicReader

_IDENTITY: Final = re.compile(rf"(?:{EVENTS}-)?([0-9]{{1,9}})-([0-9]{{1,18}})")


class Identity(NamedTuple):
    """Where the record stands in `phone-events`, which is what a letter is called by."""

    partition: int
    offset: int

    def __str__(self) -> str:
        """As it is written: topic, partition and offset."""
        return f"{EVENTS}-{self.short}"

    @property
    def short(self) -> str:
        """As people write it: there is one topic only."""
        return f"{self.partition}-{self.offset}"


def identity_of(letter: DeadLetter) -> Identity:
    """The identity of a letter."""
    return Identity(letter.partition, letter.offset)


def parse_identity(text: str) -> Identity:
    """Read an identity; the topic may be left out.

    Raises:
        UserError: it is none.
    """
    match = _IDENTITY.fullmatch(text)
    if match is None:
        raise UserError(
            f"{text[:100]!r} does not name a dead letter; its name is topic, partition and offset, such as "
            f"{Identity(2, 417)}, and phonemeter dead-letters list tells it."
        )
    return Identity(int(match[1]), int(match[2]))


class Claim(NamedTuple):
    """What a letter says it is: the app and the event's id, empty where it says nothing that can be read."""

    appid: str
    event_id: str


class _Claimed(Struct):
    subject: Any = None
    id: Any = None


_claim_decoder = msgspec.json.Decoder(_Claimed)


def claim_of(letter: DeadLetter) -> Claim:
    """What a letter says it is."""
    try:
        claimed = _claim_decoder.decode(letter.value or b"")
    except (ValueError, RecursionError):
        claimed = _Claimed()
    subject = claimed.subject if isinstance(claimed.subject, str) else ""
    key = (letter.key or b"").decode(errors="backslashreplace")
    return Claim(subject or key, claimed.id if isinstance(claimed.id, str) else "")


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which letters are asked for; None stands for all. `app` is the key of the record or its subject."""

    reason: str | None = None
    app: str | None = None
    since_ms: int | None = None

    def covers(self, letter: DeadLetter) -> bool:
        """Whether a letter is asked for."""
        if self.reason is not None and letter.reason != self.reason:
            return False
        if self.since_ms is not None and letter.recorded_at_ms < self.since_ms:
            return False
        return self.app is None or self.app == claim_of(letter).appid or self.app.encode() == letter.key


class LetterLog:
    """All letters of a Kafka, read when asked, in the order of their partitions.

    Attributes:
        strangers: records of the topic, read so far, that are no letters and were passed over.
    """

    def __init__(self, reader: TopicReader) -> None:
        self._reader = reader
        self.strangers = 0

    def read(self, wanted: Wanted) -> Iterator[DeadLetter]:
        """The letters that are asked for."""
        for partition in self._reader.spans(DEAD_LETTERS):
            yield from filter(wanted.covers, self._partition(partition))

    def find(self, identity: Identity) -> DeadLetter:
        """One letter.

        Raises:
            OperationError: there is none of this name.
        """
        if identity.partition in self._reader.spans(DEAD_LETTERS):
            for letter in self._partition(identity.partition):
                if letter.offset == identity.offset:
                    return letter
        raise OperationError(
            f"There is no dead letter {identity}; phonemeter dead-letters list tells those that are there."
        )

    def _partition(self, partition: int) -> Iterator[DeadLetter]:
        """The letters of a partition: a worker that was killed publishes some again, in the same order."""
        newest = -1
        span = self._reader.spans(DEAD_LETTERS)[partition]
        for batch in self._reader.batches(DEAD_LETTERS, partition, span):
            for record in batch:
                try:
                    letter = decode(record.value or b"")
                except ValueError:
                    self.strangers += 1
                    continue
                if letter.offset > newest:
                    newest = letter.offset
                    yield letter
