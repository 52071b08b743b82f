"""The preconditions of `metering.preconditions`, checked with kafka-python."""

import logging
import threading
from collections.abc import Callable, Iterator, Set
from contextlib import contextmanager
from typing import Final

from kafka.errors import KafkaError, TopicAuthorizationFailedError

from kafka_access.access import KafkaAccess
from metering.preconditions import CHECK_INTERVAL_S, Breach, BreachLog, BrokerView, FoundTopic
from metering.topics import ALL
from sinks.admin_client import KafkaAdmin, admin_client
from sinks.errors import SinkError

log = logging.getLogger(__name__)

AWAY_S: Final = 5.0
"""Pause before a Kafka that did not answer is asked again."""


def found_topics(client: KafkaAdmin) -> dict[str, FoundTopic]:
    """Describe the topics of phonemeter that exist.

    Raises:
        KafkaError: the broker does not answer.
    """
    names = [topic.name for topic in ALL]
    answered = client.describe_topics(names)
    hidden = [one["name"] for one in answered if one["error_code"] == TopicAuthorizationFailedError.errno]
    if hidden:
        raise TopicAuthorizationFailedError(
            f"Kafka does not let this account describe {', '.join(hidden)}; `phonemeter doctor` says what to "
            f"ask for"
        )
    described = [one for one in answered if one["error_code"] == 0]
    configs = client.topic_configs(one["name"] for one in described)
    return {
        one["name"]: FoundTopic(
            len(one["partitions"]),
            min(len(partition["replica_nodes"]) for partition in one["partitions"]),
            {key: entry["value"] for key, entry in configs.get(one["name"], {}).items()} or None,
        )
        for one in described
    }


def broker_view(kafka: KafkaAccess) -> BrokerView:
    """Describe the topics of phonemeter on these brokers.

    Raises:
        KafkaError: the brokers do not answer.
    """
    with admin_client(kafka) as client:
        cluster = str(client.describe_cluster()["cluster_id"])
        return BrokerView(found_topics(client), cluster, kafka.demands)


class Preconditions:
    """Preconditions of a service, checked at its start and periodically.

    `own` are the topics that the service reads or writes; `view` raises KafkaError where nobody answers.

    Attributes:
        breaches: breaches that the last check found.
        cluster: id of the Kafka cluster; empty before the first check.
    """

    def __init__(self, own: Set[str], view: Callable[[], BrokerView]) -> None:
        self._own = own
        self._view = view
        self._log = BreachLog()
        self.breaches: tuple[Breach, ...] = ()
        self.cluster = ""

    def require(self) -> None:
        """Check at the start of a service.

        Raises:
            SinkError: the service must not start.
            KafkaError: Kafka does not answer.
        """
        self.check()
        refused = [one.sentence for one in self.breaches if one.weight == "refused"]
        if refused:
            raise SinkError(" ".join(refused))

    def check(self) -> None:
        """Check, and log new breaches.

        Raises:
            KafkaError: Kafka does not answer.
        """
        found = self._view()
        self.cluster, self.breaches = found.cluster, found.breaches(self._own)
        for one in self._log.due(self.breaches):
            log.log(logging.WARNING if one.weight == "advice" else logging.ERROR, "%s", one.sentence)

    @contextmanager
    def watched(self, every_s: float = CHECK_INTERVAL_S) -> Iterator[None]:
        """Check periodically, in a thread, while the block runs; at once if there was no check yet."""
        ended = threading.Event()

        def work() -> None:
            while not ended.wait(every_s if self.cluster else 0.0):
                try:
                    self.check()
                except KafkaError as error:
                    log.debug("The topics cannot be described (%s); asking again.", error)
                    ended.wait(min(every_s, AWAY_S))

        threading.Thread(target=work, name="phonemeter-preconditions", daemon=True).start()
        try:
            yield
        finally:
            ended.set()
