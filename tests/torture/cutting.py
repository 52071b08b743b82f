"""The loss of an unclean election, on one broker: the end of a partition's files is cut off.

In such an election a replica without the end becomes the leader, and acknowledged records are lost. For a
client it is the same: the log is shorter, and its leader epoch has risen.
"""

import struct
from pathlib import Path
from typing import Final

_HEAD: Final = struct.Struct(">qi")
"""The head of a record batch: its first offset, and the number of bytes that follow."""


def cut(data: Path, topic: str, partition: int, share: float) -> int:
    """Cut off the last batches of a partition while its broker is down; returns where it ends now.

    `share` is that of the newest segment's batches; at least one is cut off.
    """
    folder = data / f"{topic}-{partition}"
    segment = max(folder.glob("*.log"))
    batches = _batches(segment.read_bytes())
    place, end = batches[max(1, int(len(batches) * (1 - share))) if len(batches) > 1 else 0]
    with segment.open("r+b") as file:
        file.truncate(place)
    for leftover in folder.iterdir():
        # Indexes and snapshots are outdated; the broker rebuilds them.
        if leftover.suffix in {".index", ".timeindex", ".txnindex", ".snapshot"}:
            leftover.unlink()
    (data / ".kafka_cleanshutdown").unlink(missing_ok=True)
    return end


def _batches(content: bytes) -> list[tuple[int, int]]:
    """The positions of batches in the file, each with its offset."""
    found = []
    place = 0
    while place + _HEAD.size <= len(content):
        offset, size = _HEAD.unpack_from(content, place)
        if size <= 0:
            # Preallocated space behind the last batch.
            break
        found.append((place, offset))
        place += _HEAD.size + size
    return found
