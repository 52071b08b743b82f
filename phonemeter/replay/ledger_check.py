"""The ledger compared with what rules make of the log, from the first event on."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from metering.ledger import Entry, decode_rows
from metering.partition_state import WorkingState
from metering.placement import PartitionIndex
from metering.rules import Rules
from metering.topics import EVENTS, LEDGER
from phonemeter.errors import OperationError
from phonemeter.event_log import meter_again
from phonemeter.topic_reader import OffsetSpan, RecordSource

NOTHING_METERED: Mapping[int, int] = {}


@dataclass(frozen=True, slots=True)
class LedgerComparison:
    """The number of entries in the ledger, and where and how it differs first; empty if it does not."""

    lines: int
    difference: str = ""


def compare_ledger(
    source: RecordSource,
    rules_of: Callable[[int], Rules],
    log: Mapping[int, OffsetSpan],
    metered: Mapping[int, int] = NOTHING_METERED,
    progress: Callable[[int], None] = lambda _records: None,
) -> LedgerComparison:
    """Compare `phone-ledger` with what the rules of each partition make of `phone-events`.

    The ledger may be shorter if it lags, but not before the offsets that are `metered`.

    Raises:
        OperationError: records are not delivered, or an entry cannot be read.
    """
    lines = done = 0

    def count(records: int) -> None:
        nonlocal done
        done += records
        progress(done)

    spans = source.spans(LEDGER)
    for partition, span in log.items():
        place = PartitionIndex(partition, len(log))
        entries = expected_entries(source, place, span.end, rules_of(partition), count)
        for found in published_entries(source, partition, spans.get(partition, OffsetSpan(0, 0))):
            expected = next(entries, None)
            if found != expected:
                return LedgerComparison(lines, _difference(partition, found, expected))
            lines += 1
        missing = next(entries, None)
        if missing is not None and missing.offset < metered.get(partition, 0):
            return LedgerComparison(
                lines, f"{EVENTS}-{partition}-{missing.offset}, line {missing.line}: the ledger lacks it"
            )
    return LedgerComparison(lines)


def published_entries(source: RecordSource, partition: int, span: OffsetSpan) -> Iterator[Entry]:
    """The entries of a partition, each once: a killed worker publishes some again, in order."""
    newest = (-1, -1)
    for batch in source.batches(LEDGER, partition, span):
        for record in batch:
            try:
                rows = decode_rows(record.value or b"").rows
            except ValueError as error:
                raise OperationError(
                    f"{LEDGER} partition {partition} offset {record.offset} is {error}; phonemeter audit "
                    f"tells more."
                ) from None
            for row in rows:
                entry = Entry(*row)
                if (entry.offset, entry.line) > newest:
                    newest = (entry.offset, entry.line)
                    yield entry


def expected_entries(
    source: RecordSource, place: PartitionIndex, end: int, rules: Rules, progress: Callable[[int], None]
) -> Iterator[Entry]:
    """The entries that these rules give of a partition of the log, up to an offset."""
    for records, metered in meter_again(
        source, WorkingState(place.partition, partitions=place.partitions), end, rules
    ):
        progress(len(records))
        yield from metered.entries


def _difference(partition: int, found: Entry, expected: Entry | None) -> str:
    place = f"{EVENTS}-{partition}-{found.offset}, line {found.line}"
    if expected is None:
        differs = "the log has no such record any more"
    elif (expected.offset, expected.line) != (found.offset, found.line):
        differs = f"by these rules the next line would be that of offset {expected.offset}"
    else:
        names = [name for name in Entry.__struct_fields__ if getattr(found, name) != getattr(expected, name)]
        told = (
            f"{name} {getattr(found, name)!r} where these rules give {getattr(expected, name)!r}"
            for name in names[:2]
        )
        differs = f"it has {', '.join(told)}"
    return f"{place}: {differs}"
