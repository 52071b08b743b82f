"""Copies of topics into a backup: logs piece by piece, compacted topics whole."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final, NamedTuple

import msgspec

from metering.log_identity import FoundRecord, Mark, PartitionView, difference, fingerprint
from metering.records import Record
from metering.rules import Terms
from metering.topics import DELIVERIES, EVENTS, STATE
from phonemeter.backup.block_file import BlockWriter, FilePart
from phonemeter.backup.directory import SUFFIX
from phonemeter.backup.manifest import MeteredPart, PartitionPart
from phonemeter.errors import OperationError, UserError
from phonemeter.topic_reader import OffsetSpan, TopicReader
from streams.state_log import StateDamagedError, StateRecord
from streams.state_snapshot import detached_checkpoint

FILE_BYTES: Final = 64 * 2**20
"""Bytes of records after which a file ends; a backup that was broken off goes on behind its last file."""

STATE_READS_MAX: Final = 5
"""Reads of a state that is compacted meanwhile, so that items of its checkpoint may be missing."""

ShowCopied = Callable[[int], None]
"""Called with a number of records that were copied."""


class CopiedState(NamedTuple):
    """The copied checkpoint of a partition, and how far it has metered the log; None without a checkpoint."""

    part: PartitionPart
    metered: MeteredPart | None


class TopicCopier:
    """Copies partitions into files below `root`. `number` is that of the backup."""

    def __init__(self, reader: TopicReader, root: Path, number: int, show: ShowCopied) -> None:
        self._reader = reader
        self._root = root
        self._number = number
        self._show = show

    def continued(
        self, topic: str, topic_id: str, before: PartitionPart | None, span: OffsetSpan, partition: int
    ) -> PartitionPart:
        """The part of an earlier backup to go on from, once it is known to be of the same log.

        Raises:
            UserError: it is of another one.
        """
        fresh = PartitionPart(partition, span.begin, span.begin, Mark(topic_id))
        if before is None or (topic != EVENTS and span.begin != before.begin):
            # Its head was deleted on purpose, as a new ledger is begun: the old one would contradict it.
            return fresh
        found = self._record_at(topic, partition, before.mark.offset, span)
        view = PartitionView(topic_id, span.begin, span.end, found)
        differs = difference(before.mark, before.end, view)
        if differs:
            raise UserError(
                f"{topic} partition {partition} is not the log that {self._root} has a backup of: {differs}; "
                f"name another directory."
            )
        return before

    def log(self, topic: str, part: PartitionPart, end: int) -> Iterator[PartitionPart]:
        """Copy the records from the end of a part on; yields the part after each file that is on disk."""
        while part.end < end:
            part = self._next_file(topic, part, end)
            yield part

    def deliveries(self, partition: int, span: OffsetSpan) -> PartitionPart:
        """Copy the deliveries as they are, numbered from 0, as compaction leaves gaps that mean nothing."""
        place = 0
        with self._snapshot_writer(DELIVERIES, partition) as writer:
            for batch in self._reader.batches(DELIVERIES, partition, span):
                numbered = [
                    msgspec.structs.replace(record, offset=at) for at, record in enumerate(batch, place)
                ]
                place += len(numbered)
                writer.add_records(numbered)
                self._show(len(numbered))
            return PartitionPart(partition, 0, place, Mark(), (writer.finish(place),))

    def state(self, partition: int) -> CopiedState:
        """Copy the newest checkpoint, numbered from 0.

        Raises:
            OperationError: it is damaged.
        """
        reads = 0
        while True:
            span = self._reader.spans(STATE)[partition]
            batches = self._reader.batches(STATE, partition, span)
            stored = (
                StateRecord(one.key, one.value) for batch in batches for one in batch if one.key is not None
            )
            try:
                checkpoint = detached_checkpoint(partition, stored)
                break
            except StateDamagedError as error:
                reads += 1
                if reads == STATE_READS_MAX:
                    raise OperationError(f"The state cannot be copied: {error}.") from None
        now_ms = int(time.time() * 1_000)
        records = [Record(at, now_ms, *record) for at, record in enumerate(checkpoint.records)]
        with self._snapshot_writer(STATE, partition) as writer:
            writer.add_records(records)
            self._show(len(records))
            part = PartitionPart(partition, 0, len(records), Mark(), (writer.finish(len(records)),))
        terms: Terms | None = checkpoint.terms
        return CopiedState(part, None if terms is None else MeteredPart(checkpoint.next_offset, terms))

    def _next_file(self, topic: str, part: PartitionPart, end: int) -> PartitionPart:
        name = f"{topic}/{part.partition}/{part.end:020}{SUFFIX}"
        newest: Record | None = None
        at = part.end
        with BlockWriter(self._root, name, part.end) as writer:
            for batch in self._reader.batches(topic, part.partition, OffsetSpan(part.end, end)):
                writer.add_records(batch)
                self._show(batch.end - at)
                newest, at = batch[-1] if batch else newest, batch.end
                if writer.raw_bytes >= FILE_BYTES:
                    break
            file: FilePart = writer.finish(at)
        mark = part.mark if newest is None else _mark_of(part.mark.topic_id, newest)
        return msgspec.structs.replace(part, end=at, mark=mark, files=(*part.files, file))

    def _record_at(self, topic: str, partition: int, offset: int, span: OffsetSpan) -> FoundRecord | None:
        if not span.begin <= offset < span.end:
            return None
        one = self._reader.record_at(topic, partition, offset)
        return None if one is None else FoundRecord(fingerprint(one.key, one.value, one.recorded_at_ms))

    def _snapshot_writer(self, topic: str, partition: int) -> BlockWriter:
        return BlockWriter(self._root, f"{topic}/{partition}/backup-{self._number:06}{SUFFIX}")


def _mark_of(topic_id: str, newest: Record) -> Mark:
    return Mark(topic_id, newest.offset, fingerprint(newest.key, newest.value, newest.recorded_at_ms))
