"""A commit in a group's name, as if its service had read so far."""

from kafka import KafkaConsumer, TopicPartition
from kafka.errors import CommitFailedError
from kafka.structs import OffsetAndMetadata
from tenacity import retry, retry_if_exception_type, stop_after_delay, wait_fixed

from tests.waiting import WITHIN_S


# A service that was killed is a member until its session has run out.
@retry(
    retry=retry_if_exception_type(CommitFailedError),
    stop=stop_after_delay(WITHIN_S),
    wait=wait_fixed(0.5),
    reraise=True,
)
def commit_as(group: str, kafka: str, topic: str, offset: int, metadata: str = "") -> None:
    """Commit an offset of partition 0 for a group."""
    consumer = KafkaConsumer(bootstrap_servers=kafka, group_id=group, enable_auto_commit=False)
    try:
        at = TopicPartition(topic, 0)
        consumer.assign([at])
        consumer.commit({at: OffsetAndMetadata(offset, metadata, -1)})
    finally:
        consumer.close(autocommit=False)
