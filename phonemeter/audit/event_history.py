"""The history of one event: found in the log, explained by the rules, and followed into the ledger."""

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from operator import attrgetter
from typing import Final

import msgspec
from msgspec import Struct

from metering.explanation import Explanation, explain
from metering.ledger import CALL_KINDS, MOVED_REASONS, Entry
from metering.partition import MeteringResult, meter
from metering.partition_state import PartitionState
from metering.placement import PartitionIndex, partition_of
from metering.printable_text import one_line
from metering.records import RecordRange
from metering.rules import Rules
from metering.settled_moves import SettledMove, SettledMoves
from metering.topics import EVENTS, LEDGER
from phonemeter.audit.auditor import ShowProgress, read_entries
from phonemeter.audit.event_corrections import CorrectionSearch, ToldCorrection
from phonemeter.audit.figures import entry_id
from phonemeter.audit.stored_ledger import open_stored_ledger
from phonemeter.claimed_event import claimed_event
from phonemeter.errors import OperationError, UserError
from phonemeter.event_log import meter_again, rules_of_log
from phonemeter.settings import Settings
from phonemeter.topic_reader import OffsetSpan, TopicReader, offset_spans, open_reader
from sinks.entry_columns import ID_DIGITS, ID_DIGITS_MIN

OCCURRENCES_MAX: Final = 50
"""Records with the same id that are explained; for each, a part of a batch is metered again."""


class Occurrence(Struct, frozen=True):
    """One record with the id, explained; of a duplicate, also the offset of the record that counted."""

    explanation: Explanation
    duplicate_of: int | None


class Takeover(Struct, frozen=True):
    """A pack that was recorded later and took the call over: the offset of its purchase, and its entries."""

    offset: int
    pack_id: str
    entries: list[Entry]


class EventHistory(Struct):
    """The history of one event.

    Attributes:
        occurrences: the records with that id, in the order of the log.
        takeovers: in the order of the log.
        settlements: moves of calls like this one, of which it may be one, in the order of the log.
        corrections: those of it, and those of these, in the order in which they hold.
        published: its entries in `phone-ledger`.
        publications: number of times that its first entry was published; more than one after a crash.
        stored: its entries in ClickHouse.
        not_asked: the reason if ClickHouse could not be queried; then `stored` is empty.
        settings_note: a sentence if the settings are not those that the log was metered by.
    """

    event_id: str
    appid: str
    partition: int
    occurrences: list[Occurrence]
    takeovers: list[Takeover]
    settlements: list[SettledMove] = []
    corrections: list[ToldCorrection] = []
    published: list[Entry] = []
    publications: int = 0
    stored: list[Entry] = []
    not_asked: str = ""
    settings_note: str = ""


def find_history(
    settings: Settings,
    event_id: str,
    appid: str | None,
    show: ShowProgress = lambda _partition, _offset, _end: None,
) -> EventHistory:
    """Find an event in the log, explain it, and find its entries.

    Raises:
        OperationError: Kafka does not answer, or no record of the log has that id.
        UserError: several apps have an event of that id.
    """
    log_spans = offset_spans(settings.kafka_access, EVENTS)
    places, not_asked = _places(settings, event_id, appid)
    if not places and appid is not None:
        places = [(appid, partition_of(appid.encode(), len(log_spans)))]
    if len(places) > 1:
        raise _ambiguous(event_id, [app for app, _ in places])
    # Partitions that the event does not belong into are searched last.
    likely = {places[0][1]} if places else set()
    partitions = sorted(log_spans, key=lambda partition: (partition not in likely, partition))
    rules = rules_of_log(settings.kafka_access, settings.rules())
    with open_reader(settings.kafka_access) as log:
        for partition in partitions:
            place = PartitionIndex(partition, len(log_spans))
            search = _EventSearch(place, event_id, places[0][0] if places else appid)
            search.run(log, log_spans[partition], rules.of(partition), show)
            history = search.history()
            if history is not None:
                history.not_asked = not_asked
                history.settings_note = rules.note
                history.settlements = search.settlements(log, rules.of(partition), show)
                _follow(log, settings, history)
                return history
    whose = f" of app {appid}" if appid else ""
    raise OperationError(
        f"No event {one_line(event_id)}{whose} is in {EVENTS}: check the id, or wait until it is published."
    )


