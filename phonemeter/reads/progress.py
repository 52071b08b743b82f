"""The progress of worker and sink, as Kafka has it."""

import time
from contextlib import ExitStack

from kafka.errors import KafkaError

from dashboards.http.freshness import LogProgress
from kafka_access.access import KafkaAccess
from metering.topics import EVENTS, LEDGER, SINK_GROUP, WORKER_GROUP
from phonemeter.stack.kafka.consumer_positions import GroupPositions, group_positions
from phonemeter.stack.kafka.progress import service_progress
from sinks.admin_client import KafkaAdmin, admin_client


class KafkaProgress:
    """Reads the progress over one connection, which is opened again after a failure. For one thread."""

    def __init__(self, kafka: KafkaAccess) -> None:
        self._kafka = kafka
        self._open = ExitStack()
        self._client: KafkaAdmin | None = None

    def progress(self) -> LogProgress:
        """Look at the logs.

        Raises:
            ConnectionError: Kafka does not answer, or has no topics yet.
        """
        at_ms = time.time_ns() // 1_000_000
        try:
            if self._client is None:
                self._client = self._open.enter_context(admin_client(self._kafka))
            reached = service_progress(self._client)
            worker = group_positions(self._client, WORKER_GROUP, EVENTS, reached.metered)
            # After the events: what became of those that are metered is in the ledger's log by now.
            sink = group_positions(self._client, SINK_GROUP, LEDGER)
        except KafkaError as error:
            self.close()
            raise ConnectionError(f"Kafka at {self._kafka} does not answer.") from error
        if worker is None or sink is None:
            raise ConnectionError(f"Kafka at {self._kafka} has no topics yet.")
        return LogProgress(at_ms, _ends(worker), _reached(worker), _ends(sink), _reached(sink))

    def close(self) -> None:
        """Close the connection."""
        self._client = None
        self._open.close()


def _ends(found: GroupPositions) -> dict[int, int]:
    return {place.partition: place.end for place in found.places}


def _reached(found: GroupPositions) -> dict[int, int]:
    return {place.partition: place.next_offset for place in found.places}
