"""The placement of an app's records: the partition of their key by Kafka's default partitioner.

State is kept per partition. A client with another partitioner would split an app over two partitions, so
records in a wrong partition are rejected.
"""

import struct
from functools import lru_cache
from typing import Final, NamedTuple

_WORD: Final = struct.Struct("<I")
_SEED: Final = 0x9747B28C
_FACTOR: Final = 0x5BD1E995
_32_BITS: Final = 0xFFFFFFFF
_31_BITS: Final = 0x7FFFFFFF


class PartitionIndex(NamedTuple):
    """A partition and the number of partitions of its topic; with 0, as offline, every key belongs to it."""

    partition: int = 0
    partitions: int = 0

    def has(self, key: bytes) -> bool:
        """Return whether the records of a key belong to this partition."""
        return not self.partitions or partition_of(key, self.partitions) == self.partition


ANYWHERE: Final = PartitionIndex()


@lru_cache(maxsize=65_536)
def partition_of(key: bytes, partitions: int) -> int:
    """The partition of a key, from 0; cached, because hashing takes microseconds."""
    return (murmur2(key) & _31_BITS) % partitions


def murmur2(key: bytes) -> int:
    """The 32-bit MurmurHash2 by Austin Appleby, with the seed that Kafka uses."""
    mixed = _SEED ^ len(key)
    whole = len(key) & ~3
    for (word,) in _WORD.iter_unpack(key[:whole]):
        scrambled = word * _FACTOR & _32_BITS
        scrambled ^= scrambled >> 24
        mixed = (mixed * _FACTOR ^ scrambled * _FACTOR) & _32_BITS
    if whole < len(key):
        mixed = (mixed ^ int.from_bytes(key[whole:], "little")) * _FACTOR & _32_BITS
    mixed = (mixed ^ mixed >> 13) * _FACTOR & _32_BITS
    return mixed ^ mixed >> 15
