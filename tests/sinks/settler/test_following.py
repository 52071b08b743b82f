"""Following the platform's count: what the settler publishes, and when it publishes nothing (rule 17)."""

import json
from collections.abc import Sequence
from typing import Any

import pytest
from kafka.errors import KafkaTimeoutError

from metering.times import HOUR_MS
from sinks.settler.following import EVENTS_MAX, FollowedDifference, Follower
from tests.metering.building import APP, agreement_set, at, event, purchased, succeeded, ticked
from tests.sinks.settler.test_work import Bench

PAUSE_S = 60.0
BOUGHT = purchased(at(1), "P1", calls=10, days=90)


def observed(day: float, used: int, pack_id: str = "P1") -> bytes:
    data = {"capability": "quick", "pack_id": pack_id, "used": used, "size": 10}
    return event("platform.usage_observed", at(day), data)


def seen_twice(day: float, used: int, pack_id: str = "P1") -> list[bytes]:
    """Two observations an hour apart."""
    return [observed(day, used, pack_id), observed(day + HOUR_MS / (24 * HOUR_MS), used, pack_id)]


def calls(number: int, day: float = 5) -> list[bytes]:
    return [
        succeeded(at(day + each / 2_400), event_id=f"call-{day}-{each}", store="a") for each in range(number)
    ]


class FollowingBench(Bench):
    """An app with a settler of its own, whose clock is the test's."""

    def __init__(self, *events: bytes) -> None:
        super().__init__(*events)
        self.now_s = 0.0
        self.values: list[bytes] = []
        self.delivers = True
        self.failure: Exception | None = None
        self.follower = self.another()

    def another(self) -> Follower:
        return Follower(self.ledger, self, PAUSE_S, monotonic_s=lambda: self.now_s)

    def publish(self, appid: str, partition: int, events: Sequence[bytes]) -> None:
        assert (appid, partition) == (APP, 0)
        if self.failure is not None:
            raise self.failure
        self.values += events
        if self.delivers:
            self.played.on(*events)

    def turn(self, follower: Follower | None = None) -> None:
        """Look once more, then settle what is unsettled."""
        self.now_s += PAUSE_S
        # The newest record may lack entries, so another one has to come.
        self.played.on(event("phone.authorization.denied", at(0), {"capability": "realtime"}))
        (follower or self.follower).turn()
        assert all(settlement.event_ids for settlement in self.rounds())

    def refusals(self) -> list[str]:
        return [entry.reason for entry in self.played.of("settlement_refused")]


def test_a_difference_that_stays_is_booked_once() -> None:
    bench = FollowingBench(BOUGHT, *calls(4), agreement_set(at(5)), *seen_twice(6, 7))
    bench.turn()
    assert bench.packs() == {"P1": 7}
    (entry,) = [entry for entry in bench.played.of("charge") if entry.reason == "settled"]
    assert (entry.calls, entry.time_ms, entry.store) == (3, at(6), "")
    bench.turn()
    assert len(bench.values) == 1
    assert bench.ledger.staying() == []


def test_what_the_platform_counts_less_is_given_back() -> None:
    bench = FollowingBench(BOUGHT, *calls(4), agreement_set(at(5)), *seen_twice(6, 1))
    bench.turn()
    assert bench.packs() == {"P1": 1}


@pytest.mark.parametrize("policies", [[], ["report"], ["follow", "report"]], ids=str)
def test_an_app_that_does_not_follow_is_only_shown(policies: list[str]) -> None:
    chosen = [agreement_set(at(5), policy) for policy in policies]
    bench = FollowingBench(BOUGHT, *calls(4), *chosen, *seen_twice(6, 7))
    bench.turn()
    assert (bench.packs(), bench.values) == ({"P1": 4}, [])


def test_calls_that_arrive_after_all_are_followed_back_to_the_platforms_count() -> None:
    """Three of seven callbacks were on their way for longer than an hour."""
    bench = FollowingBench(BOUGHT, *calls(4), agreement_set(at(5)), *seen_twice(6, 7))
    bench.turn()
    bench.played.on(*calls(3, 5.5), ticked(at(6.1)))
    bench.turn()
    assert bench.packs() == {"P1": 10}
    bench.turn()
    assert bench.packs() == {"P1": 7}
    stores = [entry.store for entry in bench.played.of("charge") for _ in range(abs(entry.calls))]
    assert stores.count("a") == 7
    assert sum(entry.calls for entry in bench.played.of("followed")) == 0


