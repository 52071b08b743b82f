"""The partition of an app: Kafka's default for keyed records, the same as from any other client."""

from functools import lru_cache

from kafka.cluster import ClusterMetadata
from kafka.partitioner import Partitioner
from kafka.partitioner.default import murmur2


class KeyPartitioner(Partitioner):  # type: ignore[misc] # kafka-python has no types
    """The Java client's default, murmur2 of the key, remembered per key: in Python the hash is costly."""

    def partition(
        self,
        topic: str,
        key: object,
        serialized_key: bytes,
        value: object,
        serialized_value: bytes,
        cluster: ClusterMetadata,
    ) -> int:
        """The partition of a key, as kafka-python asks for it."""
        del key, value, serialized_value
        return partition_of(serialized_key, len(cluster.partitions_for_topic(topic)))


@lru_cache(maxsize=65_536)
def partition_of(key: bytes, partitions: int) -> int:
    """The partition, counted from 0, of a key among so many."""
    return int(murmur2(key) & 0x7FFFFFFF) % partitions
