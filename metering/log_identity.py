"""The identity of a log: an offset alone also fits a topic that was created anew or was truncated.

A position is stored with a `Mark`, which is compared with the log at every start and while reading. A
difference is reported in one sentence, and reading stops.
"""

from dataclasses import dataclass

from msgspec import Struct
from xxhash import xxh3_64_intdigest

NO_EPOCH = -1
NO_OFFSET = -1


class Mark(Struct, frozen=True, array_like=True):
    """The identity of a log up to the newest record that was read. Unknown fields have their defaults.

    Attributes:
        topic_id: id of the topic, as text; a topic that is created anew has another one.
        offset: offset of the newest record that was read.
        fingerprint: of that record.
        leader_epoch: of that record; after a truncation, offsets are written again in a later epoch.
    """

    topic_id: str = ""
    offset: int = NO_OFFSET
    fingerprint: int = 0
    leader_epoch: int = NO_EPOCH


@dataclass(frozen=True, slots=True)
class FoundRecord:
    """The record that is now in the log at the offset of a mark."""

    fingerprint: int
    leader_epoch: int = NO_EPOCH


@dataclass(frozen=True, slots=True)
class PartitionView:
    """The state of a partition on the broker.

    Attributes:
        topic_id: id of the topic, as text; empty if unknown.
        begin: offset of its first record.
        end: its high watermark, open transactions included.
        found: the record at the offset of the mark; None if there is none.
        looked: True if the record was fetched.
    """

    topic_id: str
    begin: int
    end: int
    found: FoundRecord | None = None
    looked: bool = True


def fingerprint(key: bytes | None, value: bytes | None, recorded_at_ms: int | None) -> int:
    """The 64-bit unsigned hash of a record."""
    seed = xxh3_64_intdigest(key or b"", (recorded_at_ms or 0) & 0xFFFFFFFFFFFFFFFF)
    return xxh3_64_intdigest(value or b"", seed)


def difference(mark: Mark, next_offset: int, view: PartitionView, *, compacted: bool = False) -> str:
    """The difference between a log and the one that was read up to an offset, as a sentence; empty if none.

    Args:
        mark: of the log that was read.
        next_offset: the next offset to read; between the mark and it were no records.
        view: the log as it is now.
        compacted: True if the topic is compacted, so that the record may be gone.
    """
    if mark.topic_id and view.topic_id and mark.topic_id != view.topic_id:
        return f"the topic was recreated (its id was {mark.topic_id} and is {view.topic_id})"
    if view.end < next_offset:
        return (
            f"it ends at offset {view.end}, but was read up to {next_offset}: its end was lost, as in an "
            "unclean election, or the topic was recreated"
        )
    if view.begin > next_offset:
        return (
            f"it begins at offset {view.begin}, but {next_offset} is next: what was not read yet was deleted"
        )
    if view.looked and mark.offset >= view.begin:
        return _difference_of_records(mark, view.found, compacted=compacted)
    return ""


def _difference_of_records(mark: Mark, found: FoundRecord | None, *, compacted: bool) -> str:
    if found is None:
        return (
            "" if compacted else f"at offset {mark.offset} it has no record any more, but one was read there"
        )
    in_epochs = _in_epochs(mark.leader_epoch, found.leader_epoch)
    if found.fingerprint != mark.fingerprint:
        return f"at offset {mark.offset} it has another record than was read there{in_epochs}"
    return f"its record at offset {mark.offset} was written anew{in_epochs}" if in_epochs else ""


def refusal(topic: str, partition: int, differs: str, way_out: str) -> str:
    """The sentence with which reading stops: the result of `difference`, then the remedy, a clause."""
    return f"{topic} partition {partition} is not the log that was read before: {differs}; {way_out}"


def _in_epochs(was: int, is_now: int) -> str:
    return (
        f" (leader epoch {was} then, {is_now} now)" if was != is_now and NO_EPOCH not in {was, is_now} else ""
    )
