"""The log of events read again: its extent, the rules it was metered by, and metering it again."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from kafka_access.access import KafkaAccess
from metering.partition import MeteringResult, meter
from metering.partition_state import PartitionState
from metering.records import RecordRange
from metering.rules import Clock, Rules, different_settings
from metering.topics import EVENTS, STATE
from phonemeter.errors import OperationError
from phonemeter.topic_reader import OffsetSpan, RecordSource, TopicReader, open_reader
from streams.state_log import HEADER_PREFIX, LogSummary, StateRecord, log_summary

WINDOW_RECORDS: Final = 500
"""Records at the end of a partition of the state topic that are searched first; then ten times more."""


@dataclass(frozen=True, slots=True)
class LogRules:
    """The rules that each partition was metered by, as far as workers recorded them, and the settings' rules.

    Rules that a worker recorded before the first event do not count: the next worker may use others.
    """

    recorded: Mapping[int, LogSummary]
    here: Rules

    def of(self, partition: int) -> Rules:
        """The rules of a partition; the settings' rules if none are recorded."""
        found = self.recorded.get(partition)
        return found.terms.rules if found is not None and found.next_offset else self.here

    @property
    def log(self) -> Rules:
        """The rules of the whole log: a worker refuses to continue by other rules than its predecessor's."""
        return next((self.of(at) for at in sorted(self.recorded) if self.recorded[at].next_offset), self.here)

    @property
    def clock(self) -> Clock | None:
        """The clock of the log: `wall` once it has a tick; None if no worker ever recorded one."""
        clocks = {
            "wall" if found.tick_ms else found.terms.clock for _, found in sorted(self.recorded.items())
        }
        return None if not clocks else "wall" if "wall" in clocks else "events"

    @property
    def difference(self) -> str:
        """A sentence if the settings are not the log's; otherwise empty."""
        different = next((self.of(at) for at in sorted(self.recorded) if self.of(at) != self.here), None)
        if different is None:
            return ""
        return f"The log was not metered by the settings here: {different_settings(different, self.here)}."

    @property
    def note(self) -> str:
        """The difference, for commands that use the log's rules."""
        return f"{self.difference} The log's are taken." if self.difference else ""


def rules_of_log(kafka: KafkaAccess, here: Rules) -> LogRules:
    """The rules that workers have recorded on the state topic of a Kafka.

    Raises:
        OperationError: Kafka does not answer.
    """
    with open_reader(kafka) as reader:
        return recorded_rules(reader, here)


def recorded_rules(reader: TopicReader, here: Rules) -> LogRules:
    """Read the recorded rules by a reader that is open."""
    found = {partition: _newest(reader, partition, span) for partition, span in reader.spans(STATE).items()}
    return LogRules({partition: one for partition, one in found.items() if one is not None}, here)


def refuse_cut_log(spans: Mapping[int, OffsetSpan]) -> None:
    """Check that the log begins at its first event, without which nothing can be metered again.

    Raises:
        OperationError: records at the beginning of a partition were deleted.
    """
    for partition, span in spans.items():
        if span.begin > 0:
            raise OperationError(
                f"{EVENTS} partition {partition} begins at offset {span.begin}: what came before was deleted"
                ", and without it the log cannot be metered again: keep the topics (retention.ms=-1)."
            )


def whole_log(reader: TopicReader) -> dict[int, OffsetSpan]:
    """The span of each partition of `phone-events`.

    Raises:
        OperationError: records at the beginning of a partition were deleted.
    """
    spans = reader.spans(EVENTS)
    refuse_cut_log(spans)
    return spans


def meter_again(
    reader: RecordSource, state: PartitionState, end: int, rules: Rules
) -> Iterator[tuple[RecordRange, MeteringResult]]:
    """Meter a partition of the log from its first event to before `end`, beginning with an empty state."""
    for records in reader.batches(EVENTS, state.partition, OffsetSpan(0, end)):
        metered = meter(state, records, rules)
        state = metered.state
        yield records, metered


def _newest(reader: TopicReader, partition: int, span: OffsetSpan) -> LogSummary | None:
    """The summary in the newest header: a checkpoint's last record, so it is searched for from the end."""
    window, end = WINDOW_RECORDS, span.end
    while end > span.begin:
        begin = max(span.begin, end - window)
        newest: StateRecord | None = None
        # Damaged batches are skipped: a state can be rebuilt.
        for batch in reader.batches(STATE, partition, OffsetSpan(begin, end), lambda _offset: None):
            for record in batch:
                if record.key is not None and record.key.startswith(HEADER_PREFIX):
                    newest = StateRecord(record.key, record.value)
        if newest is not None:
            return log_summary(newest)
        window, end = 10 * window, begin
    return None
