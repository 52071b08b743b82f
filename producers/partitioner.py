"""The partitioner of keyed records: murmur2, the default of the Java client."""

from kafka.cluster import ClusterMetadata
from kafka.partitioner import Partitioner

from metering.placement import partition_of


class KeyPartitioner(Partitioner):  # type: ignore[misc] # kafka-python has no types
    """Murmur2 of the key, remembered per key, because the hash is costly in Python."""

    def partition(
        self,
        topic: str,
        key: object,
        serialized_key: bytes,
        value: object,
        serialized_value: bytes,
        cluster: ClusterMetadata,
    ) -> int:
        """Return the partition of a key; kafka-python calls this."""
        del key, value, serialized_value
        return partition_of(serialized_key, len(cluster.partitions_for_topic(topic)))
