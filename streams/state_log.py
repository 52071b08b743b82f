"""The stored state of a partition: checkpoints in a compacted topic, each read whole or not at all.

A batch changes several items, but Kafka writes one record at a time. So each item has two slots (two record
keys) that take turns: a checkpoint writes the changed items into the slots that do not hold their valid
versions, and then the header, which names the checkpoint by the next offset of the log. A reader takes the
header, and of each item the newest version that is not newer than the header. Items without their header are
ignored.

Zombies are fenced off by epochs. Every takeover of a partition begins an epoch, and slots and headers belong
to an epoch. So a record of a zombie that is still in flight never overwrites a record of its successor,
neither in the topic nor through compaction. The first record of a takeover is its fence: a header in the new
epoch for the checkpoint that was found. Before each checkpoint a worker asks the consumer group whether it is
still a member. So the next owner finds the fence and all checkpoints but one that may still be in flight, and
that one overwrites nothing that was found.

The newest epoch with a checkpoint of its own is valid. An epoch that has only a fence is valid if no older
epoch got further. So neither a late fence nor a late header of a zombie undoes a checkpoint of its successor.
A header also lists the last epochs that it builds on, with the offset at which each began. In an older epoch,
versions beyond the beginning of the next one are invalid, however late they arrive, and so are all versions
of an epoch that nothing was built on.

The header carries a fingerprint of all valid versions, which detects a state with a missing item.
"""

import struct
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cache, partial
from typing import Final, NamedTuple

import msgspec
from msgspec import Struct
from xxhash import xxh3_64_intdigest

from metering.log_identity import Mark
from metering.partition_state import PartitionState
from metering.rules import Terms
from metering.state_items import StateHeader, header_of, restore

_HEADER: Final = "header"
HEADER_PREFIX: Final = b"header#"
"""The prefix of the record keys of headers; their epoch follows."""

_VERSION: Final = struct.Struct("<Q?")
FORMAT: Final = 8
"""The format of items and headers; a state in another format is not read but rebuilt."""

_EPOCHS_MAX: Final = 16
"""Epochs that a header lists; no record stays in flight for longer than so many takeovers."""


_GENERATIONS: Final = 1 << 32
"""More generations than a group can have: Kafka counts them in 31 bits."""

_NO_VERSION: Final = -1


class StateRecord(NamedTuple):
    """A record of the state topic; with a value of None compaction removes the key."""

    key: bytes
    value: bytes | None


class ItemVersion(NamedTuple):
    """A version of an item: epoch and slot of its record, and the offset that it is valid for."""

    epoch: int
    version: int
    slot: int


class StateDamagedError(Exception):
    """The stored state of a partition is not what its header says; metering with it would be wrong."""


class _StoredHeader(Struct, frozen=True, array_like=True):
    header: StateHeader
    items: int
    fingerprint: int
    epochs: tuple[tuple[int, int], ...] = ()
    partitions: int = 0
    format: int = 0
    terms: Terms | None = None
    mark: Mark = Mark()


@dataclass(frozen=True, slots=True)
class CheckpointRecords:
    """The records of one checkpoint: `items` first, and `header` once they are acknowledged.

    Attributes:
        items: what changed, and deletions of obsolete keys.
        header: makes the checkpoint valid.
        after: the layout of the state topic once all of them are stored.
    """

    items: tuple[StateRecord, ...]
    header: StateRecord
    after: "StateLayout"


