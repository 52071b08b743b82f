"""Following the platform's count where an app's policy says so (rule 17)."""

import json
import random
from collections import Counter
from dataclasses import replace
from hashlib import sha256
from typing import Any, Literal

import pytest

from metering.accounts import Account
from metering.packs import Pack
from metering.rating import rate
from metering.rules import Rules
from tests.metering.building import (
    APP,
    NO_TRIAL,
    Play,
    agreement_set,
    at,
    corrected,
    event,
    opened,
    play,
    purchased,
    succeeded,
    taken_back,
    text_of,
    ticked,
)
from tests.metering.settler import Settler


def moved(quota: str, calls: int, *, capability: str = "quick", day: float = 6) -> dict[str, Any]:
    """The move that books a difference: above 0, the platform counts more."""
    from_, to = ("followed", quota) if calls > 0 else (quota, "followed")
    return {
        "capability": capability, "from": from_, "to": to, "calls": abs(calls), "time": text_of(at(day))
    }  # fmt: skip


def following(*moves: dict[str, Any], after: str = "", day: float = 6, **data: Any) -> bytes:  # noqa: ANN401
    """A settlement that follows the platform's count, with an id of its own."""
    told = {"as_of": 0, "after": -1, "from": text_of(at(day)), "moves": list(moves), "follows": after} | data
    identifier = sha256(json.dumps(told).encode()).hexdigest()
    return event("account.settled", at(day), told, id=identifier)


def id_of(value: bytes) -> str:
    return str(json.loads(value)["id"])


def calls(number: int, *, day: float = 5, store: str = "a", first: int = 0) -> list[bytes]:
    return [
        succeeded(at(day + each / 2_400), event_id=f"call-{day}-{first + each}", store=store)
        for each in range(number)
    ]


def charged(played: Play) -> dict[str, int]:
    """Calls by pack; those of the trial quota have the empty name."""
    found: Counter[str] = Counter()
    for entry in (*played.of("charge"), *played.of("trial_charge")):
        found[entry.pack_id] += entry.calls
    return {pack_id: number for pack_id, number in found.items() if number}


def account_of(played: Play) -> Account:
    return played.state.accounts[APP]


def pack_in(played: Play) -> Pack:
    """The only pack."""
    (pack,) = account_of(played).quick.packs
    return pack


def by_store(played: Play) -> dict[str, int]:
    """The calls of the usage curves."""
    found: Counter[str] = Counter()
    for kind in ("charge", "trial_charge", "free", "exempt", "uncovered"):
        for entry in played.of(kind):
            found[entry.store] += entry.calls
    return {store: number for store, number in found.items() if number}


def settle(played: Play) -> Play:
    Settler(played).settle()
    assert_balanced(played)
    return played


def assert_balanced(played: Play) -> None:
    """Pairs add up to no calls, and every pack has what its entries say."""
    pairs: Counter[tuple[int, str]] = Counter()
    used: Counter[str] = Counter()
    for entry in played.entries:
        if entry.reason == "settled" and entry.kind not in {"purchase", "opening", "lapse", "refund"}:
            pairs[entry.offset, entry.capability] += entry.calls
        if entry.kind in {"charge", "lapse", "refund", "opening"}:
            used[entry.pack_id] += entry.calls
    assert not any(pairs.values())
    for account in played.state.accounts.values():
        for capability in account.capabilities.values():
            for pack in (*capability.open, *capability.spent):
                assert used[pack.pack_id] == pack.calls - pack.remaining


BOUGHT = purchased(at(1), "P1", calls=10, price=1_000, event_id="bought", days=90)


def test_a_difference_is_booked_at_no_store_with_its_cost() -> None:
    played = play(BOUGHT, *calls(4), agreement_set(at(5)), following(moved("pack:P1", 3)))
    assert charged(played) == {"P1": 7}
    assert by_store(played) == {"a": 4, "": 3}
    assert sum(entry.amount_micro_yuan for entry in played.of("charge")) == 700
    (booked,) = played.of("followed")
    assert (booked.calls, booked.reason, booked.time_ms) == (-3, "settled", at(6))
    assert pack_in(played).remaining == 3
    assert charged(settle(played)) == {"P1": 7}
    assert not played.of("settlement_refused")


def test_what_the_platform_does_not_count_is_given_back() -> None:
    played = play(BOUGHT, *calls(4), agreement_set(at(5)), following(moved("pack:P1", -3)))
    assert charged(played) == {"P1": 1}
    assert by_store(played) == {"a": 4, "": -3}
    assert [entry.calls for entry in played.of("followed")] == [3]
    assert charged(settle(played)) == {"P1": 1}


