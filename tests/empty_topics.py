"""The topics on a broker that tests share, empty before each of them."""

from collections.abc import Mapping

from kafka import KafkaAdminClient, TopicPartition
from kafka.admin import OffsetSpec

from kafka_access.access import KafkaAccess
from metering.preconditions import FoundTopic
from metering.topics import ALL, NOTIFIER_GROUP, REPARTITION_GROUP, RESTORE_GROUP, SINK_GROUP, WORKER_GROUP
from phonemeter.kafka_admin import admin
from phonemeter.stack.kafka.topics import ensure_topics
from sinks.preconditions import found_topics
from tests.groups import remove_members
from tests.waiting import blocking_until


class EmptyTopics:
    """The topics of one broker.

    A topic that nothing was written to is as good as a new one. All of them take half a second of a processor
    to delete and create, and most tests write to one or two.
    """

    def __init__(self) -> None:
        self._new: dict[int, Mapping[str, FoundTopic]] = {}
        """The topics as they are when created, by their number of partitions."""
        self._process: int | None = None
        """Process of the broker when they were last looked after: its restart leaves traces in each."""

    def renew(self, bootstrap: str, partitions: int, process: int | None) -> None:
        """Delete and create every topic that is not as a new one is, and delete phonemeter's groups."""
        with admin(KafkaAccess(bootstrap)) as client:
            untouched = self._untouched(client, partitions) if process == self._process else set()
            stale = {topic.name for topic in ALL} - untouched
            if stale:
                client.delete_topics(list(stale), raise_errors=False)
                blocking_until(lambda: not stale & set(client.list_topics()))
            _delete_groups(client)
            if stale:
                ensure_topics(KafkaAccess(bootstrap), partitions)
            if partitions not in self._new:
                self._new[partitions] = found_topics(client)
        self._process = process

    def _untouched(self, client: KafkaAdminClient, partitions: int) -> set[str]:
        new = self._new.get(partitions, {})
        same = {name for name, topic in found_topics(client).items() if topic == new.get(name)}
        asked = [TopicPartition(name, number) for name in same for number in range(partitions)]
        ends = client.list_partition_offsets(dict.fromkeys(asked, OffsetSpec.LATEST)) if asked else {}
        return same - {partition.topic for partition, end in ends.items() if end.offset}


def _delete_groups(client: KafkaAdminClient) -> None:
    ours = {WORKER_GROUP, SINK_GROUP, NOTIFIER_GROUP, REPARTITION_GROUP, RESTORE_GROUP}
    for group in {group["group_id"] for group in client.list_groups()} & ours:
        # A group that has members cannot be deleted.
        remove_members(client, group)
        client.delete_groups([group])
