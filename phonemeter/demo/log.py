"""The log and what became of it: where `phone-events` ends, how far it was metered, how far it is stored."""

from typing import Final

from kafka import KafkaConsumer, TopicPartition
from kafka.admin import KafkaAdminClient, OffsetSpec

from metering.topics import EVENTS
from phonemeter.errors import OperationError
from phonemeter.stack.kafka.progress import how_far
from sinks.connection import FAILURES, connect, rows, sentence

POLL_MS: Final = 1_000
EMPTY_POLLS_MAX: Final = 20

Offsets = dict[int, int]
"""Per partition, the offset of the next record."""


class NotToldError(OperationError):
    """ClickHouse does not answer."""


def ends(client: KafkaAdminClient, partitions: int) -> Offsets:
    """Where each partition of `phone-events` ends."""
    wanted = {TopicPartition(EVENTS, partition): OffsetSpec.LATEST for partition in range(partitions)}
    return {at.partition: end.offset for at, end in client.list_partition_offsets(wanted).items()}


def metered(client: KafkaAdminClient) -> Offsets:
    """How far the worker has come, as it and the sink have told Kafka."""
    return how_far(client).metered


def stored(clickhouse: str) -> Offsets:
    """How far the ledger in ClickHouse has come; every record of the log leaves at least one line there.

    Raises:
        NotToldError: ClickHouse does not answer.
    """
    client = connect(clickhouse)
    try:
        found = rows(
            client, "SELECT source_partition, max(source_offset) + 1 FROM ledger GROUP BY source_partition"
        )
    except FAILURES as error:
        raise NotToldError(f"ClickHouse did not tell how far the ledger is: {sentence(error)}") from error
    finally:
        client.disconnect()
    return {int(partition): int(offset) for partition, offset in found}


def read_log(bootstrap: str, until: Offsets) -> list[bytes]:
    """The values of all records up to `until`, partition by partition.

    Raises:
        OperationError: Kafka does not deliver them.
    """
    consumer = KafkaConsumer(
        bootstrap_servers=bootstrap.split(","), enable_auto_commit=False, auto_offset_reset="earliest"
    )
    values: dict[int, list[bytes]] = {partition: [] for partition in until}
    try:
        consumer.assign([TopicPartition(EVENTS, partition) for partition in until])
        empty_polls = 0
        while any(len(values[partition]) < end for partition, end in until.items()):
            polled = consumer.poll(timeout_ms=POLL_MS)
            empty_polls = 0 if polled else empty_polls + 1
            if empty_polls > EMPTY_POLLS_MAX:
                raise OperationError(f"Kafka at {bootstrap} does not deliver the events that it holds.")
            for at, records in polled.items():
                values[at.partition] += [record.value or b"" for record in records]
    finally:
        consumer.close()
    return [value for partition in sorted(values) for value in values[partition]]
