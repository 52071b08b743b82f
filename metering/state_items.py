"""The durable form of a partition's state: keyed items, of which a batch rewrites what it changed."""

from collections import defaultdict
from collections.abc import Mapping
from typing import Final

import msgspec
from immutables import Map
from msgspec import Struct

from metering import duplicates, uncovered
from metering.accounts import decode_account, encode_account
from metering.events import CAPABILITIES
from metering.partition import Metered, PartitionState
from metering.uncovered import UncoveredCalls

_ACCOUNT: Final = "account/"
_UNCOVERED: Final = "uncovered/"
_IDS: Final = "ids/"


class Header(Struct, frozen=True, array_like=True):
    """What a state is besides its items: where in the log it stands."""

    next_offset: int = 0
    tick_ms: int = 0
    first_ids_chunk: int = 0


def header_of(state: PartitionState) -> Header:
    """The header of a state."""
    return Header(state.next_offset, state.tick_ms, state.ids.first_chunk)


def changed_items(before: PartitionState, metered: Metered) -> dict[str, bytes | None]:
    """The items that a batch changed, by key; None where an item is gone."""
    after = metered.state
    items: dict[str, bytes | None] = {}
    for appid in metered.touched:
        items[_ACCOUNT + appid] = encode_account(after.accounts[appid])
        if before.uncovered is not after.uncovered:
            for capability in CAPABILITIES:
                items |= _changed_uncovered(before, after, (appid, capability))
    chunks = duplicates.chunks_since(before.ids, after.ids, metered.sightings)
    items |= {f"{_IDS}{number}": chunk for number, chunk in chunks.items()}
    items |= {f"{_IDS}{number}": None for number in range(before.ids.first_chunk, after.ids.first_chunk)}
    return items


def restore(partition: int, header: Header, items: Mapping[str, bytes]) -> PartitionState:
    """The state that was stored as these items."""
    accounts = {}
    chunks: defaultdict[tuple[str, str], dict[int, uncovered.Chunk]] = defaultdict(dict)
    ids: dict[int, bytes] = {}
    for key, stored in items.items():
        if key.startswith(_ACCOUNT):
            accounts[key.removeprefix(_ACCOUNT)] = decode_account(stored)
        elif key.startswith(_IDS):
            ids[int(key.removeprefix(_IDS))] = stored
        elif key.startswith(_UNCOVERED):
            appid, capability, number = key.removeprefix(_UNCOVERED).split("/")
            chunks[appid, capability][int(number)] = uncovered.decode_chunk(stored)
    return PartitionState(
        partition,
        header.next_offset,
        header.tick_ms,
        Map(accounts),
        Map({place: _joined(numbered) for place, numbered in chunks.items()}),
        duplicates.restore(header.first_ids_chunk, [ids[number] for number in sorted(ids)]),
    )


def _changed_uncovered(
    before: PartitionState, after: PartitionState, place: tuple[str, str]
) -> dict[str, bytes | None]:
    old, new = (state.uncovered.get(place, UncoveredCalls()) for state in (before, after))
    if old is new:
        return {}
    old_chunks = dict(enumerate(old.chunks, old.first))
    new_chunks = dict(enumerate(new.chunks, new.first))
    prefix = f"{_UNCOVERED}{place[0]}/{place[1]}/"
    items: dict[str, bytes | None] = {
        f"{prefix}{number}": uncovered.encode_chunk(chunk)
        for number, chunk in new_chunks.items()
        if chunk is not old_chunks.get(number)
    }
    return items | {f"{prefix}{number}": None for number in old_chunks.keys() - new_chunks.keys()}


def _joined(numbered: Mapping[int, uncovered.Chunk]) -> UncoveredCalls:
    numbers = sorted(numbered)
    return UncoveredCalls(numbers[0], tuple(numbered[number] for number in numbers))


def encode_header(header: Header) -> bytes:
    """The stored form of a header."""
    return msgspec.msgpack.encode(header)


def decode_header(stored: bytes) -> Header:
    """Read a header back."""
    return msgspec.msgpack.decode(stored, type=Header)