def _places(settings: Settings, event_id: str, appid: str | None) -> tuple[list[tuple[str, int]], str]:
    """The event's apps and partitions in ClickHouse, to search there first; or the reason for none."""
    try:
        with open_stored_ledger(settings.clickhouse, settings.event_id_digits) as stored:
            places = stored.places_of(event_id)
    except OperationError as error:
        return [], str(error)
    return [place for place in places if appid in {None, place[0]}], ""


def is_named(event_id: str, name: str) -> bool:
    """Return whether a name is the event's id, or as many digits of a SHA-256 as ClickHouse shows."""
    return event_id == name or (
        len(name) >= ID_DIGITS_MIN and len(event_id) == ID_DIGITS and event_id.startswith(name)
    )


class _EventSearch:
    """The search for an id in one partition, which is metered again."""

    def __init__(self, place: PartitionIndex, event_id: str, appid: str | None) -> None:
        self._partition, self._partitions = place
        self._event_id = event_id
        self._appid = appid
        self._found: set[str] = set()
        self._occurrences: list[Occurrence] = []
        self._takeovers: list[Takeover] = []
        self._appids: set[str] = set()
        self._moves: SettledMoves | None = None
        self._settled_end = 0
        self._corrections = CorrectionSearch()

    def run(self, log: TopicReader, span: OffsetSpan, rules: Rules, show: ShowProgress) -> None:
        """Meter the partition to its end: a call may be taken over long after it was made."""
        state = PartitionState(self._partition, partitions=self._partitions)
        for batch, metered in meter_again(log, state, span.end, rules):
            # A record has several entries where it also makes its app unsettled.
            offsets = sorted(set(self._offsets(metered)))
            for offset in offsets[: OCCURRENCES_MAX - len(self._occurrences)]:
                self._explain(state, batch, offset, rules)
            self._look_for_takeovers(metered)
            self._look_for_settlements(metered)
            self._corrections.add(metered.entries)
            state = metered.state
            show(self._partition, state.next_offset, span.end)

    def history(self) -> EventHistory | None:
        """The history that was found.

        Raises:
            UserError: it is of several events.
        """
        if not self._occurrences:
            return None
        if len(self._appids) > 1:
            raise _ambiguous(self._event_id, sorted(self._appids))
        if len(self._found) > 1:
            raise UserError(f"Several events begin with {one_line(self._event_id)}; give the whole id.")
        (appid,), (event_id,) = self._appids, self._found
        offsets = [one.explanation.offset for one in self._occurrences if one.duplicate_of is None]
        corrections = self._corrections.of(appid, event_id, min(offsets, default=0))
        return EventHistory(
            event_id, appid, self._partition, self._occurrences, self._takeovers, corrections=corrections
        )

    def settlements(self, log: TopicReader, rules: Rules, show: ShowProgress) -> list[SettledMove]:
        """The settlements that may have moved the call. The calls like it are counted from the beginning."""
        if self._moves is None or not self._settled_end:
            return []
        state = PartitionState(self._partition, partitions=self._partitions)
        for batch, metered in meter_again(log, state, self._settled_end, rules):
            self._moves.add(metered.entries)
            show(self._partition, batch.end, self._settled_end)
        return self._moves.found

    def _offsets(self, metered: MeteringResult) -> Iterator[int]:
        """Offsets of the records with the id; also of those that are no events but have it."""
        for entry in metered.entries:
            if entry.reason not in MOVED_REASONS and self._is_wanted(entry.event_id, entry.appid):
                self._appids.add(entry.appid)
                self._found.add(entry.event_id)
                yield entry.offset
        for letter in metered.dead_letters:
            claim = claimed_event(letter)
            if self._is_wanted(claim.event_id, claim.appid):
                self._appids.add(claim.appid)
                self._found.add(claim.event_id)
                yield letter.offset

    def _is_wanted(self, event_id: str, appid: str) -> bool:
        return is_named(event_id, self._event_id) and self._appid in {None, appid}

    def _explain(self, state: PartitionState, records: RecordRange, offset: int, rules: Rules) -> None:
        at = bisect_left(records, offset, key=attrgetter("offset"))
        before = meter(state, RecordRange(records[:at], records.begin, offset), rules).state
        explanation = explain(before, records[at], rules)
        duplicate_of = None
        if explanation.decision == "duplicate":
            counted = (one.explanation for one in self._occurrences)
            duplicate_of = max(
                (one.offset for one in counted if one.decision not in {"duplicate", "rejection"}),
                default=None,
            )
        self._occurrences.append(Occurrence(explanation, duplicate_of))
        if self._moves is None and explanation.decision in CALL_KINDS:
            self._moves = SettledMoves(_outcome_of(explanation))

    def _look_for_takeovers(self, metered: MeteringResult) -> None:
        lines = [
            entry
            for entry in metered.entries
            if entry.reason == "taken_over" and self._is_wanted(entry.event_id, entry.appid)
        ]
        for offset in sorted({entry.offset for entry in lines}):
            pair = [entry for entry in lines if entry.offset == offset]
            self._takeovers.append(Takeover(offset, pair[-1].pack_id, pair))

    def _look_for_settlements(self, metered: MeteringResult) -> None:
        """Note whether calls like this one were settled at all: that needs no counting."""
        moves = self._moves
        if moves is not None:
            settled = (
                entry.offset for entry in metered.entries if entry.reason == "settled" and moves.quota(entry)
            )
            self._settled_end = max(settled, default=self._settled_end - 1) + 1


