"""The topics' descriptions that `metering.preconditions` judges, before the worker joins and as it runs."""

import asyncio
import logging
from collections.abc import Callable, Collection
from functools import partial
from typing import Any, Final

from confluent_kafka import KafkaError, KafkaException, TopicCollection
from confluent_kafka.admin._config import ConfigResource
from confluent_kafka.admin._resource import ResourceType
from mode import Service
from tenacity import AsyncRetrying, RetryCallState, retry_if_exception_type, wait_exponential_jitter

from kafka_access.access import KafkaAccess, KafkaAccessError
from kafka_access.connection_steps import require_access
from metering.preconditions import (
    ALL_TOPICS,
    CHECK_INTERVAL_S,
    WORKER_TOPICS,
    Breach,
    BreachLog,
    BrokerView,
    FoundTopic,
)
from streams.admin_client import TIMEOUT_S, admin_client, error_text

logger = logging.getLogger(__name__)

EXIT_REFUSED: Final = 2
"""The exit status that tells a supervisor that a restart does not help."""

RETRY_WAIT_MAX_S: Final = 5.0

_PASSING: Final = (KafkaAccessError, KafkaException, TimeoutError)

_NOT_AUTHORIZED: Final = (KafkaError.TOPIC_AUTHORIZATION_FAILED, KafkaError.CLUSTER_AUTHORIZATION_FAILED)


def ask(kafka: KafkaAccess, wanted: Collection[str] = ALL_TOPICS) -> BrokerView:
    """Ask the brokers to describe those topics of phonemeter that exist. Blocking.

    Raises:
        KafkaAccessError: no broker lets us in.
        KafkaException: the brokers do not answer.
    """
    # It says why, and at once; librdkafka tries on.
    require_access(kafka)
    client = admin_client(kafka, "phonemeter-worker-preconditions")
    names = [kafka.topic(topic) for topic in wanted]
    found = {}
    for name, described in client.describe_topics(TopicCollection(names), request_timeout=TIMEOUT_S).items():
        topic = _answer(described, KafkaError.UNKNOWN_TOPIC_OR_PART)
        if topic is not None:
            replicas = min(len(partition.replicas) for partition in topic.partitions)
            found[name] = FoundTopic(len(topic.partitions), replicas, None)
    resources = [ConfigResource(ResourceType.TOPIC, name) for name in found]
    asked = client.describe_configs(resources, request_timeout=TIMEOUT_S) if resources else {}
    configs = {resource.name: _answer(config, *_NOT_AUTHORIZED) for resource, config in asked.items()}
    topics = {
        kafka.known(name): FoundTopic(
            topic.partitions,
            topic.replicas,
            {key: entry.value for key, entry in config.items()} if (config := configs[name]) else None,
        )
        for name, topic in found.items()
    }
    cluster = _answer(client.describe_cluster(request_timeout=TIMEOUT_S)).cluster_id
    return BrokerView(topics, cluster, kafka.demands)


class Preconditions(Service):
    """Delays the start of the worker until its topics are as it needs them, and checks them while it runs.

    Attributes:
        checked: the start was allowed.
        waiting: the reason why Kafka could not be asked yet.
        breaches: found by the last check.
        cluster: the id of the Kafka cluster; empty before the first check.
    """

    def __init__(self, look: Callable[[], BrokerView], every_s: float = CHECK_INTERVAL_S) -> None:
        super().__init__()
        self._look = look
        self._every_s = every_s
        self._breach_log = BreachLog()
        self.checked = False
        self.waiting = ""
        self.breaches: tuple[Breach, ...] = ()
        self.cluster = ""

    async def on_start(self) -> None:
        """Wait until Kafka answers, and refuse topics on which the worker would meter wrongly.

        Raises:
            SystemExit: the worker must not start.
        """
        async for attempt in AsyncRetrying(
            wait=wait_exponential_jitter(multiplier=0.2, max=RETRY_WAIT_MAX_S),
            retry=retry_if_exception_type(_PASSING),
            before_sleep=self._log_retry,
        ):
            with attempt:
                await self._check()
        refused = [one.sentence for one in self.breaches if one.weight == "refused"]
        if refused:
            logger.critical("the worker stops: %s", " ".join(refused))
            raise SystemExit(EXIT_REFUSED)
        self.checked = True
        self.waiting = ""

    @Service.task
    async def _check_regularly(self) -> None:
        while not self.should_stop:
            await self.sleep(self._every_s)
            try:
                await self._check()
            except _PASSING as error:
                logger.debug("the topics cannot be described now (%s); trying again", _error_text(error))

    async def _check(self) -> None:
        view = await asyncio.to_thread(self._look)
        self.cluster, self.breaches = view.cluster, view.breaches(WORKER_TOPICS)
        for one in self._breach_log.due(self.breaches):
            logger.log(logging.WARNING if one.weight == "advice" else logging.ERROR, "%s", one.sentence)

    def _log_retry(self, attempt: RetryCallState) -> None:
        error = attempt.outcome.exception() if attempt.outcome else None
        refused = _is_denied(error) or (isinstance(error, KafkaAccessError) and not error.unreachable)
        self.waiting = (
            str(error) if refused else f"Kafka does not answer: {_error_text(error or Exception())}"
        )
        logger.warning("%s; trying again, attempt %d", self.waiting, attempt.attempt_number + 1)


def create(kafka: KafkaAccess) -> Preconditions:
    """Create the preconditions of a worker on these brokers."""
    return Preconditions(partial(ask, kafka))


def _answer(asked: Any, *absent: int) -> Any:  # noqa: ANN401 - futures of several kinds of answers
    try:
        return asked.result(timeout=2 * TIMEOUT_S)
    except KafkaException as error:
        if error.args[0].code() in absent:
            return None
        raise


def _is_denied(error: BaseException | None) -> bool:
    return isinstance(error, KafkaException) and error.args[0].code() in _NOT_AUTHORIZED


def _error_text(error: BaseException) -> str:
    if _is_denied(error):
        return "Kafka does not let this account describe the topics; `phonemeter doctor` says what to ask for"
    return error_text(error.args[0]) if isinstance(error, KafkaException) else str(error)
