"""The topics as the benchmarks use them: filled as fast as it goes, read whole, asked for their ends."""

from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from typing import Any

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, ConsumerRecord, TopicPartition
from aiokafka.partitioner import murmur2

from bench.traffic import Event
from metering import topics
from metering.ledger import decode_rows

BATCH_BYTES = 500_000
FETCH_BYTES = 8 * 1024 * 1024


def partition_of(key: bytes, partitions: int) -> int:
    """The partition of a key, as Kafka's clients choose it."""
    return int((murmur2(key) & 0x7FFFFFFF) % partitions)


async def fill(
    kafka: str,
    topic: str,
    partition: int,
    content: Iterable[tuple[bytes | None, bytes]],
    timestamp_ms: int | None = None,
) -> None:
    """Fill a partition with keys and values as fast as it goes, compressed, all of one time."""
    producer = AIOKafkaProducer(bootstrap_servers=kafka, max_batch_size=BATCH_BYTES, compression_type="lz4")
    await producer.start()
    try:
        batch = producer.create_batch()
        for key, value in content:
            if batch.append(key=key, value=value, timestamp=timestamp_ms) is None:
                await producer.send_batch(batch, topic, partition=partition)
                batch = producer.create_batch()
                batch.append(key=key, value=value, timestamp=timestamp_ms)
        if batch.record_count():
            await producer.send_batch(batch, topic, partition=partition)
        await producer.flush()
    finally:
        await producer.stop()


async def publish(kafka: str, partitions: int, traffic: Iterable[Event]) -> int:
    """Publish as fast as it goes, each event a record of its own; returns how many there were."""
    producer = AIOKafkaProducer(bootstrap_servers=kafka, max_batch_size=BATCH_BYTES)
    await producer.start()
    published = 0
    places: dict[bytes, int] = {}
    try:
        batches = [producer.create_batch() for _ in range(partitions)]
        for key, value in traffic:
            partition = places.get(key)
            if partition is None:
                partition = places[key] = partition_of(key, partitions)
            if batches[partition].append(key=key, value=value, timestamp=None) is None:
                await producer.send_batch(batches[partition], topics.EVENTS, partition=partition)
                batches[partition] = producer.create_batch()
                batches[partition].append(key=key, value=value, timestamp=None)
            published += 1
        for partition, batch in enumerate(batches):
            if batch.record_count():
                await producer.send_batch(batch, topics.EVENTS, partition=partition)
        await producer.flush()
    finally:
        await producer.stop()
    return published


@asynccontextmanager
async def reading(kafka: str, topic: str, partitions: Iterable[int]) -> AsyncIterator[AIOKafkaConsumer]:
    """A consumer of these partitions, in no group, at their beginnings."""
    consumer = AIOKafkaConsumer(
        bootstrap_servers=kafka,
        auto_offset_reset="earliest",
        enable_auto_commit=False,
        max_partition_fetch_bytes=FETCH_BYTES,
    )
    await consumer.start()
    try:
        consumer.assign([TopicPartition(topic, partition) for partition in partitions])
        yield consumer
    finally:
        await consumer.stop()


async def ends(consumer: AIOKafkaConsumer) -> dict[int, int]:
    """The end of each partition that the consumer reads."""
    found = await consumer.end_offsets(list(consumer.assignment()))
    return {tp.partition: end for tp, end in found.items()}


async def records(kafka: str, topic: str, partition: int) -> list[ConsumerRecord]:
    """All records of a partition."""
    found: list[ConsumerRecord] = []
    async with reading(kafka, topic, [partition]) as consumer:
        tp = TopicPartition(topic, partition)
        end = (await ends(consumer))[partition]
        while await consumer.position(tp) < end:
            fetched = await consumer.getmany(tp, timeout_ms=500, max_records=20_000)
            found += fetched.get(tp, [])
    return found


async def metered_up_to(consumer: AIOKafkaConsumer) -> dict[int, int]:
    """For each partition of the ledger, the offset after the last event that it has a line of."""
    reached: dict[int, int] = {}
    for tp in consumer.assignment():
        end = (await consumer.end_offsets([tp]))[tp]
        if end == 0:
            reached[tp.partition] = 0
            continue
        consumer.seek(tp, end - 1)
        last: Any = await consumer.getone(tp)
        reached[tp.partition] = decode_rows(last.value).last_offset + 1
    return reached
