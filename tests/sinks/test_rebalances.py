"""Rebalances as kafka-python reports them in its thread, and as the thread that polls receives them."""

import threading
from typing import Any

from kafka import TopicPartition

from kafka_access.access import KafkaAccess
from sinks.rebalances import Rebalance, RebalanceQueue


class Consumer:
    """Records what the listener asks of kafka-python's consumer."""

    def __init__(self) -> None:
        self.calls: list[tuple[Any, ...]] = []

    def seek(self, at: TopicPartition, offset: int) -> None:
        self.calls.append(("seek", at, offset))

    def pause(self, at: TopicPartition) -> None:
        self.calls.append(("pause", at))


def test_assigned_partitions_are_paused_until_they_are_started() -> None:
    consumer = Consumer()
    queue = RebalanceQueue(consumer, KafkaAccess("127.0.0.1:1"))
    at = TopicPartition("phone-ledger", 3)
    assert not queue.joined.is_set()
    queue.on_partitions_assigned([at])
    assert consumer.calls == [("seek", at, 0), ("pause", at)]
    assert queue.joined.is_set()


def test_rebalances_are_returned_once_and_in_order() -> None:
    queue = RebalanceQueue(Consumer(), KafkaAccess("127.0.0.1:1"))
    queue.on_partitions_assigned([TopicPartition("a", 0), TopicPartition("b", 0)])
    queue.on_partitions_revoked([TopicPartition("a", 0)])
    assert queue.pending
    assert list(queue.take()) == [
        Rebalance("assigned", (("a", 0), ("b", 0))),
        Rebalance("revoked", (("a", 0),)),
    ]
    assert not queue.pending
    assert list(queue.take()) == []


def test_a_revocation_waits_for_what_is_being_written() -> None:
    queue = RebalanceQueue(Consumer(), KafkaAccess("127.0.0.1:1"))
    revoked = threading.Thread(target=queue.on_partitions_revoked, args=([TopicPartition("a", 0)],))
    with queue.writing() as still_owned:
        assert still_owned
        revoked.start()
        assert not queue.pending
    revoked.join()
    with queue.writing() as still_owned:
        assert not still_owned
