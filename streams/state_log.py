"""The durable state of a partition: a compacted topic that holds checkpoints which are whole or not there.

A batch changes several items, but Kafka writes records one after the other. So each item has two slots (two
record keys) that take turns: a checkpoint writes the changed items into the slots that do not hold their
valid versions, and last of all the header that names the checkpoint, by the next offset of the log. Reading
back takes the header, and of each item the newest version that is not newer than the header. A checkpoint
without its header is as if it had never been begun.

Every takeover of a partition begins an epoch, and slots and headers belong to an epoch. What a worker
that has lost the partition still has in flight can therefore never overwrite what its successor wrote,
neither in the topic nor when compaction keeps only the last record of a key. A takeover's first record is
its claim: a header in the new epoch for the checkpoint it found. Before each checkpoint a worker asks the
consumer group whether it still knows it. So whoever gets the partition later finds its claim and all its
checkpoints but one that may still be on its way, and that one writes over nothing which was found. The
newest epoch that has a checkpoint of its own is in force; a bare claim is if nothing older went further,
so that neither a late claim nor a late header of a worker that lost the partition can undo its
successor's. Headers also say which epochs the last ones were that they build on, and where each began: of
epochs before it, what is newer than that was never valid, however late it arrives, nor is anything of an
epoch that nothing was built on.

The header also carries a fingerprint of all valid versions, so that a state with a piece missing is noticed
instead of metered with.
"""

import struct
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cache, partial
from typing import Final, NamedTuple

import msgspec
from msgspec import Struct
from xxhash import xxh3_64_intdigest

from metering.partition import PartitionState
from metering.state_items import Header, header_of, restore

_HEADER: Final = "header"
_VERSION: Final = struct.Struct("<Q?")
_FORMAT: Final = 3
"""Of the stored items and what guards them; a state of another one is not read but rebuilt."""

_EPOCHS_MAX: Final = 16
"""Takeovers whose beginnings a header tells; no record is on its way for longer than so many take."""


_GENERATIONS: Final = 1 << 32
"""More than a group can have: Kafka counts them in 31 bits."""

_NO_VERSION: Final = -1


class StateRecord(NamedTuple):
    """One record for the state topic; a value of None lets compaction remove the key."""

    key: bytes
    value: bytes | None


class Placed(NamedTuple):
    """Where an item's valid version is: epoch and slot say in which record, version as of which offset."""

    epoch: int
    version: int
    slot: int


class StateDamagedError(Exception):
    """The stored state of a partition is not what its header says; metering with it would be wrong."""


class _StoredHeader(Struct, frozen=True, array_like=True):
    header: Header
    items: int
    fingerprint: int
    begun: tuple[tuple[int, int], ...] = ()
    partitions: int = 0
    format: int = 0


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """The records that make one checkpoint: `items` first, and once they are acknowledged, `header`."""

    items: tuple[StateRecord, ...]
    header: StateRecord
    after: "Placement"