def test_an_unsettled_app_is_settled_first() -> None:
    bench = FollowingBench(BOUGHT, *calls(4), agreement_set(at(5)), *seen_twice(6, 7))
    bench.played.on(purchased(at(7), "FIRST", calls=20, days=30, paid_at=at(2)))
    assert bench.unsettled is not None
    bench.turn()
    assert bench.packs() == {"FIRST": 4}
    assert bench.values == []


def test_of_two_settlers_that_see_the_same_one_books_it() -> None:
    bench = FollowingBench(BOUGHT, *calls(4), agreement_set(at(5)), *seen_twice(6, 7))
    bench.delivers = False
    bench.turn()
    bench.turn(bench.another())
    assert [json.loads(value)["id"] for value in bench.values] == [json.loads(bench.values[0])["id"]] * 2
    bench.delivers = True
    bench.played.on(*bench.values)
    bench.turn()
    assert (bench.packs(), bench.refusals()) == ({"P1": 7}, ["overtaken"])


def test_one_that_was_killed_before_it_published_is_followed_by_another() -> None:
    bench = FollowingBench(BOUGHT, *calls(4), agreement_set(at(5)), *seen_twice(6, 7))
    bench.failure = KafkaTimeoutError("no answer")
    with pytest.raises(KafkaTimeoutError):
        bench.turn()
    bench.failure = None
    bench.turn(bench.another())
    assert bench.packs() == {"P1": 7}


def test_a_failure_is_tried_again_at_once() -> None:
    bench = FollowingBench(BOUGHT, *calls(4), agreement_set(at(5)), *seen_twice(6, 7))
    bench.failure = KafkaTimeoutError("no answer")
    with pytest.raises(KafkaTimeoutError):
        bench.turn()
    bench.failure = None
    bench.follower.turn()
    assert bench.packs() == {"P1": 7}


def test_what_does_not_fit_is_tried_once_and_keeps_back_nothing_else() -> None:
    """Of P2, which the log does not have, nothing can be taken."""
    bench = FollowingBench(
        BOUGHT, *calls(4), agreement_set(at(5)), *seen_twice(6, 3, "P2"), *seen_twice(6.1, 7)
    )  # fmt: skip
    bench.turn()
    assert (bench.packs(), bench.refusals()) == ({"P1": 7}, ["does_not_fit"])
    bench.turn()
    assert len(bench.values) == 2
    bench.played.on(*seen_twice(7, 4, "P2"))
    bench.turn()
    assert bench.refusals() == ["does_not_fit"] * 2


def test_it_looks_again_after_a_pause_and_only_then() -> None:
    bench = FollowingBench(BOUGHT, *calls(4), agreement_set(at(5)))
    bench.turn()
    bench.played.on(*seen_twice(6, 7), ticked(at(6.1)))
    bench.follower.turn()
    assert bench.values == []
    bench.turn()
    assert len(bench.values) == 1


def test_nothing_is_compared_while_no_app_follows(monkeypatch: pytest.MonkeyPatch) -> None:
    bench = FollowingBench(BOUGHT, *calls(4), *seen_twice(6, 7))
    monkeypatch.setattr(bench.ledger, "staying", lambda: pytest.fail("the costly view was read"))
    bench.turn()
    assert bench.values == []


def test_a_newer_settlement_that_may_be_there_in_part_is_awaited() -> None:
    bench = FollowingBench(BOUGHT, *calls(4), agreement_set(at(5)), *seen_twice(6, 7))
    newest: dict[str, int] = {APP: bench.played.state.next_offset + 5}
    bench.ledger.newest_settlements = lambda: newest  # type: ignore[method-assign]
    bench.turn()
    assert bench.values == []
    newest[APP] = 0
    bench.turn()
    assert len(bench.values) == 1


def test_many_differences_come_in_several_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    bench = FollowingBench(BOUGHT, *calls(4), agreement_set(at(5)))
    bench.delivers = False
    many = [FollowedDifference(APP, "quick", f"P{each}", 1, at(6)) for each in range(EVENTS_MAX + 5)]
    monkeypatch.setattr(bench.ledger, "staying", lambda: many)
    for published in (EVENTS_MAX, EVENTS_MAX + 5, EVENTS_MAX + 5):
        bench.turn()
        assert len(bench.values) == published
    told: list[Any] = [json.loads(value) for value in bench.values]
    assert [one["data"]["follows"] for one in told] == ["", *(one["id"] for one in told[:-1])]
