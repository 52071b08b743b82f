"""The events of a settlement: a correction cut into parts, each of which fits by itself (rules 8 and 14)."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import zip_longest

import msgspec
from msgspec import Struct, structs

from metering.events import (
    MOVES_MAX,
    PACKS_SET_MAX,
    VALUE_BYTES_MAX,
    Move,
    PackTerms,
    SettlementData,
)
from metering.settlement import Correction, settlement_id
from metering.settlement_changes import PACK, UNLIMITED
from metering.settlement_facts import LedgerSums
from metering.times import format_time
from metering.times import from_ms as moment

MOVES_BYTES_MAX = VALUE_BYTES_MAX - 8_192
"""Limit of the moves of one part; the refunds and the rest of the event need less than the difference."""

REFUNDS_MAX = 20
"""Limit of the refunds of one part that turn out otherwise."""


class _Part(Struct):
    """The changes of one event."""

    moves: Sequence[Move] = ()
    packs: Sequence[PackTerms] = ()
    removed: Sequence[str] = ()
    flips: Sequence[tuple[str, int | None]] = ()


def settlement_parts(
    ledger: LedgerSums, correction: Correction, *, as_of: int, after: int
) -> list[SettlementData]:
    """The data of a settlement's events: one without moves if nothing differs, which ends it."""
    refunds: list[tuple[str, int | None]] = [*correction.refunded.items()]
    refunds += [(pack_id, None) for pack_id in correction.not_refunded]
    flips = [refunds[at : at + REFUNDS_MAX] for at in range(0, len(refunds), REFUNDS_MAX)]
    if correction.changed_packs:
        parts = _parts_of_packs(correction, flips)
    else:
        batches = list(_cut(_in_fitting_order(_room(ledger), correction.moves)))
        parts = [_Part(moves=moves, flips=flip) for moves, flip in zip_longest(batches, flips, fillvalue=())]
    parts = parts or [_Part()]
    return [
        SettlementData(
            as_of=as_of,
            after=after,
            from_=moment(ledger.from_ms),
            moves=list(part.moves),
            refunded=[pack_id for pack_id, time_ms in part.flips if time_ms is not None],
            refund_times=[moment(time_ms) for _, time_ms in part.flips if time_ms is not None],
            not_refunded=[pack_id for pack_id, time_ms in part.flips if time_ms is None],
            packs=list(part.packs),
            removed=list(part.removed),
            owner=correction.owner if number == 1 else None,
            rules=correction.rules,
            part=number,
            parts=len(parts),
        )
        for number, part in enumerate(parts, 1)
    ]


def _parts_of_packs(correction: Correction, flips: Sequence[Sequence[tuple[str, int | None]]]) -> list[_Part]:
    """The parts of a correction of packs: their calls are moved out, then their terms changed, then moved in.

    In one part if there is room, otherwise calls are made uncovered in between.
    """
    packs, removed, moves = correction.packs, correction.removed, correction.moves
    changes: list[Move | PackTerms | str] = [*moves, *packs, *removed]
    is_small = len(moves) <= MOVES_MAX and max(len(packs), len(removed)) <= PACKS_SET_MAX
    if is_small and len(flips) <= 1 and sum(map(_length, changes)) <= MOVES_BYTES_MAX:
        return [_Part(moves, packs, removed, flips[0] if flips else ())]
    out, back = _through_uncovered(moves)
    parts = [_Part(moves=batch) for batch in _cut(out)]
    parts += [_Part(removed=removed[at : at + PACKS_SET_MAX]) for at in range(0, len(removed), PACKS_SET_MAX)]
    parts += [_Part(packs=packs[at : at + PACKS_SET_MAX]) for at in range(0, len(packs), PACKS_SET_MAX)]
    parts += [_Part(flips=flip) for flip in flips]
    return [*parts, *(_Part(moves=batch) for batch in _cut(back))]


def settlement_event(appid: str, data: SettlementData, *, time_ms: int, source: str) -> bytes:
    """The event of one part. Its time is only when it was worked out."""
    return msgspec.json.encode(
        {
            "specversion": "1.0",
            "id": settlement_id(appid, data.as_of, data.after, data.part),
            "source": source,
            "type": "account.settled",
            "subject": appid,
            "time": format_time(time_ms),
            "datacontenttype": "application/json",
            "data": data,
        }
    )


def _room(ledger: LedgerSums) -> dict[str, tuple[int, int]]:
    """The calls that are taken from each pack now, and its size, by quota."""
    used = Counter({PACK + pack_id: calls for pack_id, calls in ledger.used.items()})
    for group, calls in ledger.calls.items():
        used[group.quota] += calls
    names = {PACK + pack_id: each.pack.calls for pack_id, each in ledger.packs.items()}
    return {name: (used[name], size) for name, size in names.items()}


def _in_fitting_order(room: Mapping[str, tuple[int, int]], moves: Sequence[Move]) -> list[Move]:
    """The moves in an order in which every part fits.

    If neither their order nor the opposite does, calls are first made uncovered, which only makes room, and
    then taken from where they belong.
    """
    if len(list(_cut(moves))) <= 1:
        return list(moves)
    for order in (list(moves), list(reversed(moves))):
        if _fits(room, order):
            return order
    out, back = _through_uncovered(moves)
    return [*out, *back]


def _through_uncovered(moves: Sequence[Move]) -> tuple[list[Move], list[Move]]:
    """The moves that make room, and then those that take it."""
    through = [move for move in moves if not UNLIMITED & {move.from_, move.to}]
    out = [move for move in moves if move.to in UNLIMITED]
    out += [structs.replace(move, to="uncovered") for move in through]
    back = [structs.replace(move, from_="uncovered") for move in through]
    back += [move for move in moves if move.from_ in UNLIMITED and move.to not in UNLIMITED]
    return out, back


def _fits(room: Mapping[str, tuple[int, int]], moves: Sequence[Move]) -> bool:
    if any("trial" in {move.from_, move.to} for move in moves):
        return False
    used = {name: now for name, (now, _) in room.items()}
    for part in _cut(moves):
        for move in part:
            for quota, calls in ((move.from_, -move.calls), (move.to, move.calls)):
                if quota not in UNLIMITED:
                    used[quota] += calls
        if any(not 0 <= calls <= room[name][1] for name, calls in used.items()):
            return False
    return True


def _length(each: Move | PackTerms | str) -> int:
    """The bytes that an element of a list takes in an event."""
    return len(msgspec.json.encode(each)) + 1


def _cut(moves: Iterable[Move]) -> Iterator[list[Move]]:
    """The moves in batches within the limits of an event."""
    batch: list[Move] = []
    size = 0
    for move in moves:
        length = _length(move)
        if batch and (len(batch) >= MOVES_MAX or size + length > MOVES_BYTES_MAX):
            yield batch
            batch, size = [], 0
        batch.append(move)
        size += length
    if batch:
        yield batch