@dataclass(frozen=True, slots=True)
class Placement:
    """Where the valid version of each item is.

    Attributes:
        epoch: of the worker that holds the partition, larger than that of any before it.
        placed: by item key.
        litter: record keys that hold nothing valid, to be cleared by the next checkpoint, in this order.
        gone: where the newest checkpoint says of items that they are gone; part of the litter.
        fingerprint: of all items and where they are, independent of order.
        stands_at: the next offset of the newest checkpoint.
        begun: the last epochs that this one builds on, and itself, oldest first, each with the next offset of
            the checkpoint it began from.
        partitions: how many partitions the log has, which decides where an app's records are; 0 if unknown.
    """

    epoch: int = 0
    placed: Mapping[str, Placed] = field(default_factory=dict)
    litter: tuple[bytes, ...] = ()
    fingerprint: int = 0
    gone: Mapping[str, Placed] = field(default_factory=dict)
    stands_at: int = 0
    begun: tuple[tuple[int, int], ...] = ()
    partitions: int = 0

    def taken_over(self, generation: int) -> "Placement":
        """The same, for the worker that a generation of the consumer group gives the partition to.

        Takeovers are counted in the upper half of an epoch's number. The lower half is the generation, of
        which each gives a partition to one worker: so two that know nothing of each other do not share an
        epoch, and the later one has the larger.
        """
        epoch = (self.epoch // _GENERATIONS + 1) * _GENERATIONS + generation
        return replace(self, epoch=epoch, begun=(*self.begun, (epoch, self.stands_at))[-_EPOCHS_MAX:])

    def checkpoint(self, state: PartitionState, changes: Mapping[str, bytes | None]) -> Checkpoint:
        """Lay out the checkpoint that brings the stored state to `state`, given what changed."""
        records: list[StateRecord] = []
        litter: list[bytes] = []
        gone: dict[str, Placed] = {}
        placed = dict(self.placed)
        fingerprint = self.fingerprint
        version = state.next_offset
        slots = Placed(self.epoch, version, 0), Placed(self.epoch, version, 1)
        kept, removed = (_VERSION.pack(version, is_gone) for is_gone in (False, True))
        for key, value in changes.items():
            was = placed.get(key)
            # What says that the item is gone must stay until this checkpoint is whole, as a version would.
            now = slots[self._free_slot(was or self.gone.get(key))]
            record_key = _record_key(key, now)
            if was is not None:
                old_key = _record_key(key, was)
                fingerprint ^= _mark(old_key, was.version)
                if was.epoch != self.epoch or value is None:
                    litter.append(old_key)
            if value is not None:
                records.append(StateRecord(record_key, kept + value))
                placed[key] = now
                fingerprint ^= _mark(record_key, version)
            else:
                records.append(StateRecord(record_key, removed))
                placed.pop(key, None)
                gone[key] = now
                litter.append(record_key)
        older = self._not_among(records)
        if self._has_begun():
            # Nothing is cleared before this epoch has a checkpoint of its own: until then a header of an
            # older epoch may turn out to be the valid one.
            litter = older + litter
        else:
            records += [StateRecord(key, None) for key in older]
        after = replace(
            self,
            placed=placed,
            litter=tuple(litter),
            fingerprint=fingerprint,
            gone=gone,
            stands_at=state.next_offset,
        )
        return Checkpoint(tuple(records), after.header(state), after)

    def _not_among(self, records: Iterable[StateRecord]) -> list[bytes]:
        """The litter that these records do not write over."""
        if not self.litter:
            return []
        written = {record.key for record in records}
        return [key for key in self.litter if key not in written]

    def _has_begun(self) -> bool:
        """Whether the newest checkpoint is still the one that this epoch began from."""
        return bool(self.begun) and self.begun[-1] == (self.epoch, self.stands_at)

    def header(self, state: PartitionState) -> StateRecord:
        """The record that makes `state`, stored as this says, the valid one; a claim if it was so already."""
        header = _StoredHeader(
            header_of(state), len(self.placed), self.fingerprint, self.begun, self.partitions, _FORMAT
        )
        return StateRecord(f"{_HEADER}#{self.epoch}".encode(), msgspec.msgpack.encode(header))

    def _free_slot(self, was: Placed | None) -> int:
        return 1 - was.slot if was is not None and was.epoch == self.epoch else 0


class _Version(NamedTuple):
    placed: Placed
    gone: bool
    value: bytes


class StateReader:
    """Collects the records of one partition of the state topic, and gives the newest whole checkpoint."""

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

    def finished(self) -> tuple[PartitionState, Placement]:
        """The newest whole state; an empty one where nothing was ever stored. Can be asked once.

        Raises:
            StateDamagedError: items are missing or of another version than the header's, or the format is.
        """
        headers, versions = self._read()
        if not headers:
            empty = Placement(self._newest_epoch(), litter=tuple(self._records))
            return PartitionState(self._partition), empty
        epoch = _epoch_in_force(headers)
        stored = headers[epoch]
        if stored.format != _FORMAT:
            raise StateDamagedError(
                f"the stored state of partition {self._partition} has format {stored.format}, but this "
                f"version reads format {_FORMAT}; `phonemeter replay --confirm` rebuilds it from the log "
                "of events"
            )
        valid = _valid(versions, epoch, stored)
        kept = {key: version for key, version in valid.items() if not version.gone}
        fingerprint = 0
        for key, version in kept.items():
            fingerprint ^= _mark(_record_key(key, version.placed), version.placed.version)
        if (len(kept), fingerprint) != (stored.items, stored.fingerprint):
            raise StateDamagedError(
                f"the stored state of partition {self._partition} is damaged: {len(kept)} of "
                f"{stored.items} items of the checkpoint at {stored.header.next_offset} were found whole; "
                "`phonemeter replay --confirm` rebuilds it from the log of events"
            )
        state = restore(self._partition, stored.header, {key: version.value for key, version in kept.items()})
        placed = {key: version.placed for key, version in kept.items()}
        litter = self._litter(valid)
        next_offset = stored.header.next_offset
        return state, Placement(
            self._newest_epoch(),
            placed,
            litter,
            fingerprint,
            {},
            next_offset,
            stored.begun,
            stored.partitions,
        )

    def _read(self) -> tuple[dict[int, _StoredHeader], dict[str, list[_Version]]]:
        headers: dict[int, _StoredHeader] = {}
        versions: dict[str, list[_Version]] = {}
        for record_key, value in self._records.items():
            # A large state must not lie in memory twice; of what was read, the keys are still needed.
            self._records[record_key] = b""
            key, _, place = record_key.decode().rpartition("#")
            if key == _HEADER:
                headers[int(place)] = msgspec.msgpack.decode(value, type=_StoredHeader)
            else:
                epoch, _, slot = place.partition(".")
                version, gone = _VERSION.unpack_from(value)
                placed = Placed(int(epoch), version, int(slot))
                versions.setdefault(key, []).append(_Version(placed, gone, value[_VERSION.size :]))
        return headers, versions

    def _newest_epoch(self) -> int:
        """The newest epoch that anything was written in, whether or not it came to a header."""
        return max((_epoch_of(key) for key in self._records), default=0)

    def _litter(self, valid: Mapping[str, _Version]) -> tuple[bytes, ...]:
        """All but what is valid; what says that an item is gone comes last, so that it never comes back.

        The headers are among it: the claim of a new epoch is written before any of it is cleared.
        """
        needed = {_record_key(key, version.placed) for key, version in valid.items()}
        gone = [_record_key(key, version.placed) for key, version in valid.items() if version.gone]
        return (*(key for key in self._records if key not in needed), *gone)


def _epoch_in_force(headers: Mapping[int, _StoredHeader]) -> int:
    """The newest epoch that got beyond its claim, unless a claim was laid to what that one came to."""

    def is_claim(epoch: int) -> bool:
        header = headers[epoch]
        return header.begun[-1:] == ((epoch, header.header.next_offset),)

    own = max((epoch for epoch in headers if not is_claim(epoch)), default=-1)
    reached = headers[own].header.next_offset if own >= 0 else 0
    claims = [epoch for epoch in headers if epoch > own and headers[epoch].header.next_offset >= reached]
    return max(claims, default=own)


def _valid(
    versions: Mapping[str, Iterable[_Version]], epoch: int, stored: _StoredHeader
) -> dict[str, _Version]:
    newest_of = cache(partial(_newest_of, stored))
    valid: dict[str, _Version] = {}
    for key, candidates in versions.items():
        whole = [
            candidate
            for candidate in candidates
            if candidate.placed.epoch <= epoch
            and candidate.placed.version <= newest_of(candidate.placed.epoch)
        ]
        if whole:
            valid[key] = max(whole, key=lambda candidate: candidate.placed)
    return valid


def _newest_of(stored: _StoredHeader, epoch: int) -> int:
    """The newest version of an epoch that can be valid: where the next one began, or the newest of all.

    There is none of an epoch that the header passes over: it came to no checkpoint, and the next takeover
    began from an older epoch's.
    """
    begun = [begun for begun, _ in stored.begun]
    if begun and epoch > begun[0] and epoch not in begun:
        return _NO_VERSION
    return next((began_at for begun, began_at in stored.begun if begun > epoch), stored.header.next_offset)


def _record_key(key: str, placed: Placed) -> bytes:
    return f"{key}#{placed.epoch}.{placed.slot}".encode()


def _epoch_of(record_key: bytes) -> int:
    return int(record_key.rpartition(b"#")[2].partition(b".")[0])


def _mark(record_key: bytes, version: int) -> int:
    """A number for an item in its place; it guards against loss, not against malice, so it may be cheap."""
    return xxh3_64_intdigest(record_key, version)
