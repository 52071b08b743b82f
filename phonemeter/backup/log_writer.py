"""The writer of logs that are copied: each record gets a given offset, and the time that it had."""

import time
from collections.abc import Iterable, Mapping
from types import TracebackType
from typing import Any, Final, Self

from confluent_kafka import (
    TIMESTAMP_LOG_APPEND_TIME,
    Consumer,
    KafkaError,
    KafkaException,
    Message,
    Producer,
)
from confluent_kafka import TopicPartition as Place

from kafka_access.access import KafkaAccess
from kafka_access.librdkafka import librdkafka_options
from metering.records import Record
from phonemeter.backup.gap_filler import GapFiller, somebody_else_writes
from phonemeter.errors import OperationError
from streams.admin_client import error_text

BATCH_BYTES: Final = 900_000
BUFFER_KBYTES: Final = 32 * 1024
RECORD_BYTES_MAX: Final = 100 * 2**20
"""No limit of our own: the topic's decides."""

DELIVERY_TIMEOUT_MS: Final = 120_000
REQUEST_TIMEOUT_S: Final = 15.0
SERVE_S: Final = 0.1


class LogWriter:
    """Appends records to partitions, at their offsets. `command` is the one that copies, for sentences.

    As a context manager it gives up what is not confirmed, and disconnects at the end.
    """

    def __init__(self, kafka: KafkaAccess, command: str = "restore") -> None:
        self._kafka = kafka
        self._command = command
        self._producer = Producer(_settings(kafka) | _PRODUCING)
        self._watcher = Consumer(_settings(kafka) | {"group.id": kafka.group("phonemeter-restore")})
        self.gaps = GapFiller(kafka, self.end_of)
        self._error: KafkaError | None = None
        self._confirmed: dict[tuple[str, int], int] = {}
        self._restamped = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._producer.purge()
        self._producer.flush(SERVE_S)
        self.gaps.__exit__(kind, error, trace)
        self._watcher.close()

    def end_of(self, topic: str, partition: int) -> int:
        """The end of a partition, open transactions included.

        Raises:
            OperationError: Kafka does not answer.
        """
        try:
            _, end = self._watcher.get_watermark_offsets(
                Place(self._kafka.topic(topic), partition), timeout=REQUEST_TIMEOUT_S
            )
        except KafkaException as error:
            raise OperationError(
                f"Kafka at {self._kafka} does not show {topic}: {error_text(error.args[0])}."
            ) from None
        return int(end)

    def write(self, topic: str, partition: int, blocks: Iterable[list[Record]], end: int) -> None:
        """Append the records that a partition lacks, and gaps where there are none, up to `end`.

        Raises:
            OperationError: Kafka does not take them, or somebody else writes to the partition.
        """
        at = self.end_of(topic, partition)
        for block in blocks:
            for record in block:
                if record.offset < at:
                    continue
                if record.offset > at:
                    self.confirm(topic, {partition: at})
                    self.gaps.fill(topic, partition, at, record.offset)
                self.append(topic, partition, record)
                at = record.offset + 1
            self.serve(topic)
        self.confirm(topic, {partition: at})
        if at < end:
            self.gaps.fill(topic, partition, at, end)

    def append(self, topic: str, partition: int, record: Record) -> None:
        """Append a record to the end of a partition. It is written once `confirm` returns.

        Raises:
            OperationError: Kafka does not take it.
        """
        while True:
            try:
                self._producer.produce(
                    self._kafka.topic(topic),
                    record.value,
                    record.key,
                    partition,
                    on_delivery=self._on_delivery,
                    timestamp=record.recorded_at_ms or 0,
                    headers=list(record.headers) or None,
                )
            except BufferError:
                self._producer.poll(SERVE_S)
                self._raise_refusal(topic)
            except KafkaException as error:
                raise self._refused(topic, error.args[0]) from None
            else:
                return

    def serve(self, topic: str) -> None:
        """Take note of what was written meanwhile.

        Raises:
            OperationError: Kafka does not take a record.
        """
        self._producer.poll(0)
        self._raise_refusal(topic)

    def confirm(self, topic: str, ends: Mapping[int, int]) -> None:
        """Wait until what was appended is written, and compare the offsets that it got with these ends.

        Raises:
            OperationError: Kafka does not take it, or somebody else writes to a partition.
        """
        until_s = time.monotonic() + DELIVERY_TIMEOUT_MS / 1_000 + REQUEST_TIMEOUT_S
        while self._producer.flush(SERVE_S) and time.monotonic() < until_s:
            self._raise_refusal(topic)
        self._raise_refusal(topic)
        for partition, end in ends.items():
            confirmed = self._confirmed.pop((topic, partition), end - 1)
            if confirmed != end - 1:
                raise somebody_else_writes(topic, partition, confirmed + 1, end)

    def _on_delivery(self, error: KafkaError | None, message: Message) -> None:
        if error is not None:
            self._error = self._error or error
            return
        place = self._kafka.known(message.topic() or ""), message.partition() or 0
        self._confirmed[place] = message.offset() or 0
        if message.timestamp()[0] == TIMESTAMP_LOG_APPEND_TIME:
            self._restamped = True

    def _raise_refusal(self, topic: str) -> None:
        if self._error is not None:
            raise self._refused(topic, self._error)
        if self._restamped:
            raise OperationError(
                f"A broker of {self._kafka} gave records of {self._kafka.topic(topic)} its own time, as it "
                f"did not have the topic's new message.timestamp.type yet; delete the topics, and run "
                f"`phonemeter {self._command}` again."
            )

    def _refused(self, topic: str, error: KafkaError) -> OperationError:
        return OperationError(
            f"Kafka at {self._kafka} does not take a record of {self._kafka.topic(topic)} "
            f"({error_text(error)}); mend that, and run `phonemeter {self._command}` again: it goes on from "
            f"where it is."
        )


def is_written(ours: Record, found: Record | None) -> bool:
    """Return whether the record that was found in a log is one of ours."""
    return found is not None and (ours.key, ours.value, ours.recorded_at_ms) == (
        found.key,
        found.value,
        found.recorded_at_ms,
    )


def _settings(kafka: KafkaAccess) -> dict[str, Any]:
    return {
        **librdkafka_options(kafka),
        "client.id": "phonemeter-restore",
        "socket.keepalive.enable": True,
        "error_cb": _ignore,
        "log_level": 0,
    }


_PRODUCING: Final[dict[str, Any]] = {
    "acks": "all",
    "enable.idempotence": True,
    # A refused record ends the copy, so that none follows it.
    "enable.gapless.guarantee": True,
    "allow.auto.create.topics": False,
    "compression.type": "zstd",
    "linger.ms": 20,
    "batch.size": BATCH_BYTES,
    "message.max.bytes": RECORD_BYTES_MAX,
    "delivery.timeout.ms": DELIVERY_TIMEOUT_MS,
    "queue.buffering.max.messages": 0,
    "queue.buffering.max.kbytes": BUFFER_KBYTES,
}


def _ignore(_error: KafkaError) -> None:
    """Errors of connections pass, or end in a delivery that is not confirmed."""