@pytest.mark.parametrize("scope", ["account", "capability"])
def test_a_trial_quota_is_followed_as_well(scope: Literal["account", "capability"]) -> None:
    rules = replace(Rules(trial_calls=10), trial_scope=scope)
    played = play(*calls(4), agreement_set(at(5)), following(moved("trial", 5)), rules=rules)
    assert charged(settle(played)) == {"": 9}
    back = following(moved("trial", -7, day=7), after=account_of(played).followed_id, day=7)
    assert charged(settle(played.with_(back))) == {"": 2}
    assert not played.of("settlement_refused")


def test_an_app_that_does_not_follow_refuses_and_what_was_booked_stays() -> None:
    first = following(moved("pack:P1", 1))
    played = play(BOUGHT, *calls(4), first)
    assert refusals(played) == ["not_following"]
    second = following(moved("pack:P1", 2), after=id_of(first))
    played.on(agreement_set(at(6)), second, agreement_set(at(7), "report"))
    third = following(moved("pack:P1", 3), after=id_of(second))
    played.on(third)
    assert refusals(played) == ["not_following"] * 2
    assert charged(settle(played)) == {"P1": 6}
    assert [json.loads(entry.details) for entry in played.of("agreement_set")] == [
        {"policy": "follow"}, {"policy": "report"}
    ]  # fmt: skip


def refusals(played: Play) -> list[str]:
    return [entry.reason for entry in played.of("settlement_refused")]


def test_of_two_that_were_read_at_the_same_time_one_is_applied() -> None:
    one = following(moved("pack:P1", 3))
    other = following(moved("pack:P1", 3), as_of=1)
    played = play(BOUGHT, *calls(4), agreement_set(at(5)), one, other, one)
    assert refusals(played) == ["overtaken"] * 2
    assert charged(settle(played)) == {"P1": 7}


WRONG: dict[str, dict[str, Any]] = {
    "a move between packs": moved("pack:P1", 1) | {"from": "uncovered"},
    "a move to nothing": moved("uncovered", 1),
    "a move at a store": moved("pack:P1", 1) | {"store": "a"},
    "a negative move": moved("pack:P1", 1) | {"calls": -1},
    "more than a pack holds": moved("pack:P1", 7),
    "more than was taken of a pack": moved("pack:P1", -5),
    "an unknown pack": moved("pack:P2", 1),
    "a pack of another capability": moved("pack:P1", 1, capability="realtime"),
    "a time at which the pack is not valid": moved("pack:P1", 1, day=0.9),
}


@pytest.mark.parametrize("move", WRONG.values(), ids=WRONG)
def test_what_does_not_fit_is_refused_and_changes_nothing(move: dict[str, Any]) -> None:
    played = play(BOUGHT, *calls(4), agreement_set(at(5)), following(move))
    assert refusals(played) == ["does_not_fit"]
    assert charged(settle(played)) == {"P1": 4}


def test_a_time_earlier_on_the_day_on_which_a_pack_starts_does_not_fit() -> None:
    later = purchased(at(6.5), "P2", calls=10)
    played = play(later, agreement_set(at(7)), following(moved("pack:P2", 1, day=6.2), day=7))
    assert refusals(played) == ["does_not_fit"]


@pytest.mark.parametrize(
    "more", [{"removed": ["P1"]}, {"refunded": ["P1"]}, {"parts": 2}, {"follows": None}], ids=str
)
def test_one_that_follows_does_nothing_else(more: dict[str, Any]) -> None:
    played = play(BOUGHT, agreement_set(at(5)), following(moved("pack:P1", 1), **more))
    assert refusals(played) in (["does_not_fit"], ["overtaken"])
    assert pack_in(played).remaining == 10


def test_calls_that_were_missing_and_arrive_after_all_are_followed_back() -> None:
    """The platform counts seven: three callbacks were on their way for longer than an hour."""
    first = following(moved("pack:P1", 3))
    played = settle(play(BOUGHT, *calls(4), agreement_set(at(5)), first, ticked(at(7))))
    played = settle(played.with_(*calls(3, first=10)))
    assert charged(played) == {"P1": 10}
    played = settle(played.with_(following(moved("pack:P1", -3), after=id_of(first)), ticked(at(8))))
    assert charged(played) == {"P1": 7}
    assert by_store(played) == {"a": 7}
    assert not sum(entry.calls for entry in played.of("followed"))


