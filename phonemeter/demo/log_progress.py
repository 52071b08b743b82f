"""Progress of the demo's events: where `phone-events` ends, how far it is metered, how far it is stored."""

from kafka_access.access import KafkaAccess
from metering.topics import EVENTS
from phonemeter.clickhouse import ledger_client
from phonemeter.stack.kafka.progress import service_progress
from phonemeter.topic_reader import OffsetSpan, open_reader, spans_of
from sinks.admin_client import KafkaAdmin
from sinks.connection import rows

Offsets = dict[int, int]
"""The offset of the next record, per partition."""

_UNSETTLED = "SELECT count() FROM unsettled"
_STORED = "SELECT source_partition, max(source_offset) + 1 FROM ledger GROUP BY source_partition"


def ends(client: KafkaAdmin) -> Offsets:
    """The end of each partition of `phone-events`."""
    return {partition: span.end for partition, span in spans_of(client, EVENTS).items()}


def metered(client: KafkaAdmin) -> Offsets:
    """The offsets up to which the worker has metered, as it and the sink have committed them."""
    return service_progress(client).metered


def stored(clickhouse: str) -> Offsets:
    """The offsets up to which ClickHouse has the ledger; every record of the log leaves an entry there.

    Raises:
        ClickHouseError: ClickHouse does not answer.
    """
    with ledger_client(clickhouse) as client:
        return {int(partition): int(offset) for partition, offset in rows(client, _STORED)}


def unsettled(clickhouse: str) -> int:
    """The number of apps whose figures may still change, because facts arrived late.

    Raises:
        ClickHouseError: ClickHouse does not answer.
    """
    with ledger_client(clickhouse) as client:
        return int(rows(client, _UNSETTLED)[0][0])


def read_log(kafka: KafkaAccess, until: Offsets) -> list[bytes]:
    """The values of all records before `until`, partition by partition.

    Raises:
        OperationError: Kafka does not deliver them.
    """
    with open_reader(kafka) as reader:
        return [
            record.value or b""
            for partition, end in sorted(until.items())
            for batch in reader.batches(EVENTS, partition, OffsetSpan(0, end))
            for record in batch
        ]
