"""The log that is moved: closed so that no broker takes another event, or opened again.

A broker refuses every event that is larger than the topic's `max.message.bytes`, whoever publishes it. With
`CLOSED_BYTES` no event fits, and Kafka can still end open transactions.
"""

import time
from typing import Final

from confluent_kafka import KafkaError, KafkaException, Message, Producer
from kafka import TopicPartition
from kafka.admin import OffsetSpec
from kafka.protocol.consumer import IsolationLevel
from tenacity import Retrying, retry_if_result, stop_after_delay, wait_fixed

from kafka_access.access import KafkaAccess
from kafka_access.librdkafka import librdkafka_options
from metering.topics import CLOSED_BYTES, EVENTS, REPARTITION_GROUP, RESTORE_TRANSACTIONS
from phonemeter.backup.closed_kafka import GROUPS, commit
from phonemeter.errors import OperationError, UserError
from phonemeter.kafka_admin import admin
from phonemeter.replay.service_groups import refuse_members
from phonemeter.stack.kafka.topics import LogMove, alter_and_wait, log_move
from phonemeter.topic_reader import OffsetSpan, spans_of
from sinks.admin_client import KafkaAdmin
from sinks.preconditions import found_topics
from streams.admin_client import error_text

SETTING: Final = "max.message.bytes"
CLOSED_S_MAX: Final = 30.0
"""Time for every broker to hear of the new setting."""

TRANSACTIONS_S_MAX: Final = 120.0
"""Time for open transactions to end: Kafka aborts those of a dead producer, by default after a minute."""

REQUEST_S: Final = 15.0
LOOK_S: Final = 0.2
_PROBE: Final = b"\0" * 256


class OldLog:
    """The log on the topics of `kafka`, which moves to others."""

    def __init__(self, kafka: KafkaAccess) -> None:
        self._kafka = kafka

    def move(self) -> LogMove | None:
        """The move that was begun, if there is one."""
        with admin(self._kafka) as client:
            return log_move(client)

    def close(self, prefix: str, partitions: int) -> dict[int, OffsetSpan]:
        """Close the log; returns its spans, which do not change any more.

        Raises:
            UserError: services are running.
            OperationError: Kafka does not let it be closed, or a transaction stays open.
        """
        with admin(self._kafka) as client:
            refuse_members(client, GROUPS)
            begun = log_move(client)
            bytes_max = begun.bytes_max if begun is not None else self._bytes_max(client)
            self._note(client, LogMove(prefix, partitions, done=False, bytes_max=bytes_max))
            self._set_bytes_max(client, CLOSED_BYTES)
            self._wait_until_refused(sorted(spans_of(client, EVENTS)))
            self._wait_for_transactions(client)
            refuse_members(client, GROUPS)
            return spans_of(client, EVENTS)

    def reopen(self) -> None:
        """Let producers and services write again, as if no move had begun."""
        with admin(self._kafka) as client:
            begun = log_move(client)
            if begun is None:
                raise UserError(
                    f"{self._kafka.topic(EVENTS)} is not closed, so there is nothing to take back: a copy "
                    f"without --finish changes nothing of it."
                )
            if begun.done:
                raise UserError(
                    f"The log was moved to the prefix {begun.prefix!r}, where events may have arrived since: "
                    f"that cannot be taken back."
                )
            self._set_bytes_max(client, str(begun.bytes_max))
            client.delete_group(REPARTITION_GROUP)

    def retire(self) -> None:
        """Note that the log is elsewhere from now on."""
        with admin(self._kafka) as client:
            begun = log_move(client)
            if begun is not None:
                self._note(client, begun._replace(done=True))

    def _bytes_max(self, client: KafkaAdmin) -> int:
        return int((found_topics(client)[EVENTS].config or {})[SETTING])

    def _note(self, client: KafkaAdmin, move: LogMove) -> None:
        commit(client, REPARTITION_GROUP, {TopicPartition(EVENTS, 0): (0, move.noted())})

    def _set_bytes_max(self, client: KafkaAdmin, value: str) -> None:
        refusal = alter_and_wait(client, EVENTS, SETTING, value)
        if refusal:
            raise OperationError(
                f"Kafka at {self._kafka} does not let {SETTING} of {self._kafka.topic(EVENTS)} be set to "
                f"{value}, which keeps producers from writing to the log that is moved: {refusal}"
            )

    def _wait_until_refused(self, partitions: list[int]) -> None:
        """Try to write to each partition until its leader refuses: leaders hear of a setting one by one."""
        refused = Retrying(
            retry=retry_if_result(lambda refused: not refused),
            wait=wait_fixed(LOOK_S),
            stop=stop_after_delay(CLOSED_S_MAX),
            retry_error_callback=lambda _: False,
        )(lambda: all(map(self._refuses, partitions)))
        if not refused:
            raise OperationError(
                f"Kafka at {self._kafka} still takes records for {self._kafka.topic(EVENTS)} although "
                f"{SETTING} is {CLOSED_BYTES}; see the logs of its brokers, and run the command again."
            )

    def _refuses(self, partition: int) -> bool:
        """Return whether a record is refused, which would be aborted, so that no one reads it."""
        answers: list[KafkaError | None] = []

        def keep(error: KafkaError | None, _message: Message) -> None:
            answers.append(error)

        producer = Producer(
            {
                **librdkafka_options(self._kafka),
                "client.id": "phonemeter-repartition",
                "transactional.id": self._kafka.group(RESTORE_TRANSACTIONS),
                "allow.auto.create.topics": False,
                "log_level": 0,
            }
        )
        try:
            producer.init_transactions(REQUEST_S)
            producer.begin_transaction()
            producer.produce(self._kafka.topic(EVENTS), _PROBE, None, partition, on_delivery=keep)
            producer.flush(REQUEST_S)
            producer.abort_transaction(REQUEST_S)
        except KafkaException as error:
            raise OperationError(
                f"Kafka at {self._kafka} does not take the transaction by which is tried whether "
                f"{self._kafka.topic(EVENTS)} is closed ({error_text(error.args[0])}); allow "
                f"{self._kafka.group(RESTORE_TRANSACTIONS)} as a transactional id, and run the command again."
            ) from None
        return [error is not None and error.code() == KafkaError.MSG_SIZE_TOO_LARGE for error in answers] == [
            True
        ]

    def _wait_for_transactions(self, client: KafkaAdmin) -> None:
        partitions = [TopicPartition(EVENTS, number) for number in spans_of(client, EVENTS)]
        latest = dict.fromkeys(partitions, OffsetSpec.LATEST)
        until_s = time.monotonic() + TRANSACTIONS_S_MAX
        while True:
            stable = client.list_partition_offsets(latest, isolation_level=IsolationLevel.READ_COMMITTED)
            ends = client.list_partition_offsets(latest)
            held_up = [at for at in partitions if stable[at].offset < ends[at].offset]
            if not held_up:
                return
            if time.monotonic() > until_s:
                raise OperationError(
                    f"{self._kafka.topic(EVENTS)} partition {held_up[0].partition} has a transaction that "
                    f"has been open for more than {TRANSACTIONS_S_MAX:g} s since the log was closed: end its "
                    f"producer, or abort it with Kafka's kafka-transactions, and run the command again."
                )
            time.sleep(LOOK_S)