def test_a_late_pack_takes_calls_beside_those_that_were_followed() -> None:
    """Followed calls stay in their pack, whatever else a settlement moves."""
    played = play(
        BOUGHT, *calls(6), agreement_set(at(5)), following(moved("pack:P1", 2)), *calls(2, day=7),
        purchased(at(8), "FIRST", calls=20, days=30, paid_at=at(2)), ticked(at(9)),
    )  # fmt: skip
    assert charged(settle(played)) == {"P1": 2, "FIRST": 8}


def test_calls_after_it_go_to_the_next_pack_where_the_platform_had_used_up_the_first() -> None:
    played = play(
        BOUGHT, purchased(at(1), "P2", calls=10, days=180), *calls(6), *calls(3, day=7), agreement_set(at(7)),
        following(moved("pack:P1", 1)), *calls(2, day=8),
    )  # fmt: skip
    assert charged(settle(played)) == {"P1": 10, "P2": 2}
    late = calls(2, day=5.5)
    assert charged(settle(played.with_(*late))) == {"P1": 10, "P2": 4}


def test_what_a_pack_does_not_hold_any_more_is_uncovered() -> None:
    """Late calls from before fill the pack: it holds one of the three that were followed."""
    played = play(BOUGHT, *calls(4), agreement_set(at(5)), following(moved("pack:P1", 3)), ticked(at(7)))
    played = settle(played.with_(*calls(5, first=20)))
    assert charged(played) == {"P1": 10}
    assert by_store(played) == {"a": 9, "": 3}
    assert sum(entry.calls for entry in played.of("uncovered")) == 2


def test_a_pack_that_lapses_or_is_refunded_meanwhile_keeps_what_was_followed() -> None:
    lapsed = play(BOUGHT, *calls(4), agreement_set(at(5)), ticked(at(120)), following(moved("pack:P1", 3)))
    assert charged(settle(lapsed)) == {"P1": 7}
    assert sum(entry.calls for entry in lapsed.of("lapse")) == 3
    refunded = play(
        BOUGHT, *calls(4), agreement_set(at(5)), taken_back(at(8), "P1"), following(moved("pack:P1", 3))
    )
    assert charged(settle(refunded)) == {"P1": 7}
    assert sum(entry.calls for entry in refunded.of("refund")) == 3
    before = play(
        BOUGHT, *calls(4), agreement_set(at(5)), taken_back(at(5.5), "P1"), following(moved("pack:P1", 3))
    )
    assert charged(settle(before)) == {"P1": 4}
    assert sum(entry.calls for entry in before.of("uncovered")) == 3


@pytest.mark.parametrize("difference", [3, -3])
@pytest.mark.parametrize("late", [False, True])
def test_a_pack_whose_terms_are_corrected_keeps_what_was_followed(difference: int, *, late: bool) -> None:
    follow = following(moved("pack:P1", difference))
    correction = corrected(at(9), "bought", set={"calls": 20, "price_micro_yuan": 4_000})
    rest = [correction, follow] if late else [follow, correction]
    played = settle(play(BOUGHT, *calls(4), agreement_set(at(5)), *rest, ticked(at(9))))
    assert charged(played) == {"P1": 4 + difference}
    assert sum(entry.amount_micro_yuan for entry in played.of("charge")) == (4 + difference) * 200
    assert account_of(played).unsettled_ms > at(99)
    assert not played.of("settlement_refused")


@pytest.mark.parametrize("difference", [3, -3])
def test_a_pack_that_was_not_bought_leaves_what_was_followed_uncovered(difference: int) -> None:
    played = play(BOUGHT, *calls(4), agreement_set(at(5)), following(moved("pack:P1", difference)))
    played = settle(played.with_(corrected(at(9), "bought", void=True), ticked(at(9))))
    assert charged(played) == {}
    assert sum(entry.calls for entry in played.of("uncovered")) == 4 + difference
    assert by_store(played) == {"a": 4, "": difference}


@pytest.mark.parametrize("difference", [3, -3])
def test_a_pack_of_another_id_leaves_what_was_followed_uncovered(difference: int) -> None:
    played = play(BOUGHT, *calls(4), agreement_set(at(5)), following(moved("pack:P1", difference)))
    played = settle(played.with_(corrected(at(9), "bought", set={"pack_id": "P9"}), ticked(at(9))))
    assert charged(played) == {"P9": 4}
    assert sum(entry.calls for entry in played.of("uncovered")) == difference


