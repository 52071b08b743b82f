"""Offsets without a record, written into a log as they came about: by transactions that are broken off.

A log with records of transactions has offsets of control records and of aborted records. Ledger, state and
ClickHouse name events by their offsets, so a restored log needs the same gaps. A transaction that is aborted
leaves one offset for its control record, and one for each record; readers of committed records see none of
them.
"""

import asyncio
import time
from collections.abc import Callable
from types import TracebackType
from typing import Final, Self

from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.errors import KafkaError

from kafka_access.access import KafkaAccess
from kafka_access.aiokafka import aiokafka_options
from metering.topics import RESTORE_TRANSACTIONS
from phonemeter.errors import OperationError

TIMEOUT_MS: Final = 60_000
TOGETHER: Final = 10_000
"""Records of one transaction."""

MARKER_S_MAX: Final = 60.0
LOOK_S: Final = 0.002

EndOf = Callable[[str, int], int]
"""Reads the end of a partition, open transactions included."""


class GapFiller:
    """Writes gaps, one at a time. As a context manager it disconnects at the end.

    To connect ends what a killed restore left open.
    """

    def __init__(self, kafka: KafkaAccess, end_of: EndOf) -> None:
        self._kafka = kafka
        self._end_of = end_of
        self._runner = asyncio.Runner()
        self._producer: AIOKafkaProducer | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._producer is not None:
            self._runner.run(self._producer.stop())
        self._runner.close()

    def connect(self) -> None:
        """Connect, and abort the transaction that a killed restore left open.

        Raises:
            OperationError: Kafka does not allow transactions, or does not answer.
        """
        try:
            self._runner.run(self._connected())
        except KafkaError as error:
            raise self._refused(error) from None

    def fill(self, topic: str, partition: int, begin: int, end: int) -> None:
        """Write a gap from `begin`, which is the end of the partition now, to before `end`.

        Raises:
            OperationError: Kafka does not take it.
        """
        at = begin
        while at < end:
            offsets = min(end - at, TOGETHER + 1)
            try:
                self._runner.run(
                    self._abort_one(TopicPartition(self._kafka.topic(topic), partition), offsets - 1)
                )
            except KafkaError as error:
                raise self._refused(error) from None
            at += offsets
            self._wait_for(topic, partition, at)

    async def _abort_one(self, place: TopicPartition, records: int) -> None:
        producer = await self._connected()
        await producer.begin_transaction()
        # There is no public way to have a transaction with a control record alone; the version is pinned.
        producer._txn_manager.maybe_add_partition_to_txn(place)  # noqa: SLF001 - see above
        for _ in range(records):
            await producer.send(place.topic, value=b"", key=b"", partition=place.partition)
        await producer.flush()
        await producer.abort_transaction()

    async def _connected(self) -> AIOKafkaProducer:
        if self._producer is None:
            producer = AIOKafkaProducer(
                **aiokafka_options(self._kafka),
                client_id="phonemeter-restore",
                transactional_id=self._kafka.group(RESTORE_TRANSACTIONS),
                transaction_timeout_ms=TIMEOUT_MS,
                acks="all",
            )
            try:
                await producer.start()
            except BaseException:
                await producer.stop()
                raise
            self._producer = producer
        return self._producer

    def _wait_for(self, topic: str, partition: int, end: int) -> None:
        """Wait for the control record, which is written after the transaction's end was decided."""
        until_s = time.monotonic() + MARKER_S_MAX
        while (reached := self._end_of(topic, partition)) < end:
            if time.monotonic() > until_s:
                raise OperationError(
                    f"Kafka at {self._kafka} did not end a transaction in {topic} partition {partition} "
                    f"within {MARKER_S_MAX:g} s; see its log, and run the restore again: it goes on from "
                    f"where it is."
                )
            time.sleep(LOOK_S)
        if reached > end:
            raise somebody_else_writes(topic, partition, reached, end)

    def _refused(self, error: KafkaError) -> OperationError:
        return OperationError(
            f"Kafka at {self._kafka} does not take the transactions that restore the offsets between events "
            f"({error}); allow {self._kafka.group(RESTORE_TRANSACTIONS)} as a transactional id, and run the "
            f"restore again."
        )


def somebody_else_writes(topic: str, partition: int, found: int, expected: int) -> OperationError:
    """The sentence about a partition whose end is not where the restore has brought it."""
    return OperationError(
        f"Somebody else writes to {topic} partition {partition} while it is restored: it ends at offset "
        f"{found} instead of {expected}; stop all producers and services, delete the topics, and restore "
        f"again."
    )
