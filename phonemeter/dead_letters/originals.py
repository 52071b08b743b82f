"""The original record of a letter, read from the log if the letter holds only a part of it."""

import msgspec

from metering.dead_letters import DeadLetter, OriginalSizes
from metering.topics import EVENTS
from phonemeter.dead_letters.letter_log import letter_id
from phonemeter.errors import OperationError
from phonemeter.topic_reader import OffsetSpan, TopicReader


class OriginalGoneError(OperationError):
    """The log no longer has the record of a letter; the message has a remedy."""


class Originals:
    """The original records of letters in the log of one Kafka."""

    def __init__(self, reader: TopicReader) -> None:
        self._reader = reader

    def whole(self, letter: DeadLetter) -> DeadLetter:
        """The letter with all bytes of its record.

        Raises:
            OriginalGoneError: the log does not have that record.
        """
        if letter.original is None:
            return letter
        span = self._reader.spans(EVENTS).get(letter.partition, OffsetSpan(0, 0))
        if span.begin <= letter.offset < span.end:
            at = OffsetSpan(letter.offset, letter.offset + 1)
            for batch in self._reader.batches(EVENTS, letter.partition, at):
                for record in batch:
                    headers = tuple(record.headers)
                    if letter.original == OriginalSizes.of(record.key, record.value, headers):
                        return msgspec.structs.replace(
                            letter, key=record.key, value=record.value, headers=headers, original=None
                        )
        raise OriginalGoneError(
            f"The dead letter has {len(letter.value or b''):,} of {letter.original.value_bytes:,} bytes, and "
            f"{letter_id(letter)} does not hold its record any more: give the whole event with --edit FILE."
        )
