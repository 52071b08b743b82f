"""The durable state of a partition: a compacted topic that holds checkpoints which are whole or not there.

A batch changes several items, but Kafka writes records one after the other. So each item has two slots
(two record keys) that take turns: a checkpoint writes the changed items into the slots that do not hold
their valid versions, and last of all the header that names the checkpoint, by the next offset of the log.
Reading back takes the header, and of each item the newest version that is not newer than the header. A
checkpoint without its header is as if it had never been begun, and compaction leaves both slots of an item.

The header also carries a fingerprint of all valid versions, so that a state with a piece missing is noticed
instead of metered with.
"""

import struct
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Final, NamedTuple

import msgspec
from immutables import Map
from msgspec import Struct

from metering.partition import PartitionState
from metering.state_items import Header, header_of, restore

HEADER_KEY: Final = b"header"

_VERSION: Final = struct.Struct("<Q?")


class StateRecord(NamedTuple):
    """One record for the state topic; a value of None lets compaction remove the key."""

    key: bytes
    value: bytes | None


class Placed(NamedTuple):
    """Where an item's valid version is: the checkpoint that wrote it, and in which slot."""

    version: int
    slot: int


class StateDamagedError(Exception):
    """The stored state of a partition is not what its header says; metering with it would be wrong."""


class _StoredHeader(Struct, frozen=True, array_like=True):
    header: Header
    items: int
    fingerprint: int


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
        placed: by item key.
        buried: items that the newest checkpoint removed; their slots are cleared by the next.
        fingerprint: of all items and their versions, independent of order.
    """

    placed: Map[str, Placed] = field(default_factory=Map)
    buried: Mapping[str, Placed] = field(default_factory=dict)
    fingerprint: int = 0

    def checkpoint(self, state: PartitionState, changes: Mapping[str, bytes | None]) -> Checkpoint:
        """Lay out the checkpoint that brings the stored state to `state`, given what changed."""
        version = state.next_offset
        records = [
            record for key, was in self.buried.items() if key not in changes for record in _cleared(key, was)
        ]
        placed = self.placed.mutate()
        buried: dict[str, Placed] = {}
        fingerprint = self.fingerprint
        for key, value in changes.items():
            was = placed.pop(key, None)
            now = Placed(version, 1 - (was or self.buried.get(key, _NOWHERE)).slot)
            records.append(
                StateRecord(_slot_key(key, now.slot), _VERSION.pack(version, value is None) + (value or b""))
            )
            if was is not None:
                fingerprint ^= _mark(key, was)
            if value is None:
                buried[key] = now
            else:
                placed[key] = now
                fingerprint ^= _mark(key, now)
        header = msgspec.msgpack.encode(_StoredHeader(header_of(state), len(placed), fingerprint))
        after = Placement(placed.finish(), buried, fingerprint)
        return Checkpoint(tuple(records), StateRecord(HEADER_KEY, header), after)


class StateReader:
    """Collects the records of one partition of the state topic, and gives the newest whole checkpoint."""

    def __init__(self, partition: int) -> None:
        self._partition = partition
        self._slots: dict[bytes, tuple[int, bool, bytes]] = {}
        self._header: _StoredHeader | None = None

    def add(self, records: Iterable[StateRecord]) -> None:
        """Take records in the order of the topic.

        A version older than one seen before in the same slot came from a worker that had lost the partition
        without knowing it yet, and is passed over.
        """
        for key, value in records:
            if key == HEADER_KEY:
                self._add_header(value)
            elif value is None:
                self._slots.pop(key, None)
            else:
                version, gone = _VERSION.unpack_from(value)
                known = self._slots.get(key)
                if known is None or version >= known[0]:
                    self._slots[key] = (version, gone, value[_VERSION.size :])

    def finished(self) -> tuple[PartitionState, Placement]:
        """The newest whole state; an empty one where nothing was ever stored.

        Raises:
            StateDamagedError: items are missing or of another version than the header's.
        """
        if self._header is None:
            return PartitionState(self._partition), Placement()
        placed: dict[str, Placed] = {}
        buried: dict[str, Placed] = {}
        items: dict[str, bytes] = {}
        fingerprint = 0
        for key, (now, gone, value) in self._valid().items():
            if gone:
                buried[key] = now
            else:
                placed[key] = now
                items[key] = value
                fingerprint ^= _mark(key, now)
        if (len(placed), fingerprint) != (self._header.items, self._header.fingerprint):
            raise StateDamagedError(
                f"the stored state of partition {self._partition} is damaged: {len(placed)} of "
                f"{self._header.items} items of the checkpoint at {self._header.header.next_offset} were "
                "found; rebuild it from the log under a new state topic"
            )
        state = restore(self._partition, self._header.header, items)
        return state, Placement(Map(placed), buried, fingerprint)

    def _add_header(self, value: bytes | None) -> None:
        if value is None:
            return
        header = msgspec.msgpack.decode(value, type=_StoredHeader)
        if self._header is None or header.header.next_offset >= self._header.header.next_offset:
            self._header = header

    def _valid(self) -> dict[str, tuple[Placed, bool, bytes]]:
        newest = self._header.header.next_offset if self._header else 0
        valid: dict[str, tuple[Placed, bool, bytes]] = {}
        for slot_key, (version, gone, value) in self._slots.items():
            key, slot = _item_key(slot_key)
            if version <= newest and (key not in valid or version > valid[key][0].version):
                valid[key] = (Placed(version, slot), gone, value)
        return valid


_NOWHERE: Final = Placed(0, 1)


def _slot_key(key: str, slot: int) -> bytes:
    return f"{key}#{slot}".encode()


def _item_key(slot_key: bytes) -> tuple[str, int]:
    key, _, slot = slot_key.decode().rpartition("#")
    return key, int(slot)


def _cleared(key: str, was: Placed) -> tuple[StateRecord, StateRecord]:
    """First the older slot, then the one that says the item is gone: at no point is it back."""
    return StateRecord(_slot_key(key, 1 - was.slot), None), StateRecord(_slot_key(key, was.slot), None)


def _mark(key: str, placed: Placed) -> int:
    digest = blake2b(f"{key}@{placed.version}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little")