def test_an_opening_of_the_trial_quota_leaves_room_for_what_was_given_back() -> None:
    rules = Rules(trial_calls=10)
    played = play(*calls(4), agreement_set(at(5)), following(moved("trial", -3)), rules=rules)
    played = settle(played.with_(opened(at(9), 6), ticked(at(9))))
    assert charged(played) == {"": 1}


@pytest.mark.parametrize("whole", [False, True])
def test_a_file_with_such_events_is_rated_with_them(*, whole: bool) -> None:
    """Its lines have other offsets than the events had in the log."""
    log = [
        BOUGHT,
        *calls(4),
        agreement_set(at(5)),
        following(moved("pack:P1", 3), as_of=1_000),
        ticked(at(7)),
    ]
    found: Any = rate([ticked(at(0)), *log], NO_TRIAL, settled=whole).apps[APP]["quick"]
    assert (found.charged, found.succeeded, found.amount_micro_yuan) == (7, 7, 700)


def test_other_rules_keep_what_was_followed() -> None:
    """The one that does not fit by them is refused, and those after it are applied."""
    log = [*calls(4), agreement_set(at(5))]
    first = following(moved("trial", 5))
    second = following(moved("trial", 1, day=7), after=id_of(first), day=7)
    assert charged(settle(play(*log, first, second, rules=Rules(trial_calls=10)))) == {"": 10}
    fewer = play(*log, first, second, rules=Rules(trial_calls=6))
    assert refusals(fewer) == ["does_not_fit"]
    assert charged(settle(fewer)) == {"": 5}


def test_a_settlement_that_was_worked_out_before_is_overtaken() -> None:
    late = purchased(at(8), "FIRST", calls=20, days=30, paid_at=at(2))
    played = play(BOUGHT, *calls(4), agreement_set(at(5)), late, ticked(at(9)))
    settler = Settler(played)
    events = settler.events(settler.read(APP))
    played.on(following(moved("pack:P1", 3)), *events)
    assert refusals(played) == ["overtaken"]
    assert charged(settle(played)) == {"P1": 3, "FIRST": 4}


def test_the_policy_set_twice_by_one_event_is_a_duplicate() -> None:
    policy = agreement_set(at(5))
    played = play(BOUGHT, policy, policy)
    assert len(played.of("agreement_set")) == 1
    assert len(played.of("duplicate")) == 1


class Chance:
    """A seeded log of an app that follows; few calls, so that packs are used up, and lapse."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)  # noqa: S311 - a seeded log
        self.played = Play(Rules(trial_calls=self._random.choice((0, 5))))
        self.played.on(agreement_set(at(1)), *self._bought("P1", at(1.5)))
        self._now = 2.0
        self._number = 0

    def go_on(self) -> None:
        """Let something come, of now or of some days before."""
        one_of = self._random.choice
        self._now += self._random.random()
        day, pack_id = self._now - self._random.random() * 3, one_of(("P1", "P1", "P2", "P3"))
        match one_of(
            ("calls", "calls", "follow", "follow", "follow", "pack", "correction", "refund", "tick")
        ):
            case "calls":
                self._number += 3
                self.played.on(*calls(3, day=day, first=self._number))
            case "follow":
                quota = one_of(("trial", f"pack:{pack_id}"))
                move = moved(quota, one_of((-4, -2, -1, 1, 2, 5)), day=day)
                self.played.on(following(move, after=account_of(self.played).followed_id, day=day))
            case "pack":
                self.played.on(*self._bought(pack_id, at(day)))
            case "correction":
                changes = ({"void": True}, {"set": {"calls": 3}}, {"set": {"calls": 20}})
                change: dict[str, Any] = one_of((*changes, {"set": {"pack_id": "P3"}}))
                self.played.on(corrected(at(self._now), f"bought-{pack_id}", **change))
            case "refund":
                self.played.on(taken_back(at(day), pack_id))
            case _:
                self.played.on(ticked(at(self._now)))
        if self._random.random() < 0.3:
            settle(self.played)

    def _bought(self, pack_id: str, paid_at: int) -> list[bytes]:
        days, event_id = self._random.choice((8, 90)), f"bought-{pack_id}"
        return [purchased(paid_at, pack_id, calls=6, days=days, paid_at=paid_at, event_id=event_id)]


def test_whatever_comes_the_app_is_settled_and_every_pack_adds_up() -> None:
    booked = 0
    for seed in range(100):
        chance = Chance(seed)
        for _ in range(40):
            chance.go_on()
        played = settle(chance.played)
        followed = [entry.calls for entry in played.of("followed")]
        assert sum(followed) == -by_store(played).get("", 0)
        booked += len(followed)
    assert booked > 300
