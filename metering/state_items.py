"""The durable form of a partition's state: keyed items, of which a batch rewrites those that it changed."""

import struct
from collections import defaultdict
from collections.abc import Mapping, Set
from typing import Final

from immutables import Map
from msgspec import Struct

from metering import remembered_ids, uncovered
from metering.accounts import Account, decode_account, decode_accounts, encode_account, encode_accounts
from metering.partition import StateChanges
from metering.partition_state import PartitionState
from metering.uncovered import UncoveredCalls

_ACCOUNT: Final = "account/"
_ACCOUNTS: Final = "accounts/"
_UNCOVERED: Final = "uncovered/"
_IDS: Final = "ids/"
_PIECES: Final = struct.Struct("<I")

CHUNK_ACCOUNTS: Final = 4
"""Accounts per item, in the order in which the partition saw its apps. More accounts per item make fewer
items to publish and restore, but store more accounts that did not change."""

PACKS_TOGETHER_MAX: Final = 32
"""Limit of packs of an account that shares its item: four of them take 250 kB with the longest names, and an
item has at most 1 MB. An account with more packs is an item by itself, for good: packs are not forgotten."""

PIECE_BYTES: Final = 500_000
"""Size of the pieces of an account that is an item by itself; each piece is an item."""


class StateHeader(Struct, frozen=True, array_like=True):
    """The parts of a state besides its items: its position in the log, and what of its ids was forgotten."""

    next_offset: int = 0
    tick_ms: int = 0
    first_ids_chunk: int = 0
    horizon_ms: int = 0


def header_of(state: PartitionState) -> StateHeader:
    """The header of a state."""
    return StateHeader(state.next_offset, state.tick_ms, state.ids.first_chunk, state.ids.horizon_ms)


def changed_items(
    before: PartitionState, after: PartitionState, changes: StateChanges
) -> dict[str, bytes | None]:
    """The changed items by key; None for a deleted one."""
    items: dict[str, bytes | None] = {**_changed_accounts(after, changes.accounts)}
    for key in sorted(changes.uncovered):
        items |= _changed_uncovered(before, after, key)
    chunks = remembered_ids.chunks_since(before.ids, after.ids, changes.sightings)
    items |= {f"{_IDS}{number}": chunk for number, chunk in chunks.items()}
    items |= {f"{_IDS}{number}": None for number in range(before.ids.first_chunk, after.ids.first_chunk)}
    return items


def restore(partition: int, header: StateHeader, items: Mapping[str, bytes]) -> PartitionState:
    """The state that was stored as these items."""
    accounts: list[Account] = []
    pieces: defaultdict[str, dict[int, bytes]] = defaultdict(dict)
    chunks: defaultdict[tuple[str, str], dict[int, uncovered.Chunk]] = defaultdict(dict)
    ids: dict[int, bytes] = {}
    for key, stored in items.items():
        if key.startswith(_ACCOUNT):
            appid, number = key.removeprefix(_ACCOUNT).split("/")
            pieces[appid][int(number)] = stored
        elif key.startswith(_ACCOUNTS):
            accounts += decode_accounts(stored)
        elif key.startswith(_IDS):
            ids[int(key.removeprefix(_IDS))] = stored
        elif key.startswith(_UNCOVERED):
            appid, capability, number = key.removeprefix(_UNCOVERED).split("/")
            chunks[appid, capability][int(number)] = uncovered.decode_chunk(stored)
    accounts += (decode_account(_put_together(numbered)) for numbered in pieces.values())
    return PartitionState(
        partition,
        header.next_offset,
        header.tick_ms,
        Map({account.appid: account for account in accounts}),
        Map({uncovered_key: _joined(numbered) for uncovered_key, numbered in chunks.items()}),
        remembered_ids.restore(
            header.first_ids_chunk, header.horizon_ms, [ids[number] for number in sorted(ids)]
        ),
    )


def _changed_accounts(state: PartitionState, touched: Set[int]) -> dict[str, bytes]:
    """The chunks that contain a touched account, and the touched accounts that are items by themselves."""
    items: dict[str, bytes] = {}
    accounts = state.accounts_by_number()
    for chunk in sorted({number // CHUNK_ACCOUNTS for number in touched}):
        together = []
        for account in accounts[chunk * CHUNK_ACCOUNTS : (chunk + 1) * CHUNK_ACCOUNTS]:
            if account.pack_count <= PACKS_TOGETHER_MAX:
                together.append(account)
            elif account.number in touched:
                items |= _cut(f"{_ACCOUNT}{account.appid}/", encode_account(account))
        items[f"{_ACCOUNTS}{chunk}"] = encode_accounts(together)
    return items


def _cut(prefix: str, stored: bytes) -> dict[str, bytes]:
    """The pieces of an item. The first holds their number, as there may be fewer than before."""
    pieces = [stored[at : at + PIECE_BYTES] for at in range(0, len(stored), PIECE_BYTES)]
    pieces[0] = _PIECES.pack(len(pieces)) + pieces[0]
    return {f"{prefix}{number}": piece for number, piece in enumerate(pieces)}


def _put_together(pieces: Mapping[int, bytes]) -> bytes:
    (count,) = _PIECES.unpack_from(pieces[0])
    return b"".join((pieces[0][_PIECES.size :], *(pieces[number] for number in range(1, count))))


def _changed_uncovered(
    before: PartitionState, after: PartitionState, key: tuple[str, str]
) -> dict[str, bytes | None]:
    old, new = (state.uncovered.get(key, UncoveredCalls()) for state in (before, after))
    if old is new:
        return {}
    old_chunks = dict(enumerate(old.chunks, old.first))
    new_chunks = dict(enumerate(new.chunks, new.first))
    prefix = f"{_UNCOVERED}{key[0]}/{key[1]}/"
    items: dict[str, bytes | None] = {
        f"{prefix}{number}": uncovered.encode_chunk(chunk)
        for number, chunk in new_chunks.items()
        if chunk is not old_chunks.get(number)
    }
    return items | {f"{prefix}{number}": None for number in old_chunks.keys() - new_chunks.keys()}


def _joined(numbered: Mapping[int, uncovered.Chunk]) -> UncoveredCalls:
    numbers = sorted(numbered)
    return UncoveredCalls(numbers[0], tuple(numbered[number] for number in numbers))
