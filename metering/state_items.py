"""The durable form of a partition's state: keyed items, of which a batch rewrites what it changed."""

from collections import defaultdict
from collections.abc import Mapping, Set
from typing import Final

import msgspec
from immutables import Map
from msgspec import Struct

from metering import duplicates, uncovered
from metering.accounts import Account, decode_account, decode_accounts, encode_account, encode_accounts
from metering.partition import Changes, PartitionState
from metering.uncovered import UncoveredCalls

_ACCOUNT: Final = "account/"
_ACCOUNTS: Final = "accounts/"
_UNCOVERED: Final = "uncovered/"
_IDS: Final = "ids/"

CHUNK_ACCOUNTS: Final = 4
"""Accounts per item, in the order in which the partition saw its apps. Fewer items are less to place, publish
and read back, and accounts that are next to each other in memory are quicker to encode; the more of them, the
more are stored for nothing when one was touched."""

PACKS_TOGETHER_MAX: Final = 32
"""Packs of an account that shares its item: with the longest names and ids four of them take 250 kB, and an
item may have a megabyte. What has more is an item by itself, and will be: packs are not forgotten."""


class Header(Struct, frozen=True, array_like=True):
    """What a state is besides its items: where in the log it stands."""

    next_offset: int = 0
    tick_ms: int = 0
    first_ids_chunk: int = 0


def header_of(state: PartitionState) -> Header:
    """The header of a state."""
    return Header(state.next_offset, state.tick_ms, state.ids.first_chunk)


def changed_items(before: PartitionState, after: PartitionState, changes: Changes) -> dict[str, bytes | None]:
    """The items that changed, by key; None where an item is gone."""
    items: dict[str, bytes | None] = {**_changed_accounts(after, changes.accounts)}
    for place in sorted(changes.uncovered):
        items |= _changed_uncovered(before, after, place)
    chunks = duplicates.chunks_since(before.ids, after.ids, changes.sightings)
    items |= {f"{_IDS}{number}": chunk for number, chunk in chunks.items()}
    items |= {f"{_IDS}{number}": None for number in range(before.ids.first_chunk, after.ids.first_chunk)}
    return items


def restore(partition: int, header: Header, items: Mapping[str, bytes]) -> PartitionState:
    """The state that was stored as these items."""
    accounts: list[Account] = []
    chunks: defaultdict[tuple[str, str], dict[int, uncovered.Chunk]] = defaultdict(dict)
    ids: dict[int, bytes] = {}
    for key, stored in items.items():
        if key.startswith(_ACCOUNT):
            accounts.append(decode_account(stored))
        elif key.startswith(_ACCOUNTS):
            accounts += decode_accounts(stored)
        elif key.startswith(_IDS):
            ids[int(key.removeprefix(_IDS))] = stored
        elif key.startswith(_UNCOVERED):
            appid, capability, number = key.removeprefix(_UNCOVERED).split("/")
            chunks[appid, capability][int(number)] = uncovered.decode_chunk(stored)
    return PartitionState(
        partition,
        header.next_offset,
        header.tick_ms,
        Map({account.appid: account for account in accounts}),
        Map({place: _joined(numbered) for place, numbered in chunks.items()}),
        duplicates.restore(header.first_ids_chunk, [ids[number] for number in sorted(ids)]),
    )


def _changed_accounts(state: PartitionState, touched: Set[int]) -> dict[str, bytes]:
    """Every chunk that has an account which was touched, and those of them that are items by themselves."""
    items: dict[str, bytes] = {}
    accounts = state.numbered()
    for chunk in sorted({number // CHUNK_ACCOUNTS for number in touched}):
        together = []
        for account in accounts[chunk * CHUNK_ACCOUNTS : (chunk + 1) * CHUNK_ACCOUNTS]:
            if account.pack_count <= PACKS_TOGETHER_MAX:
                together.append(account)
            elif account.number in touched:
                items[_ACCOUNT + account.appid] = encode_account(account)
        items[f"{_ACCOUNTS}{chunk}"] = encode_accounts(together)
    return items


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