@dataclass(frozen=True, slots=True)
class StateLayout:
    """The layout of the newest checkpoint in the state topic: the valid version of each item.

    Attributes:
        epoch: of the worker that owns the partition, larger than every earlier one.
        versions: by item key.
        obsolete_keys: record keys without a valid version, in the order in which the next checkpoint deletes
            them.
        fingerprint: of all items and their versions, independent of order.
        removals: the records by which the newest checkpoint removed items; their keys are obsolete.
        next_offset: of the newest checkpoint.
        epochs: the last epochs that this one builds on and itself, oldest first, each with the next offset of
            the checkpoint that it began from.
        partitions: of the log, which decide where an app's records are; 0 if unknown.
        terms: that the log is metered by; None if unknown.
        mark: of the log at the newest checkpoint.
    """

    epoch: int = 0
    versions: Mapping[str, ItemVersion] = field(default_factory=dict)
    obsolete_keys: tuple[bytes, ...] = ()
    fingerprint: int = 0
    removals: Mapping[str, ItemVersion] = field(default_factory=dict)
    next_offset: int = 0
    epochs: tuple[tuple[int, int], ...] = ()
    partitions: int = 0
    terms: Terms | None = None
    mark: Mark = field(default_factory=Mark)

    def begin_epoch(self, generation: int) -> "StateLayout":
        """The layout for the worker that a generation of the consumer group assigns the partition to.

        The upper half of an epoch's number counts takeovers; the lower half is the generation, in which one
        worker owns the partition. So two workers that do not know of each other never share an epoch, and
        the later one has the larger number.
        """
        epoch = (self.epoch // _GENERATIONS + 1) * _GENERATIONS + generation
        return replace(self, epoch=epoch, epochs=(*self.epochs, (epoch, self.next_offset))[-_EPOCHS_MAX:])

    def checkpoint(self, state: PartitionState, changes: Mapping[str, bytes | None]) -> CheckpointRecords:
        """Lay out the checkpoint that brings the stored state to `state`, given what changed."""
        records: list[StateRecord] = []
        obsolete_keys: list[bytes] = []
        removals: dict[str, ItemVersion] = {}
        versions = dict(self.versions)
        fingerprint = self.fingerprint
        version = state.next_offset
        slots = ItemVersion(self.epoch, version, 0), ItemVersion(self.epoch, version, 1)
        kept, removed = (_VERSION.pack(version, is_removed) for is_removed in (False, True))
        for key, value in changes.items():
            before = versions.get(key)
            # A removal is kept until this checkpoint is whole, like a version.
            now = slots[self._free_slot(before or self.removals.get(key))]
            record_key = _record_key(key, now)
            if before is not None:
                old_key = _record_key(key, before)
                fingerprint ^= _item_fingerprint(old_key, before.version)
                if before.epoch != self.epoch or value is None:
                    obsolete_keys.append(old_key)
            if value is not None:
                records.append(StateRecord(record_key, kept + value))
                versions[key] = now
                fingerprint ^= _item_fingerprint(record_key, version)
            else:
                records.append(StateRecord(record_key, removed))
                versions.pop(key, None)
                removals[key] = now
                obsolete_keys.append(record_key)
        still_obsolete = self._not_overwritten_by(records)
        if self._at_epoch_start():
            # Nothing is deleted before this epoch has a checkpoint of its own: until then a header of an
            # older epoch may turn out to be the valid one.
            obsolete_keys = still_obsolete + obsolete_keys
        else:
            records += [StateRecord(key, None) for key in still_obsolete]
        after = replace(
            self,
            versions=versions,
            obsolete_keys=tuple(obsolete_keys),
            fingerprint=fingerprint,
            removals=removals,
            next_offset=state.next_offset,
        )
        return CheckpointRecords(tuple(records), after.header(state), after)

    def _not_overwritten_by(self, records: Iterable[StateRecord]) -> list[bytes]:
        if not self.obsolete_keys:
            return []
        written = {record.key for record in records}
        return [key for key in self.obsolete_keys if key not in written]

    def _at_epoch_start(self) -> bool:
        return bool(self.epochs) and self.epochs[-1] == (self.epoch, self.next_offset)

    def header(self, state: PartitionState) -> StateRecord:
        """The record that makes `state` in this layout valid; a fence if an older epoch stored it."""
        header = _StoredHeader(
            header_of(state),
            len(self.versions),
            self.fingerprint,
            self.epochs,
            self.partitions,
            FORMAT,
            self.terms,
            self.mark,
        )
        return StateRecord(f"{_HEADER}#{self.epoch}".encode(), msgspec.msgpack.encode(header))

    def _free_slot(self, before: ItemVersion | None) -> int:
        return 1 - before.slot if before is not None and before.epoch == self.epoch else 0


class LogSummary(NamedTuple):
    """The facts about the log in a header: its terms, next offset, clock tick, mark and horizon."""

    terms: Terms
    next_offset: int
    tick_ms: int
    mark: Mark = Mark()
    horizon_ms: int = 0


def log_summary(record: StateRecord) -> LogSummary | None:
    """Read the facts about the log from a header; None for other records and headers of older formats."""
    if record.value is None or not record.key.startswith(HEADER_PREFIX):
        return None
    stored = msgspec.msgpack.decode(record.value, type=_StoredHeader)
    header = stored.header
    if stored.terms is None:
        return None
    return LogSummary(stored.terms, header.next_offset, header.tick_ms, stored.mark, header.horizon_ms)


class _StoredItem(NamedTuple):
    version: ItemVersion
    removed: bool
    value: bytes


class StateReader:
    """Collects the records of one partition of the state topic and returns its newest checkpoint."""

    def __init__(self, partition: int) -> None:
        self._partition = partition
        self._records: dict[bytes, bytes] = {}

    def add(self, records: Iterable[StateRecord]) -> None:
        """Take records in the order of the topic."""
        for key, value in records:
            if value is None:
                self._records.pop(key, None)
            else:
                self._records[key] = value

    def newest(self) -> tuple[PartitionState, StateLayout]:
        """The newest checkpoint; an empty state if nothing was ever stored. To be called once.

        Raises:
            StateDamagedError: items are missing or of other versions than the header lists, or the format is
                another one.
        """
        headers, items = self._decode()
        if not headers:
            empty = StateLayout(self._newest_epoch(), obsolete_keys=tuple(self._records))
            return PartitionState(self._partition), empty
        epoch = _valid_epoch(headers, items)
        stored = headers[epoch]
        if stored.format > FORMAT:
            raise StateDamagedError(
                f"the stored state of partition {self._partition} has format {stored.format}, which a newer "
                f"version wrote; this one reads format {FORMAT}: start the newer one"
            )
        if stored.format != FORMAT:
            raise StateDamagedError(
                f"the stored state of partition {self._partition} has format {stored.format}, but this "
                f"version reads format {FORMAT}; `phonemeter replay --confirm` rebuilds it from the log "
                "of events"
            )
        valid = _valid_items(items, epoch, stored)
        kept, fingerprint = _kept(valid)
        if (len(kept), fingerprint) != (stored.items, stored.fingerprint):
            raise StateDamagedError(
                f"the stored state of partition {self._partition} is damaged: {len(kept)} of "
                f"{stored.items} items of the checkpoint at {stored.header.next_offset} were found whole; "
                "`phonemeter replay --confirm` rebuilds it from the log of events"
            )
        state = restore(self._partition, stored.header, {key: item.value for key, item in kept.items()})
        layout = StateLayout(
            epoch=self._newest_epoch(),
            versions={key: item.version for key, item in kept.items()},
            obsolete_keys=self._obsolete_keys(valid),
            fingerprint=fingerprint,
            next_offset=stored.header.next_offset,
            epochs=stored.epochs,
            partitions=stored.partitions,
            terms=stored.terms,
            mark=stored.mark,
        )
        return state, layout

    def _decode(self) -> tuple[dict[int, _StoredHeader], dict[str, list[_StoredItem]]]:
        headers: dict[int, _StoredHeader] = {}
        items: dict[str, list[_StoredItem]] = {}
        for record_key, value in self._records.items():
            # The keys are needed later; the values of a large state must not be in memory twice.
            self._records[record_key] = b""
            key, _, place = record_key.decode().rpartition("#")
            if key == _HEADER:
                headers[int(place)] = msgspec.msgpack.decode(value, type=_StoredHeader)
            else:
                epoch, _, slot = place.partition(".")
                offset, removed = _VERSION.unpack_from(value)
                version = ItemVersion(int(epoch), offset, int(slot))
                items.setdefault(key, []).append(_StoredItem(version, removed, value[_VERSION.size :]))
        return headers, items

    def _newest_epoch(self) -> int:
        """The newest epoch of any record, with or without a header."""
        return max((_epoch_of(key) for key in self._records), default=0)

    def _obsolete_keys(self, valid: Mapping[str, _StoredItem]) -> tuple[bytes, ...]:
        """All keys without a valid version; removals come last, so that no older version becomes valid again.

        Headers are among them: the fence of a new epoch is written before any of them is deleted.
        """
        needed = {_record_key(key, item.version) for key, item in valid.items()}
        removals = [_record_key(key, item.version) for key, item in valid.items() if item.removed]
        return (*(key for key in self._records if key not in needed), *removals)


def _valid_epoch(headers: Mapping[int, _StoredHeader], items: Mapping[str, Iterable[_StoredItem]]) -> int:
    """The newest epoch with a checkpoint of its own, or a newer one whose fence is for that checkpoint.

    A fence of a zombie may be for a late checkpoint that its successor has deleted as obsolete. It is passed
    over then: the successor's own checkpoint is whole, and gives the same ledger again.
    """

    def is_fence(epoch: int) -> bool:
        header = headers[epoch]
        return header.epochs[-1:] == ((epoch, header.header.next_offset),)

    own = max((epoch for epoch in headers if not is_fence(epoch)), default=-1)
    reached = headers[own].header.next_offset if own >= 0 else 0
    fences = [epoch for epoch in headers if epoch > own and headers[epoch].header.next_offset >= reached]
    newest = max(fences, default=own)
    if newest == own or own < 0 or _is_whole(items, newest, headers[newest]):
        return newest
    return own if _is_whole(items, own, headers[own]) else newest


def _is_whole(items: Mapping[str, Iterable[_StoredItem]], epoch: int, stored: _StoredHeader) -> bool:
    """Return whether all items of a checkpoint are there."""
    if stored.format != FORMAT:
        return False
    kept, fingerprint = _kept(_valid_items(items, epoch, stored))
    return (len(kept), fingerprint) == (stored.items, stored.fingerprint)


def _kept(valid: Mapping[str, _StoredItem]) -> tuple[dict[str, _StoredItem], int]:
    """The valid items that are not removed, and their fingerprint."""
    kept = {key: item for key, item in valid.items() if not item.removed}
    fingerprint = 0
    for key, item in kept.items():
        fingerprint ^= _item_fingerprint(_record_key(key, item.version), item.version.version)
    return kept, fingerprint


def _valid_items(
    items: Mapping[str, Iterable[_StoredItem]], epoch: int, stored: _StoredHeader
) -> dict[str, _StoredItem]:
    newest_version = cache(partial(_newest_version, stored))
    valid: dict[str, _StoredItem] = {}
    for key, candidates in items.items():
        whole = [
            candidate
            for candidate in candidates
            if candidate.version.epoch <= epoch
            and candidate.version.version <= newest_version(candidate.version.epoch)
        ]
        if whole:
            valid[key] = max(whole, key=lambda candidate: candidate.version)
    return valid


def _newest_version(stored: _StoredHeader, epoch: int) -> int:
    """The newest valid version of an epoch: the beginning of the next one, or the header's own offset.

    An epoch that the header does not list has none: it came to no checkpoint, and the next takeover began
    from an older epoch's.
    """
    listed = [number for number, _ in stored.epochs]
    if listed and epoch > listed[0] and epoch not in listed:
        return _NO_VERSION
    return next((begin for number, begin in stored.epochs if number > epoch), stored.header.next_offset)


def _record_key(key: str, version: ItemVersion) -> bytes:
    return f"{key}#{version.epoch}.{version.slot}".encode()


def _epoch_of(record_key: bytes) -> int:
    return int(record_key.rpartition(b"#")[2].partition(b".")[0])


def _item_fingerprint(record_key: bytes, version: int) -> int:
    """A cheap hash of an item and its version: it detects loss, not tampering."""
    return xxh3_64_intdigest(record_key, version)
