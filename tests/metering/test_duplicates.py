"""Remembered event ids (DESIGN rule 2): a retried event is one call, within a window."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metering.duplicates import (
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
    HOUR_MS,
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


@pytest.mark.parametrize(("ms", "kind"), [(0, "duplicate"), (1, "uncovered")])
def test_an_id_is_remembered_for_the_window_itself_and_no_longer(ms: int, kind: str) -> None:
    played = play(tap(1), denied(at(2, ms=ms)), tap(1))
    assert outcomes(played) == ["uncovered", kind]


@pytest.mark.parametrize(("ms", "kind"), [(0, "duplicate"), (1, "uncovered")])
def test_the_window_is_on_the_clock_of_the_app_which_ticks_move_too(ms: int, kind: str) -> None:
    assert outcomes(play(tap(1), ticked(at(2, ms=ms)), tap(1))) == ["uncovered", kind]


def test_another_apps_events_do_not_move_the_window() -> None:
    assert outcomes(play(tap(1), succeeded(at(50), app="wx-other"), tap(1)))[-1] == "duplicate"


def test_a_late_event_is_remembered_from_when_it_came() -> None:
    assert outcomes(play(denied(at(9)), tap(1), denied(at(10)), tap(1))) == ["uncovered", "duplicate"]


def test_a_duplicate_does_not_make_its_id_remembered_for_longer() -> None:
    played = play(tap(1), denied(at(1.9)), tap(1), denied(at(2.1)), tap(1))
    assert outcomes(played) == ["uncovered", "duplicate", "uncovered"]


def test_the_window_is_a_setting() -> None:
    rules = Rules(trial_calls=0, duplicate_window_ms=HOUR_MS)
    assert outcomes(play(tap(1), denied(at(1, hours=2)), tap(1), rules=rules)) == ["uncovered", "uncovered"]


def test_a_rejected_record_leaves_its_id_free() -> None:
    assert outcomes(play(tap().replace(b'"quick"', b'"slow"'), tap())) == ["uncovered"]


@pytest.mark.parametrize(("others", "kind"), [(3, "duplicate"), (4, "uncovered")])
@pytest.mark.parametrize("apart", [False, True])
def test_only_so_many_ids_are_remembered_however_the_log_is_cut(
    others: int,
    kind: str,
    apart: bool,  # noqa: FBT001 - pytest names it
) -> None:
    played = Play(Rules(trial_calls=0, remembered_ids_max=4))
    log = [tap(), *[denied(at(1)) for _ in range(others)], tap()]
    for batch in [[value] for value in log] if apart else [log]:
        played.on(*batch)
    assert outcomes(played) == ["uncovered", kind]


def test_what_is_forgotten_is_no_longer_stored() -> None:
    played = play(*[denied(at(1)) for _ in range(2 * CHUNK_IDS + 10)])
    assert (played.state.ids.first_chunk, len(played.state.ids.newest_ms)) == (0, 2)
    played.on(ticked(at(2)))
    assert played.state.ids.first_chunk == 0
    played.on(ticked(at(2, ms=1)))
    assert (played.state.ids.first_chunk, played.state.ids.newest_ms) == (2, ())
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
        ids = ids.remembering(
            sightings(*((round_ << 32 | number, seen_at_ms) for number in range(CHUNK_IDS)))
        )
        ids = ids.forgetting(seen_at_ms - DAY_MS, 10**6)
    assert sum(map(len, ids.segments)) <= 8 * CHUNK_IDS
    assert len(ids.newest_ms) == 2


def test_an_id_seen_again_has_its_newest_sighting() -> None:
    ids = RememberedIds().remembering(sightings((7, at(1)))).remembering(sightings((7, at(5))))
    assert ids.newest_sightings([8, 7]) == {7: Sighting(1, at(5))}


def test_of_an_id_seen_twice_in_a_batch_the_later_sighting_counts() -> None:
    ids = RememberedIds().remembering(sightings((7, at(1)), (8, at(2)), (7, at(5))))
    assert ids.newest_sightings([7, 8]) == {7: Sighting(2, at(5)), 8: Sighting(1, at(2))}


def test_nothing_is_found_where_nothing_is_asked_or_remembered() -> None:
    assert RememberedIds().newest_sightings([7]) == {}
    assert RememberedIds().remembering(sightings((7, at(1)))).newest_sightings([]) == {}


@pytest.mark.parametrize("count", [0, 1, CHUNK_IDS - 1, CHUNK_IDS, CHUNK_IDS + 1, 3 * CHUNK_IDS])
def test_ids_come_back_as_they_were_stored(count: int) -> None:
    digests = [number * 7_919 for number in range(count)]
    seen = sightings(*((digest, at(digest % 5)) for digest in digests))
    ids = RememberedIds().remembering(seen)
    chunks = chunks_since(RememberedIds(), ids, seen)
    back = restore(0, [chunks[number] for number in sorted(chunks)])
    assert (back.next_number, back.newest_ms, back.tail) == (count, ids.newest_ms, ids.tail)
    assert back.newest_sightings(digests) == ids.newest_sightings(digests)
    assert len(ids.newest_sightings(digests)) == count


@given(st.lists(st.lists(st.tuples(st.integers(0, 40), st.integers(0, 2**48)), max_size=20), max_size=12))
def test_whatever_was_seen_is_found_with_its_newest_sighting(batches: list[list[tuple[int, int]]]) -> None:
    ids, newest, number = RememberedIds(), dict[int, Sighting](), 0
    for batch in batches:
        ids = ids.remembering(sightings(*batch))
        for digest, seen_at_ms in batch:
            newest[digest] = Sighting(number, seen_at_ms)
            number += 1
    assert ids.newest_sightings(list(range(50))) == newest


def test_a_digest_tells_apps_and_ids_apart() -> None:
    pairs = [("wx", "1a"), ("wx1", "a"), ("wx", "1A"), ("w", "x1a"), ("wx", "次")]
    assert len({digest_of(*pair) for pair in pairs}) == len(pairs)
    assert all(0 <= digest_of(*pair) < 2**64 for pair in pairs)
