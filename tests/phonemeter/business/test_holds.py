"""Holds in the business database, SQLite and PostgreSQL: several gateways grant exactly what there is."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from msgspec.structs import replace

from metering.times import MINUTE_MS, SECOND_MS
from phonemeter.business.database import BusinessDatabase
from phonemeter.business.holds import HoldStore
from sinks.balances.holds import (
    CONFIRMED_MS_MAX,
    SEEN_MS,
    Hold,
    HoldLimits,
    HoldsUnavailableError,
    counted,
)

NOW_MS = 1_800_000_000_000
APP = "wxfb1f3d218d111092"
SEEN_NOTHING = -1

pytestmark = pytest.mark.stack


@pytest.fixture
def store(url: str) -> Iterator[HoldStore]:
    with BusinessDatabase(url) as database:
        yield HoldStore(database)


def hold(name: str, at_ms: int = NOW_MS, seconds: int = 60, **more: object) -> Hold:
    ends_ms = at_ms + seconds * SECOND_MS
    made = Hold(
        hold_id=name,
        appid=APP,
        capability="quick",
        store="store-03",
        granted_at_ms=at_ms,
        expires_at_ms=ends_ms,
        ends_at_ms=ends_ms,
    )
    return replace(made, **more)


def limits(free: int, seen_through: int = SEEN_NOTHING, store_free: int | None = None) -> HoldLimits:
    return HoldLimits(free, ("quick",), seen_through, store_free)


def test_two_gateways_grant_exactly_the_calls_that_are_left(url: str) -> None:
    """Each gateway has connections of its own, and a hundred requests at once for the last seven calls."""
    with BusinessDatabase(url) as one, BusinessDatabase(url) as other, ThreadPoolExecutor(8) as pool:
        stores = (HoldStore(one), HoldStore(other))
        asked = [
            pool.submit(stores[number % 2].grant, hold(f"hold-{number}"), limits(7)) for number in range(100)
        ]
        answers = [each.result() for each in asked]
        assert len([each for each in answers if isinstance(each, Hold)]) == 7
        assert answers.count("nothing_left") == 93
        assert len(stores[0].open(NOW_MS)) == 7


def test_what_expired_or_was_released_can_be_held_again(store: HoldStore) -> None:
    assert isinstance(store.grant(hold("a", seconds=1), limits(2)), Hold)
    assert isinstance(store.grant(hold("b"), limits(2)), Hold)
    assert store.grant(hold("c"), limits(2)) == "nothing_left"
    assert isinstance(store.grant(hold("d", NOW_MS + SECOND_MS), limits(2)), Hold)
    assert store.release(APP, "b", NOW_MS) == "released"
    assert store.release(APP, "b", NOW_MS) == "unknown"
    assert isinstance(store.grant(hold("e", NOW_MS + SECOND_MS), limits(2)), Hold)
    assert {each.hold_id for each in store.open(NOW_MS + SECOND_MS)} == {"d", "e"}


def test_a_hold_is_only_its_own_apps(store: HoldStore) -> None:
    store.grant(hold("a"), limits(1))
    assert store.release("wx-other", "a", NOW_MS) == "unknown"
    assert not store.confirm("wx-other", "a", "event", NOW_MS)
    assert isinstance(store.grant(hold("b", appid="wx-other"), limits(1)), Hold)


def test_a_confirmed_hold_counts_beyond_its_expiry_until_the_balance_has_its_call(store: HoldStore) -> None:
    store.grant(hold("a", seconds=1), limits(1))
    assert store.confirm(APP, "a", "event-1", NOW_MS)
    assert store.release(APP, "a", NOW_MS) == "confirmed"
    later_ms = NOW_MS + MINUTE_MS
    assert counted(store.open(later_ms)).awaited == {"event-1": "a"}
    assert store.grant(hold("b", later_ms), limits(1)) == "nothing_left"
    store.mark_seen({"event-1": 41}, later_ms)
    assert counted(store.open(later_ms)).held(APP, ("quick",)) == 0
    # A gateway that is not as far has a balance without the call, and still counts the hold.
    assert store.grant(hold("c", later_ms), limits(1, seen_through=40)) == "nothing_left"
    assert isinstance(store.grant(hold("d", later_ms), limits(1, seen_through=41)), Hold)


def test_a_confirmed_hold_whose_event_never_comes_ends(store: HoldStore) -> None:
    store.grant(hold("a"), limits(1))
    store.confirm(APP, "a", "event-1", NOW_MS)
    assert store.grant(hold("b", NOW_MS + CONFIRMED_MS_MAX - 1), limits(1)) == "nothing_left"
    assert isinstance(store.grant(hold("c", NOW_MS + CONFIRMED_MS_MAX), limits(1)), Hold)


def test_a_hold_that_ended_is_not_confirmed_and_is_removed(store: HoldStore) -> None:
    store.grant(hold("a", seconds=1), limits(1))
    assert not store.confirm(APP, "a", "event-1", NOW_MS + SECOND_MS)
    assert store.release(APP, "a", NOW_MS + SECOND_MS) == "unknown"
    store.grant(hold("b"), limits(2))
    store.confirm(APP, "b", "event-2", NOW_MS)
    store.mark_seen({"event-2": 7}, NOW_MS)
    assert [each.hold_id for each in store.open(NOW_MS + SEEN_MS - 1)] == ["b"]
    assert store.open(NOW_MS + SEEN_MS) == []


def test_the_same_repeat_gets_the_same_hold_and_another_content_is_refused(store: HoldStore) -> None:
    first = store.grant(hold("a", repeat="r"), limits(1))
    assert store.grant(hold("b", NOW_MS + 5, repeat="r"), limits(1)) == first
    assert store.grant(hold("c", repeat="r", store="store-04"), limits(9)) == "repeat_differs"
    assert len(store.open(NOW_MS)) == 1


def test_a_store_with_a_budget_holds_no_more_than_it(store: HoldStore) -> None:
    assert isinstance(store.grant(hold("a"), limits(9, store_free=1)), Hold)
    assert store.grant(hold("b"), limits(9, store_free=1)) == "nothing_left"
    assert isinstance(store.grant(hold("c", store="store-04"), limits(9, store_free=1)), Hold)


def test_what_both_capabilities_take_of_one_trial_quota_is_counted_together(store: HoldStore) -> None:
    store.grant(hold("a", capability="realtime"), limits(1))
    both = HoldLimits(1, ("quick", "realtime"), SEEN_NOTHING)
    assert store.grant(hold("b"), both) == "nothing_left"
    assert isinstance(store.grant(hold("c"), limits(1)), Hold)


def test_a_database_that_is_away_is_said_in_a_sentence(free_port: object) -> None:
    assert callable(free_port)
    url = f"postgresql://phonemeter@127.0.0.1:{free_port()}/phonemeter"
    with BusinessDatabase(url) as database, pytest.raises(HoldsUnavailableError, match="can't be used"):
        HoldStore(database).open(NOW_MS)
