"""Remembered event ids (rule 2): a retried event is one call."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metering.remembered_ids import (
    CHUNK_IDS,
    RememberedIds,
    Sighting,
    Sightings,
    chunks_since,
    digest_of,
    restore,
)
from metering.rules import Rules
from tests.metering.building import (
    APP,
    DAY_MS,
    Play,
    at,
    denied,
    play,
    purchased,
    refunded,
    registered,
    succeeded,
    ticked,
)


def outcomes(played: Play) -> list[str]:
    return [entry.kind for entry in played.of("uncovered", "duplicate")]


def tap(day: float = 1, *, app: str = APP) -> bytes:
    return succeeded(at(day), event_id="tap", app=app)


def test_a_retried_event_is_one_call() -> None:
    played = play(tap(), tap(), tap())
    assert outcomes(played) == ["uncovered", "duplicate", "duplicate"]
    (line, _) = played.of("duplicate")
    assert (line.event_id, line.calls, line.amount_micro_yuan, line.capability) == ("tap", 0, 0, "quick")


def test_a_second_tap_of_the_same_user_is_a_second_call() -> None:
    taps = [succeeded(at(1), client="e7d524b842e625e2") for _ in range(2)]
    assert outcomes(play(*taps)) == ["uncovered", "uncovered"]


def test_a_retry_that_says_something_else_changes_nothing() -> None:
    retry = succeeded(at(1.5), event_id="tap", capability="realtime")
    played = play(tap(), retry)
    assert outcomes(played) == ["uncovered", "duplicate"]
    assert played.state.accounts[APP].clock_ms == at(1)


def test_the_same_id_in_two_apps_is_two_events() -> None:
    assert outcomes(play(tap(), tap(app="wx-other"))) == ["uncovered", "uncovered"]


def test_an_id_is_one_event_whatever_its_types_are() -> None:
    played = play(purchased(at(0), "pack-1", event_id="tap"), tap())
    assert played.kinds() == ["purchase", "duplicate"]


@pytest.mark.parametrize("event", [refunded(at(0), "pack-1"), registered(at(0), "company")])
def test_retries_without_a_capability_are_duplicates_too(event: bytes) -> None:
    (line,) = play(event, event).of("duplicate")
    assert line.capability == ""


def test_a_rejected_record_leaves_its_id_free() -> None:
    assert outcomes(play(tap().replace(b'"quick"', b'"slow"'), tap())) == ["uncovered"]


def test_what_is_forgotten_is_no_longer_stored() -> None:
    played = Play(Rules(trial_calls=0, duplicate_window_ms=DAY_MS))
    played.on(*[denied(at(1)) for _ in range(2 * CHUNK_IDS + 10)])
    assert (played.state.ids.first_chunk, len(played.state.ids.newest_ms)) == (0, 2)
    played.on(ticked(at(2)))
    assert (played.state.ids.first_chunk, played.state.ids.horizon_ms) == (0, 0)
    played.on(ticked(at(2, ms=1)))
    assert (played.state.ids.first_chunk, played.state.ids.newest_ms) == (2, ())
    assert played.state.ids.horizon_ms == at(1)
    assert played.state.ids.next_number == 2 * CHUNK_IDS + 10
    assert len(played.state.ids.tail) == 10 * 16


def sightings(*pairs: tuple[int, int]) -> bytes:
    seen = Sightings()
    for digest, seen_at_ms in pairs:
        seen.digests.append(digest)
        seen.seen_at_ms.append(seen_at_ms)
    return seen.encoded()


def test_forgotten_ids_are_swept_out_in_the_end() -> None:
    ids = RememberedIds()
    for round_ in range(20):
        seen_at_ms = at(round_)
        ids = ids.with_sightings(
            sightings(*((round_ << 32 | number, seen_at_ms) for number in range(CHUNK_IDS)))
        )
        ids = ids.without_chunks_before(max(0, round_ - 1), seen_at_ms)
    assert sum(map(len, ids.segments)) <= 8 * CHUNK_IDS
    assert len(ids.newest_ms) == 2


def test_an_id_seen_again_has_its_newest_sighting() -> None:
    ids = RememberedIds().with_sightings(sightings((7, at(1)))).with_sightings(sightings((7, at(5))))
    assert ids.newest_sightings([8, 7]) == {7: Sighting(1, at(5))}


def test_of_an_id_seen_twice_in_a_batch_the_later_sighting_counts() -> None:
    ids = RememberedIds().with_sightings(sightings((7, at(1)), (8, at(2)), (7, at(5))))
    assert ids.newest_sightings([7, 8]) == {7: Sighting(2, at(5)), 8: Sighting(1, at(2))}


def test_nothing_is_found_where_nothing_is_asked_or_remembered() -> None:
    assert RememberedIds().newest_sightings([7]) == {}
    assert RememberedIds().with_sightings(sightings((7, at(1)))).newest_sightings([]) == {}


@pytest.mark.parametrize("count", [0, 1, CHUNK_IDS - 1, CHUNK_IDS, CHUNK_IDS + 1, 3 * CHUNK_IDS])
def test_ids_come_back_as_they_were_stored(count: int) -> None:
    digests = [number * 7_919 for number in range(count)]
    seen = sightings(*((digest, at(digest % 5)) for digest in digests))
    ids = RememberedIds().with_sightings(seen)
    chunks = chunks_since(RememberedIds(), ids, seen)
    back = restore(0, 0, [chunks[number] for number in sorted(chunks)])
    assert (back.next_number, back.newest_ms, back.tail) == (count, ids.newest_ms, ids.tail)
    assert back.newest_sightings(digests) == ids.newest_sightings(digests)
    assert len(ids.newest_sightings(digests)) == count


@given(st.lists(st.lists(st.tuples(st.integers(0, 40), st.integers(0, 2**48)), max_size=20), max_size=12))
def test_whatever_was_seen_is_found_with_its_newest_sighting(batches: list[list[tuple[int, int]]]) -> None:
    ids, newest, number = RememberedIds(), dict[int, Sighting](), 0
    for batch in batches:
        ids = ids.with_sightings(sightings(*batch))
        for digest, seen_at_ms in batch:
            newest[digest] = Sighting(number, seen_at_ms)
            number += 1
    assert ids.newest_sightings(list(range(50))) == newest


def test_a_digest_tells_apps_and_ids_apart() -> None:
    pairs = [("wx", "1a"), ("wx1", "a"), ("wx", "1A"), ("w", "x1a"), ("wx", "次")]
    assert len({digest_of(*pair) for pair in pairs}) == len(pairs)
    assert all(0 <= digest_of(*pair) < 2**64 for pair in pairs)
