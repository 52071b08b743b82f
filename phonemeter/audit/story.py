"""The story of one event: found in the log, explained by the rules, and followed into the ledger."""

from collections.abc import Iterator, Sequence
from typing import Final

import msgspec
from msgspec import Struct

from metering.explaining import Explanation, explain
from metering.ledger import Entry
from metering.partition import Metered, PartitionState, Record, meter
from metering.rules import Rules
from metering.topics import EVENTS, LEDGER
from phonemeter.audit.auditor import Show, read_lines, record_of
from phonemeter.audit.figures import identity_of
from phonemeter.audit.log import Log, reading, spans
from phonemeter.audit.stored import asking
from phonemeter.dead_letters.letters import claim_of
from phonemeter.errors import OperationError, UserError
from phonemeter.replay.reading import Span
from phonemeter.settings import Settings
from producers.partitioning import partition_of
from sinks.lines import ID_DIGITS

OCCURRENCES_MAX: Final = 50
"""Records with the same id that are explained; each costs metering a part of a batch again."""

ID_DIGITS_MIN: Final = 16
"""Digits of an id that are enough to name an event: what ClickHouse keeps at least."""


class Occurrence(Struct, frozen=True):
    """One record with the id: what it did and why; if a duplicate, the offset of the one that counted."""

    explanation: Explanation
    duplicate_of: int | None


class Takeover(Struct, frozen=True):
    """A pack that was recorded later and took the call over: where its purchase stands, and its lines."""

    offset: int
    pack_id: str
    entries: list[Entry]


class Story(Struct):
    """What became of one event.

    Attributes:
        event_id, appid, partition: the event and where it stands.
        occurrences: the records with that id, in the order of the log.
        takeovers: in the order of the log.
        published: its lines in `phone-ledger`.
        publications: how often its first line was published; more than once after a crash.
        stored: its lines in ClickHouse.
        not_asked: why ClickHouse could not be asked; then `stored` is empty.
    """

    event_id: str
    appid: str
    partition: int
    occurrences: list[Occurrence]
    takeovers: list[Takeover]
    published: list[Entry] = []
    publications: int = 0
    stored: list[Entry] = []
    not_asked: str = ""


def tell(
    settings: Settings,
    event_id: str,
    appid: str | None,
    show: Show = lambda _partition, _offset, _end: None,
) -> Story:
    """Find an event in the log and tell what became of it.

    Raises:
        OperationError: Kafka does not answer, or no record of the log has that id.
        UserError: several apps have an event of that id.
    """
    log_spans = spans(settings.kafka, EVENTS)
    places, not_asked = _places(settings, event_id, appid)
    if not places and appid is not None:
        places = [(appid, partition_of(appid.encode(), len(log_spans)))]
    if len(places) > 1:
        raise _ambiguous(event_id, [app for app, _ in places])
    partitions = [places[0][1]] if places else sorted(log_spans)
    with reading(settings.kafka) as log:
        for partition in partitions:
            search = _Search(partition, event_id, places[0][0] if places else appid)
            search.run(log, log_spans[partition], settings.rules(), show)
            story = search.story()
            if story is not None:
                story.not_asked = not_asked
                _follow(log, settings, story)
                return story
    where = f"partition {partitions[0]}" if len(partitions) == 1 else "the log"
    whose = f" of app {appid}" if appid else ""
    raise OperationError(
        f"No event {event_id}{whose} is in {where} of {EVENTS}: check the id, or wait until it is published."
    )


def _places(settings: Settings, event_id: str, appid: str | None) -> tuple[list[tuple[str, int]], str]:
    """Where ClickHouse says the event is, which only saves looking everywhere; and why it says nothing."""
    try:
        with asking(settings.clickhouse, settings.event_id_digits) as stored:
            places = stored.places_of(event_id)
    except OperationError as error:
        return [], str(error)
    return [place for place in places if appid in {None, place[0]}], ""


def is_named(event_id: str, name: str) -> bool:
    """Whether an event is called so: by its id, or by as many digits of a SHA-256 as ClickHouse shows."""
    return event_id == name or (
        len(name) >= ID_DIGITS_MIN and len(event_id) == ID_DIGITS and event_id.startswith(name)
    )