def _outcome_of(explanation: Explanation) -> Entry:
    """The entry of a call."""
    return next(
        entry
        for entry in explanation.entries
        if entry.kind == explanation.decision and entry.event_id == explanation.event_id
    )


class _Range(Struct):
    """The range of source offsets in a ledger record."""

    first_offset: int
    last_offset: int


_range_decoder = msgspec.json.Decoder(_Range)


def _follow(log: TopicReader, settings: Settings, history: EventHistory) -> None:
    """Find the event's entries in the topic and in ClickHouse."""
    whole = [one.explanation.offset for one in history.occurrences]
    offsets = [*whole, *(takeover.offset for takeover in history.takeovers)]
    found = [
        entry
        for entry in _published(
            log, offset_spans(settings.kafka_access, LEDGER)[history.partition], history.partition, offsets
        )
        if entry.offset in whole or entry.event_id == history.event_id
    ]
    history.published = sorted(set(found), key=entry_id)
    history.publications = found.count(found[0]) if found else 0
    if not history.not_asked:
        with open_stored_ledger(settings.clickhouse, settings.event_id_digits) as stored:
            as_stored = {stored.as_stored(entry): entry for entry in history.published}
            lines = stored.lines_at(history.partition, offsets, history.event_id, whole)
            history.stored = [as_stored.get(line, line) for line in lines]


def _published(log: TopicReader, span: OffsetSpan, partition: int, offsets: Sequence[int]) -> Iterator[Entry]:
    """The entries of some source offsets, each as often as it was published."""
    wanted = frozenset(offsets)
    # The audit reports damaged and unreadable records.
    for batch in log.batches(LEDGER, partition, span, lambda _offset: None):
        for record in batch:
            try:
                about = _range_decoder.decode(record.value or b"")
                if not any(about.first_offset <= offset <= about.last_offset for offset in offsets):
                    continue
                lines = read_entries(record.value, partition)
            except ValueError:
                continue
            yield from (entry for _, entry in lines if entry.offset in wanted)


def _ambiguous(event_id: str, appids: Sequence[str]) -> UserError:
    named = ", ".join(appids[:5])
    return UserError(
        f"Several apps have an event {one_line(event_id)} ({named}); say which with --app APPID."
    )
