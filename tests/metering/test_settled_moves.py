"""The settlements that may have moved a call (rule 8): how many of how many calls like it."""

import msgspec

from metering.rules import Rules
from metering.settled_moves import SettledMove, SettledMoves
from metering.times import shanghai_time
from tests.metering.building import (
    HOUR_MS,
    Play,
    at,
    move,
    play,
    purchased,
    settled,
    succeeded,
)

SHOP = {"scene": "card", "store": "a", "env": "release"}


def moves_of(played: Play, event_id: str) -> list[SettledMove]:
    """The moves that may have been about a call, with the entries given record by record."""
    call = next(entry for entry in played.entries if entry.event_id == event_id)
    moves = SettledMoves(call)
    for offset in range(played.state.next_offset):
        moves.add([entry for entry in played.entries if entry.offset == offset])
    whole = SettledMoves(call)
    whole.add(played.entries)
    assert whole.found == moves.found
    return moves.found


def moved(source: str, target: str, calls: int = 1) -> dict[str, object]:
    """A move of calls of the shop's day."""
    return move(at(2), source, target, calls) | SHOP


def said(move: SettledMove) -> tuple[int, int, str, str]:
    return move.calls, move.of_calls, move.from_, move.to


def two_packs_and_calls_of_a_shop(count: int = 3) -> Play:
    """A pack `p` that has all calls of one day, and a pack `q` that holds as many."""
    return play(
        purchased(at(1), "p", calls=10),
        purchased(at(1), "q", calls=10, days=365),
        *[succeeded(at(2) + number * HOUR_MS, event_id=f"tap-{number}", **SHOP) for number in range(count)],
    )


def test_a_settlement_says_how_many_of_the_calls_like_it_it_moved() -> None:
    played = two_packs_and_calls_of_a_shop()
    played.on(settled(at(3), moved("pack:p", "pack:q", 2), as_of=4))
    (found,) = moves_of(played, "tap-1")
    assert said(found) == (2, 3, "pack:p", "pack:q")
    (entry,) = played.of("settlement")
    assert (found.offset, found.event_id, found.recorded_at_ms) == (5, entry.event_id, at(3))
    assert found.sentence == (
        f"A settlement on {shanghai_time(at(3))} moved 2 of the 3 calls of this day, scene, store and build "
        f"from pack p to pack q (event {entry.event_id})."
    )


def test_calls_of_another_day_scene_store_build_or_capability_are_not_meant() -> None:
    played = two_packs_and_calls_of_a_shop()
    others = [SHOP | {name: "other"} for name in SHOP]
    played.on(
        purchased(at(2), "r", calls=9, capability="realtime"),
        purchased(at(2), "s", calls=9, capability="realtime", days=365),
        succeeded(at(2), capability="realtime", **SHOP),
        succeeded(at(3), **SHOP),
        *[succeeded(at(2), **other) for other in others],
    )
    moves = [
        moved("pack:r", "pack:s") | {"capability": "realtime"},
        move(at(3), "pack:p", "pack:q") | SHOP,
        *[move(at(2), "pack:p", "pack:q") | other for other in others],
    ]
    played.on(settled(at(4), *moves, as_of=played.state.next_offset - 1))
    assert len(played.of("settlement")) == 1
    assert moves_of(played, "tap-1") == []


def test_capabilities_that_share_a_trial_quota_are_told_apart() -> None:
    played = play(
        succeeded(at(2), event_id="tap", **SHOP),
        succeeded(at(2), capability="realtime", event_id="other", **SHOP),
        rules=Rules(trial_calls=5),
    )
    played.on(settled(at(3), moved("trial", "uncovered") | {"capability": "realtime"}, as_of=1))
    assert moves_of(played, "tap") == []
    assert [said(each) for each in moves_of(played, "other")] == [(1, 1, "trial", "uncovered")]


def test_a_settlement_from_before_the_call_arrived_was_not_about_it() -> None:
    played = two_packs_and_calls_of_a_shop()
    played.on(settled(at(3), moved("pack:p", "pack:q"), as_of=4))
    played.on(succeeded(at(2, hours=5), event_id="late", **SHOP))
    assert moves_of(played, "late") == []
    played.on(settled(at(3), moved("pack:p", "pack:q"), as_of=6, after=5))
    assert [said(each) for each in moves_of(played, "late")] == [(1, 3, "pack:p", "pack:q")]


def test_moves_from_a_quota_that_never_had_the_call_are_not_about_it() -> None:
    played = two_packs_and_calls_of_a_shop()
    played.on(settled(at(3), moved("pack:p", "pack:q", 2), as_of=4))
    played.on(succeeded(at(2, hours=5), event_id="late", **SHOP))
    played.on(settled(at(3), moved("pack:q", "uncovered", 2), as_of=6, after=5))
    assert moves_of(played, "late") == []
    assert [said(each) for each in moves_of(played, "tap-0")] == [
        (2, 3, "pack:p", "pack:q"),
        (2, 2, "pack:q", "uncovered"),
    ]


def test_a_call_of_a_quota_that_was_emptied_is_followed_to_where_all_went() -> None:
    played = two_packs_and_calls_of_a_shop()
    both = (moved("pack:p", "pack:q", 2), moved("pack:p", "uncovered", 1))
    played.on(settled(at(3), *both, as_of=4), succeeded(at(2, hours=5), **SHOP))
    played.on(settled(at(3), moved("pack:p", "exempt"), as_of=6, after=5))
    assert [said(each) for each in moves_of(played, "tap-0")] == [
        (2, 3, "pack:p", "pack:q"),
        (1, 3, "pack:p", "uncovered"),
    ]


def test_a_call_that_a_pack_took_over_is_looked_for_in_that_pack() -> None:
    played = play(
        succeeded(at(2), event_id="tap", **SHOP),
        succeeded(at(2), event_id="other", **SHOP),
        purchased(at(3), "p", calls=1, paid_at=at(1)),
        purchased(at(3), "q", calls=2, paid_at=at(1), days=365),
    )
    assert played.packs_charged() == ["p", "q"]
    played.on(settled(at(3), moved("pack:p", "pack:q"), as_of=3))
    assert [said(each) for each in moves_of(played, "tap")] == [(1, 1, "pack:p", "pack:q")]
    assert moves_of(played, "other") == []


def test_sentences_name_every_quota_and_count_one_call_as_people_do() -> None:
    one = SettledMove(1, at(3), "s", 1, 1, "trial", "uncovered")
    assert "moved the only call of this day" in one.sentence
    assert "from the trial quota to the uncovered ones (event s)." in one.sentence
    more = msgspec.structs.replace(one, calls=2_000, of_calls=2_000, from_="exempt", to="corrected")
    assert "moved all 2,000 calls of this day" in more.sentence
    assert "from the exempt ones to those that corrections took out of the log (event s)." in more.sentence
