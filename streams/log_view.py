"""The log of events as brokers show it: the topic's id, its begin and end, and a record.

`metering.log_identity` compares these. aiokafka sends the requests, each to the leader that a new client
finds; it does not know the ids of topics, so librdkafka asks for that one.

All of it runs in a thread with an event loop of its own: metering blocks the worker's loop for longer than a
look takes, and a look waits several times.
"""

import asyncio
import struct
import threading
from collections import defaultdict
from collections.abc import AsyncIterator, Collection, Mapping
from contextlib import asynccontextmanager
from typing import Any, Final

from aiokafka.client import AIOKafkaClient
from aiokafka.errors import KafkaError, LeaderNotAvailableError, RequestTimedOutError, for_code
from aiokafka.protocol.fetch import FetchRequest
from aiokafka.protocol.offset import OffsetRequest
from aiokafka.record.memory_records import MemoryRecords
from aiokafka.structs import TopicPartition
from confluent_kafka import KafkaException, TopicCollection
from confluent_kafka.admin import AdminClient

from kafka_access.access import KafkaAccess
from kafka_access.aiokafka import aiokafka_options
from kafka_access.connection_steps import forget_refused_token
from metering import topics
from metering.log_identity import NO_OFFSET, FoundRecord, PartitionView, fingerprint
from streams.admin_client import TIMEOUT_S, admin_client, error_text
from streams.lenient_records import LenientRecords

DESCRIBED_S_MAX: Final = 5.0
"""Time limit for the topic's id. Meanwhile no checkpoint of a partition is made."""

_READ_UNCOMMITTED: Final = 0
"""Reads open transactions too: another log may have one where a committed record was."""

_EARLIEST, _LATEST = -2, -1
_NOT_A_REPLICA: Final = -1
_NO_LEADER: Final = -1
_ONE_BATCH_BYTES: Final = 1
"""A broker returns the batch with the offset whole, however large it is."""

_LEADER_EPOCH: Final = struct.Struct(">12xi")
"""The leader epoch in a stored batch, which aiokafka's batches leave out."""


class LogViewer:
    """Looks at the log for one process."""

    def __init__(self, kafka: KafkaAccess) -> None:
        self._kafka = kafka
        self._admin: AdminClient | None = None
        # librdkafka's client was seen to leave one of two concurrent requests without an answer.
        self._lock = threading.Lock()

    async def look(self, offsets: Mapping[int, int]) -> dict[int, PartitionView]:
        """Views of partitions, each with the record at an offset if the log goes that far.

        Raises:
            aiokafka.errors.KafkaError: the brokers don't answer now.
        """
        return await asyncio.to_thread(self._look_in_thread, dict(offsets))

    def _look_in_thread(self, offsets: Mapping[int, int]) -> dict[int, PartitionView]:
        with self._lock:
            try:
                return asyncio.run(self._look(offsets, self._topic_id()))
            except KafkaError:
                forget_refused_token(self._kafka)
                raise

    async def _look(self, offsets: Mapping[int, int], topic_id: str) -> dict[int, PartitionView]:
        topic = self._kafka.topic(topics.EVENTS)
        async with _client(self._kafka, topic) as client:
            begins = await _edges(client, topic, offsets, _EARLIEST)
            ends = await _edges(client, topic, offsets, _LATEST)
            found = {
                partition: await _record(client, TopicPartition(topic, partition), offset)
                for partition, offset in offsets.items()
                if offset != NO_OFFSET and begins[partition] <= offset < ends[partition]
            }
        return {p: PartitionView(topic_id, begins[p], ends[p], found.get(p)) for p in offsets}

    def _topic_id(self) -> str:
        self._admin = self._admin or admin_client(self._kafka, "phonemeter-worker-looking")
        topic = self._kafka.topic(topics.EVENTS)
        asked = self._admin.describe_topics(TopicCollection([topic]), request_timeout=DESCRIBED_S_MAX)
        try:
            return str(asked[topic].result(timeout=2 * DESCRIBED_S_MAX).topic_id)
        except KafkaException as error:
            why = error_text(error.args[0])
        except TimeoutError:
            why = f"the brokers do not describe {topic}"
        # librdkafka goes on asking the same broker for minutes after it died; a new client asks another.
        self._admin = None
        raise RequestTimedOutError(why)


async def ends_of(kafka: KafkaAccess, topic: str, partitions: Collection[int]) -> dict[int, int]:
    """The ends of partitions, open transactions included.

    Raises:
        aiokafka.errors.KafkaError: the brokers don't answer now.
    """
    async with _client(kafka, topic) as client:
        return await _edges(client, topic, partitions, _LATEST)


@asynccontextmanager
async def _client(kafka: KafkaAccess, topic: str) -> AsyncIterator[AIOKafkaClient]:
    client = AIOKafkaClient(**aiokafka_options(kafka), request_timeout_ms=int(TIMEOUT_S * 1_000))
    await client.bootstrap()
    try:
        await client.set_topics([topic])
        yield client
    finally:
        await client.close()


def _leader(client: AIOKafkaClient, tp: TopicPartition) -> int:
    leader = client.cluster.leader_for_partition(tp)
    if leader in {None, _NO_LEADER}:
        raise LeaderNotAvailableError(tp)
    return int(leader)


async def _edges(
    client: AIOKafkaClient, topic: str, partitions: Collection[int], edge: int
) -> dict[int, int]:
    """The first offset of each partition, or the end."""
    asked = defaultdict(list)
    for partition in partitions:
        asked[_leader(client, TopicPartition(topic, partition))].append((partition, edge))
    offsets = {}
    for leader, of_leader in asked.items():
        request = OffsetRequest(_NOT_A_REPLICA, _READ_UNCOMMITTED, [(topic, of_leader)])
        for partition, code, _, offset in _answers(await client.send(leader, request)):
            _check(code, TopicPartition(topic, partition))
            offsets[partition] = offset
    return offsets


async def _record(client: AIOKafkaClient, tp: TopicPartition, offset: int) -> FoundRecord | None:
    """The record at an offset; None if the log has none there."""
    request = FetchRequest(
        0, 0, _ONE_BATCH_BYTES, _READ_UNCOMMITTED, [(tp.topic, [(tp.partition, offset, _ONE_BATCH_BYTES)])]
    )
    (answer,) = _answers(await client.send(_leader(client, tp), request))
    _check(answer[1], tp)
    stored = answer[-1]
    try:
        return _found(MemoryRecords(stored), stored, offset)
    except UnicodeDecodeError:
        return _found(LenientRecords(stored), stored, offset)


def _found(records: MemoryRecords, stored: bytes, offset: int) -> FoundRecord | None:
    batch = records.next_batch()
    if batch is None or batch.is_control_batch:
        return None
    for record in batch:
        if record.offset == offset:
            return FoundRecord(
                fingerprint(record.key, record.value, record.timestamp), *_LEADER_EPOCH.unpack_from(stored)
            )
    return None


def _answers(response: Any) -> list[Any]:  # noqa: ANN401 - aiokafka's responses are not typed
    return [partition for _, of_topic in response.topics for partition in of_topic]


def _check(code: int, tp: TopicPartition) -> None:
    if code:
        raise for_code(code)(tp)