class _Search:
    """Looks for an id in one partition, while the partition is metered again."""

    def __init__(self, partition: int, event_id: str, appid: str | None) -> None:
        self._partition = partition
        self._event_id = event_id
        self._appid = appid
        self._found: set[str] = set()
        self._occurrences: list[Occurrence] = []
        self._takeovers: list[Takeover] = []
        self._appids: set[str] = set()

    def run(self, log: Log, span: Span, rules: Rules, show: Show) -> None:
        """Read the log to its end: a call may be taken over long after it was made."""
        state = PartitionState(self._partition)
        for batch in log.batches(EVENTS, self._partition, Span(0, span.end)):
            records = [record_of(record) for record in batch]
            metered = meter(state, records, rules)
            for offset in sorted(self._offsets(metered))[: OCCURRENCES_MAX - len(self._occurrences)]:
                self._explain(state, records, offset, rules)
            self._look_for_takeovers(metered)
            state = metered.state
            show(self._partition, state.next_offset, span.end)

    def story(self) -> Story | None:
        """What was found.

        Raises:
            UserError: events of several apps.
        """
        if not self._occurrences:
            return None
        if len(self._appids) > 1:
            raise _ambiguous(self._event_id, sorted(self._appids))
        if len(self._found) > 1:
            raise UserError(f"Several events begin with {self._event_id}; give the whole id.")
        (appid,), (event_id,) = self._appids, self._found
        return Story(event_id, appid, self._partition, self._occurrences, self._takeovers)

    def _offsets(self, metered: Metered) -> Iterator[int]:
        """Offsets of the records with the id; also of those that are no events but have it."""
        for entry in metered.entries:
            if entry.reason != "taken_over" and self._is_wanted(entry.event_id, entry.appid):
                self._appids.add(entry.appid)
                self._found.add(entry.event_id)
                yield entry.offset
        for letter in metered.dead_letters:
            claim = claim_of(letter)
            if self._is_wanted(claim.event_id, claim.appid):
                self._appids.add(claim.appid)
                self._found.add(claim.event_id)
                yield letter.offset

    def _is_wanted(self, event_id: str, appid: str) -> bool:
        return is_named(event_id, self._event_id) and self._appid in {None, appid}

    def _explain(self, state: PartitionState, records: Sequence[Record], offset: int, rules: Rules) -> None:
        at = offset - records[0].offset
        before = meter(state, records[:at], rules).state
        explanation = explain(before, records[at], rules)
        duplicate_of = None
        if explanation.decision == "duplicate":
            counted = (one.explanation for one in self._occurrences)
            duplicate_of = max(
                (one.offset for one in counted if one.decision not in {"duplicate", "rejection"}),
                default=None,
            )
        self._occurrences.append(Occurrence(explanation, duplicate_of))

    def _look_for_takeovers(self, metered: Metered) -> None:
        lines = [
            entry
            for entry in metered.entries
            if entry.reason == "taken_over" and self._is_wanted(entry.event_id, entry.appid)
        ]
        for offset in sorted({entry.offset for entry in lines}):
            pair = [entry for entry in lines if entry.offset == offset]
            self._takeovers.append(Takeover(offset, pair[-1].pack_id, pair))


class _Range(Struct):
    """The part of a ledger record that says what it is about."""

    first_offset: int
    last_offset: int


_range_decoder = msgspec.json.Decoder(_Range)


def _follow(log: Log, settings: Settings, story: Story) -> None:
    """Find the event's lines in the topic and in ClickHouse."""
    whole = [one.explanation.offset for one in story.occurrences]
    offsets = [*whole, *(takeover.offset for takeover in story.takeovers)]
    found = [
        entry
        for entry in _published(log, spans(settings.kafka, LEDGER)[story.partition], story.partition, offsets)
        if entry.offset in whole or entry.event_id == story.event_id
    ]
    story.published = sorted(set(found), key=identity_of)
    story.publications = found.count(found[0]) if found else 0
    if not story.not_asked:
        with asking(settings.clickhouse, settings.event_id_digits) as stored:
            as_stored = {stored.as_stored(entry): entry for entry in story.published}
            lines = stored.lines_at(story.partition, offsets, story.event_id, whole)
            story.stored = [as_stored.get(line, line) for line in lines]


def _published(log: Log, span: Span, partition: int, offsets: Sequence[int]) -> Iterator[Entry]:
    """The lines of some source offsets, each as often as it was published."""
    wanted = frozenset(offsets)
    for batch in log.batches(LEDGER, partition, span):
        for record in batch:
            try:
                about = _range_decoder.decode(record.value or b"")
                if not any(about.first_offset <= offset <= about.last_offset for offset in offsets):
                    continue
                lines = read_lines(record.value, partition)
            except ValueError:
                # What is unreadable is the audit's to report.
                continue
            yield from (entry for _, entry in lines if entry.offset in wanted)


def _ambiguous(event_id: str, appids: Sequence[str]) -> UserError:
    named = ", ".join(appids[:5])
    return UserError(f"Several apps have an event {event_id} ({named}); say which with --app APPID.")
