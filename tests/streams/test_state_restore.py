"""The restore of partitions from a real broker."""

import pytest
from aiokafka.errors import RequestTimedOutError
from confluent_kafka import Producer

from kafka_access.access import KafkaAccess
from metering import topics as names
from metering.partition_state import PartitionState
from metering.rules import Rules, Terms
from streams.batch_step import PartitionProgress
from streams.state_log import StateLayout
from streams.state_restore import restore_partitions
from tests.conftest import RunningKafka
from tests.waiting import WITHIN_S


async def read(kafka: str) -> PartitionProgress:
    """Restore partition 0."""
    return (await restore_partitions(KafkaAccess(kafka), {0}, 1, Terms(rules=Rules(), clock="events")))[0]


def state_record(client: Producer) -> None:
    """Store a checkpoint, as another worker may have done."""
    state = PartitionState(0, next_offset=7)
    header = StateLayout().begin_epoch(1).checkpoint(state, {}).header
    client.produce(names.STATE, header.value, header.key, partition=0)
    client.flush(WITHIN_S)


async def test_a_checkpoint_behind_an_open_transaction_is_waited_for_and_no_older_one_is_taken(
    topics: RunningKafka, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("streams.state_restore.STANDS_S_MAX", 0.3)
    kafka = {"bootstrap.servers": topics.bootstrap}
    foreign = Producer({**kafka, "transactional.id": "framework"})
    foreign.init_transactions(WITHIN_S)
    foreign.begin_transaction()
    foreign.produce(names.STATE, b"not ours", b"thing#1.0", partition=0)
    foreign.flush(WITHIN_S)
    state_record(Producer(kafka))
    with pytest.raises(RequestTimedOutError, match="phone-state partition 0 can be read up to offset 0 of 2"):
        await read(topics.bootstrap)
    foreign.abort_transaction(WITHIN_S)
    # The broker has decided the end of the transaction and may not have written it yet.
    monkeypatch.undo()
    assert (await read(topics.bootstrap)).state.next_offset == 7
