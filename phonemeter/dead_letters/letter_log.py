"""The letters on `phone-dead-letters`, each once."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, NamedTuple

from metering.dead_letters import DeadLetter, decode
from metering.topics import DEAD_LETTERS, EVENTS
from phonemeter.claimed_event import claimed_event
from phonemeter.errors import OperationError, UserError
from phonemeter.topic_reader import TopicReader

_IDENTITY: Final = re.compile(rf"(?:{EVENTS}-)?([0-9]{{1,9}})-([0-9]{{1,18}})")


class LetterId(NamedTuple):
    """The id of a letter: the position of its record in `phone-events`."""

    partition: int
    offset: int

    def __str__(self) -> str:
        """The id in full: topic, partition and offset."""
        return f"{EVENTS}-{self.short}"

    @property
    def short(self) -> str:
        """The id without the topic."""
        return f"{self.partition}-{self.offset}"


def letter_id(letter: DeadLetter) -> LetterId:
    """The id of a letter."""
    return LetterId(letter.partition, letter.offset)


def parse_letter_id(text: str) -> LetterId:
    """Parse the id of a letter; the topic may be left out.

    Raises:
        UserError: it is none.
    """
    match = _IDENTITY.fullmatch(text)
    if match is None:
        raise UserError(
            f"{text[:100]!r} does not name a dead letter; its name is topic, partition and offset, such as "
            f"{LetterId(2, 417)}, and phonemeter dead-letters list shows it."
        )
    return LetterId(int(match[1]), int(match[2]))


@dataclass(frozen=True, slots=True)
class LetterFilter:
    """A selection of letters; None matches all. `app` is the key of the record or its subject."""

    reason: str | None = None
    app: str | None = None
    since_ms: int | None = None

    def matches(self, letter: DeadLetter) -> bool:
        """Return whether a letter is selected."""
        if self.reason is not None and letter.reason != self.reason:
            return False
        if self.since_ms is not None and letter.recorded_at_ms < self.since_ms:
            return False
        return self.app is None or self.app == claimed_event(letter).appid or self.app.encode() == letter.key


class LetterLog:
    """All letters of a Kafka, read on demand, partition by partition.

    Attributes:
        other_records: records of the topic read so far that are no letters and were skipped.
    """

    def __init__(self, reader: TopicReader) -> None:
        self._reader = reader
        self.other_records = 0

    def read(self, wanted: LetterFilter) -> Iterator[DeadLetter]:
        """The selected letters."""
        for partition in self._reader.spans(DEAD_LETTERS):
            yield from filter(wanted.matches, self._partition(partition))

    def find(self, identity: LetterId) -> DeadLetter:
        """One letter.

        Raises:
            OperationError: there is none of this name.
        """
        if identity.partition in self._reader.spans(DEAD_LETTERS):
            for letter in self._partition(identity.partition):
                if letter.offset == identity.offset:
                    return letter
        raise OperationError(f"There is no dead letter {identity}; phonemeter dead-letters list shows all.")

    def _partition(self, partition: int) -> Iterator[DeadLetter]:
        """The letters of a partition, each once: a killed worker publishes some again, in the same order."""
        newest = -1
        span = self._reader.spans(DEAD_LETTERS)[partition]
        for batch in self._reader.batches(DEAD_LETTERS, partition, span):
            for record in batch:
                try:
                    letter = decode(record.value or b"")
                except ValueError:
                    self.other_records += 1
                    continue
                if letter.offset > newest:
                    newest = letter.offset
                    yield letter
