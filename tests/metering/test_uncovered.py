"""Remembered uncovered calls (rule 7): kept in chunks, oldest forgotten first."""

import pytest

from metering import uncovered
from metering.packs import Pack
from metering.uncovered import CHUNK_CALLS, UncoveredCall, UncoveredCalls, decode_chunk, encode_chunk
from tests.metering.building import Play, at, play, purchased, succeeded


def call(offset: int, time_ms: int | None = None) -> UncoveredCall:
    moment = at(0, ms=offset) if time_ms is None else time_ms
    return UncoveredCall(moment, offset, f"event-{offset}", "scene", "store", "release", "client", "/tests")


def remembered(count: int) -> UncoveredCalls:
    calls = UncoveredCalls()
    for offset in range(count):
        calls = calls.with_call(call(offset))
    return calls


PACK = Pack(at(90), at(0), "pack-1", 10, 300_000, 90, at(0), "", 10)


@pytest.mark.parametrize("count", [0, 1, CHUNK_CALLS, CHUNK_CALLS + 1, 3 * CHUNK_CALLS])
def test_all_calls_are_remembered_in_full_chunks_and_a_last_one(count: int) -> None:
    calls = remembered(count)
    assert [c.offset for chunk in calls.chunks for c in chunk] == list(range(count))
    assert all(len(chunk) == CHUNK_CALLS for chunk in calls.chunks[:-1])


def test_remembering_leaves_the_value_it_was_asked_of_as_it_was() -> None:
    before = remembered(3)
    before.with_call(call(3))
    assert before == remembered(3)


def test_beyond_its_limit_the_oldest_chunk_is_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(uncovered, "CALLS_MAX", 2 * CHUNK_CALLS)
    calls = remembered(2 * CHUNK_CALLS)
    assert (calls.first, len(calls.chunks)) == (0, 2)
    calls = calls.with_call(call(2 * CHUNK_CALLS))
    assert (calls.first, len(calls.chunks), calls.chunks[0][0].offset) == (1, 2, CHUNK_CALLS)


def test_a_forgotten_call_stays_uncovered_in_the_ledger(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(uncovered, "CALLS_MAX", 2 * CHUNK_CALLS)
    played = play(*[succeeded(at(1)) for _ in range(2 * CHUNK_CALLS + 1)])
    played.on(purchased(at(2), "pack-1", calls=1_000, paid_at=at(0)))
    assert len(played.packs_charged()) == CHUNK_CALLS + 1
    assert sum(entry.calls for entry in played.of("uncovered")) == CHUNK_CALLS


def test_a_pack_takes_the_earliest_calls_it_covers_and_at_most_what_was_asked_for() -> None:
    calls = UncoveredCalls()
    for offset, time_ms in enumerate([at(3), at(1), at(90), at(1), at(-1), at(0)]):
        calls = calls.with_call(call(offset, time_ms))
    assert [c.offset for c in calls.covered_by(PACK, 10)] == [5, 1, 3, 0]
    assert [c.offset for c in calls.covered_by(PACK, 2)] == [5, 1]
    assert calls.covered_by(PACK, 0) == []


def test_what_was_taken_over_is_left_out() -> None:
    calls = remembered(CHUNK_CALLS + 3)
    rest = calls.without([call(offset) for offset in (0, CHUNK_CALLS)])
    assert [c.offset for chunk in rest.chunks for c in chunk] == [
        offset for offset in range(CHUNK_CALLS + 3) if offset not in {0, CHUNK_CALLS}
    ]
    assert [len(chunk) for chunk in rest.chunks] == [CHUNK_CALLS, 1]
    assert calls.without(calls.covered_by(PACK, 10_000)).chunks == ()


def test_a_chunk_comes_back_as_it_was_stored() -> None:
    chunk = tuple(call(offset) for offset in range(5))
    assert decode_chunk(encode_chunk(chunk)) == chunk


def test_many_uncovered_calls_are_taken_over_by_several_packs() -> None:
    played = Play(play().rules)
    played.on(*[succeeded(at(1, ms=number)) for number in range(700)])
    played.on(*[purchased(at(2), f"pack-{number}", calls=300, paid_at=at(0)) for number in range(3)])
    charges = played.of("charge")
    assert [entry.time_ms for entry in charges] == [at(1, ms=number) for number in range(700)]
    assert sum(entry.calls for entry in played.of("uncovered")) == 0
