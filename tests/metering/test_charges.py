"""The quota that an authorization is taken from (rules 1, 3, 4, 5, 7 and 8)."""

from collections.abc import Callable

import pytest

from metering.rating import rate
from metering.rules import Rules
from tests.metering.building import (
    APP,
    DAY_MS,
    HOUR_MS,
    NO_TRIAL,
    at,
    denied,
    failed,
    pack_of,
    play,
    purchased,
    refunded,
    succeeded,
    ticked,
    trial_of,
    use_of,
)


def test_a_succeeded_tap_is_exactly_one_call() -> None:
    (call,) = play(purchased(at(0), "pack-1"), succeeded(at(1))).of("charge")
    assert (call.calls, call.pack_id, call.remaining, call.time_ms) == (1, "pack-1", 9, at(1))


@pytest.mark.parametrize(("tap", "kind", "errno"), [(denied, "denied", 103), (failed, "failed", 1_400_001)])
def test_an_unsuccessful_tap_is_counted_and_never_charged(
    tap: Callable[[int], bytes], kind: str, errno: int
) -> None:
    played = play(purchased(at(0), "pack-1"), tap(at(1)))
    (line,) = played.of(kind)
    assert (line.calls, line.amount_micro_yuan, line.pack_id, line.errno) == (0, 0, "", errno)
    assert played.of("charge") == []


def test_a_call_says_where_it_happened() -> None:
    where = {"scene": "card_claim", "store": "store-03", "env": "trial", "client": "e7d524b842e625e2"}
    (call,) = play(purchased(at(0), "pack-1"), succeeded(at(1), **where)).of("charge")
    assert {name: getattr(call, name) for name in where} == where
    assert (call.appid, call.capability, call.source) == (APP, "quick", "/tests")


def test_the_seed_scenario() -> None:
    """A pack of 250 calls, bought before billing start, after the 1,000 calls of the trial quota."""
    pack = purchased(at(-3), "seed", calls=250, days=90, price=7_500_000)
    free = [succeeded(at(-1, ms=number)) for number in range(20)]
    calls = [succeeded(at(0, ms=number)) for number in range(1_260)]
    rating = rate([pack, *free, *calls], Rules())
    use, seed = use_of(rating), pack_of(rating, "seed")
    assert (seed.starts_at, seed.expires_at) == ("2023-08-25T16:00:00.000Z", "2023-11-23T16:00:00.000Z")
    assert (use.free, use.trial_charged, use.charged, use.uncovered) == (20, 1_000, 250, 10)
    assert (use.succeeded, use.amount_micro_yuan) == (1_280, 7_500_000)
    assert (seed.status, seed.remaining, seed.amount_micro_yuan) == ("exhausted", 0, 7_500_000)
    assert trial_of(rating).remaining == 0


def test_the_first_1000_calls_are_the_trials() -> None:
    pack = purchased(at(0), "pack-1")
    played = play(pack, *[succeeded(at(1, ms=number)) for number in range(1_001)], rules=Rules())
    kinds = [entry.kind for entry in played.of("trial_charge", "charge")]
    assert kinds == ["trial_charge"] * 1_000 + ["charge"]
    assert [entry.remaining for entry in played.of("trial_charge")] == list(range(999, -1, -1))


@pytest.mark.parametrize(("ms", "kind"), [(-1, "free"), (0, "charge"), (1, "charge")])
def test_charging_begins_at_billing_start_itself(ms: int, kind: str) -> None:
    played = play(purchased(at(-1), "pack-1"), succeeded(at(ms=ms)))
    assert [entry.kind for entry in played.of("free", "charge")] == [kind]


def test_a_free_call_that_arrives_after_billing_start_is_still_free() -> None:
    played = play(succeeded(at(5)), succeeded(at(-5)), rules=Rules(trial_calls=1))
    assert [entry.kind for entry in played.of("free", "trial_charge")] == ["trial_charge", "free"]


def test_billing_start_is_a_setting() -> None:
    rules = Rules(trial_calls=0, billing_start_ms=at(2))
    played = play(purchased(at(0), "pack-1"), succeeded(at(2, ms=-1)), succeeded(at(2)), rules=rules)
    assert [entry.kind for entry in played.of("free", "charge")] == ["free", "charge"]


def test_the_trial_quota_of_an_account_is_shared_by_its_capabilities() -> None:
    calls = [succeeded(at(1), capability=capability) for capability in ("quick", "realtime", "quick")]
    played = play(*calls, rules=Rules(trial_calls=2))
    assert [entry.kind for entry in played.of("trial_charge", "uncovered")] == [
        "trial_charge",
        "trial_charge",
        "uncovered",
    ]


def test_a_trial_quota_per_capability_is_each_ones_own() -> None:
    calls = [succeeded(at(1), capability=capability) for capability in ("quick", "realtime") * 2]
    rules = Rules(trial_calls=1, trial_scope="capability")
    played = play(*calls, rules=rules)
    assert [(entry.capability, entry.kind) for entry in played.of("trial_charge", "uncovered")] == [
        ("quick", "trial_charge"),
        ("realtime", "trial_charge"),
        ("quick", "uncovered"),
        ("realtime", "uncovered"),
    ]
    assert [(entry.capability, entry.calls) for entry in played.of("trial_grant")] == [
        ("quick", 1),
        ("realtime", 1),
    ]
    trial = trial_of(rate(calls, rules))
    assert (trial.size, trial.remaining) == (2, 0)


def test_the_trial_quota_is_granted_once_and_never_expires() -> None:
    played = play(succeeded(at(0)), ticked(at(4_000)), succeeded(at(4_001)), rules=Rules(trial_calls=2))
    assert played.of("lapse", "uncovered") == []
    assert len(played.of("trial_grant")) == 1
    assert len(played.of("trial_charge")) == 2


def test_the_trial_quota_is_shared_by_release_trial_and_development_builds() -> None:
    calls = [succeeded(at(1), env=env) for env in ("release", "trial", "develop")]
    assert len(play(*calls, rules=Rules(trial_calls=5)).of("trial_charge")) == 3


def test_without_a_trial_quota_nothing_is_granted() -> None:
    assert play(succeeded(at(0))).kinds() == ["uncovered", "alert"]


def test_the_pack_that_expires_first_is_charged_first() -> None:
    packs = [purchased(at(0), "long", days=365), purchased(at(1), "short", days=90)]
    assert play(*packs, succeeded(at(2))).packs_charged() == ["short"]


def test_of_two_packs_that_expire_together_the_one_that_started_first_is_charged_first() -> None:
    packs = [purchased(at(10), "a-later", days=90), purchased(at(0), "b-earlier", days=100)]
    assert play(*packs, succeeded(at(11))).packs_charged() == ["b-earlier"]


def test_of_two_packs_with_the_same_validity_the_smaller_id_is_charged_first() -> None:
    packs = [purchased(at(0), "pack-2", calls=1), purchased(at(0), "pack-10", calls=1)]
    assert play(*packs, succeeded(at(1)), succeeded(at(1))).packs_charged() == ["pack-10", "pack-2"]


def test_the_order_of_purchases_decides_nothing() -> None:
    packs = [purchased(at(0), name, calls=1) for name in ("c", "a", "b")]
    assert play(*packs, *[succeeded(at(1)) for _ in packs]).packs_charged() == ["a", "b", "c"]


def test_when_a_pack_is_exhausted_the_next_one_is_charged() -> None:
    packs = [purchased(at(0), "long", days=365), purchased(at(0), "short", days=90, calls=2)]
    calls = [succeeded(at(1)) for _ in range(3)]
    assert play(*packs, *calls).packs_charged() == ["short", "short", "long"]


def test_a_pack_covers_its_own_capability_only() -> None:
    played = play(purchased(at(0), "pack-1"), succeeded(at(1), capability="realtime"))
    assert [entry.reason for entry in played.of("uncovered")] == ["no_pack"]


@pytest.mark.parametrize(("ms", "charged"), [(-1, False), (0, True)])
def test_a_pack_can_be_charged_from_its_start_on(ms: int, charged: bool) -> None:  # noqa: FBT001 - pytest names it
    played = play(purchased(at(0), "pack-1", starts_at=at(5)), succeeded(at(5, ms=ms)))
    assert bool(played.packs_charged()) is charged


@pytest.mark.parametrize(("ms", "charged"), [(-1, True), (0, False)])
def test_at_its_expiry_itself_a_pack_is_gone(ms: int, charged: bool) -> None:  # noqa: FBT001 - pytest names it
    played = play(purchased(at(0), "pack-1", days=90), succeeded(at(90, ms=ms)))
    assert bool(played.packs_charged()) is charged


def test_a_late_call_is_charged_to_the_pack_of_its_own_time() -> None:
    packs = [purchased(at(0), "first", days=5), purchased(at(0), "second", days=90)]
    played = play(*packs, succeeded(at(5, hours=12)), succeeded(at(4)))
    assert played.packs_charged() == ["second", "first"]


@pytest.mark.parametrize(("ms", "kind"), [(-1, "charge"), (0, "uncovered")])
def test_a_pack_stays_open_for_late_calls_until_its_lateness_is_over(ms: int, kind: str) -> None:
    """The app's own clock decides: its newest event."""
    played = play(purchased(at(0), "pack-1", days=5), denied(at(6, ms=ms)), succeeded(at(4)))
    assert [entry.kind for entry in played.of("charge", "uncovered")] == [kind]


def test_a_call_later_than_the_allowed_lateness_is_kept_as_too_late() -> None:
    played = play(purchased(at(0), "pack-1", days=5), denied(at(6)), succeeded(at(4)))
    (call,) = played.of("uncovered")
    assert (call.reason, call.calls, call.time_ms) == ("too_late", 1, at(4))


def test_a_call_is_late_by_clock_ticks_too() -> None:
    played = play(purchased(at(0), "pack-1", days=5), ticked(at(6)), succeeded(at(4)))
    assert [entry.reason for entry in played.of("uncovered")] == ["too_late"]


def test_another_apps_events_make_no_call_late() -> None:
    played = play(purchased(at(0), "pack-1", days=5), succeeded(at(100), app="wx-other"), succeeded(at(4)))
    assert played.packs_charged() == ["pack-1"]


def test_a_call_that_is_very_late_for_a_pack_still_valid_is_charged() -> None:
    played = play(purchased(at(0), "pack-1", days=90), ticked(at(80)), succeeded(at(1)))
    assert played.packs_charged() == ["pack-1"]


def test_the_lateness_allowed_is_a_setting() -> None:
    rules = Rules(trial_calls=0, allowed_lateness_ms=HOUR_MS)
    played = play(purchased(at(0), "pack-1", days=5), ticked(at(5) + HOUR_MS), succeeded(at(4)), rules=rules)
    assert [entry.reason for entry in played.of("uncovered")] == ["too_late"]


def test_without_any_lateness_a_pack_lapses_at_its_expiry() -> None:
    rules = Rules(trial_calls=0, allowed_lateness_ms=0)
    played = play(purchased(at(0), "pack-1", days=5), ticked(at(5)), rules=rules)
    assert [(entry.time_ms, entry.calls) for entry in played.of("lapse")] == [(at(5), 10)]


def test_a_call_without_any_pack_is_uncovered_for_want_of_one() -> None:
    (call,) = play(succeeded(at(1))).of("uncovered")
    assert (call.reason, call.calls, call.amount_micro_yuan, call.pack_id) == ("no_pack", 1, 0, "")


@pytest.mark.parametrize("day", [1, 5.5, 7])
def test_a_call_whose_packs_were_all_used_is_uncovered_as_exhausted(day: float) -> None:
    """Also after the expiry of the pack: nothing lapsed."""
    played = play(
        purchased(at(0), "pack-1", calls=1, days=5), succeeded(at(1)), ticked(at(day)), succeeded(at(1))
    )
    assert [entry.reason for entry in played.of("uncovered")] == ["exhausted"]


def test_a_pack_exhausted_by_a_late_call_is_exhausted_and_does_not_lapse() -> None:
    played = play(
        purchased(at(0), "pack-1", calls=1, days=5), ticked(at(5.5)), succeeded(at(4)), succeeded(at(4))
    )
    played.on(ticked(at(7)))
    assert [entry.reason for entry in played.of("uncovered")] == ["exhausted"]
    assert played.of("lapse") == []


def test_a_refunded_pack_covers_nothing() -> None:
    played = play(purchased(at(0), "pack-1"), refunded(at(1), "pack-1"), succeeded(at(2)))
    assert [entry.reason for entry in played.of("uncovered")] == ["no_pack"]


def test_a_pack_of_one_call_is_charged_its_whole_price_at_once() -> None:
    (call,) = play(purchased(at(0), "pack-1", calls=1, price=7), succeeded(at(1))).of("charge")
    assert (call.amount_micro_yuan, call.remaining) == (7, 0)


def test_a_pack_that_was_given_away_is_charged_like_any_other() -> None:
    (call,) = play(purchased(at(0), "pack-1", price=0), succeeded(at(1))).of("charge")
    assert (call.amount_micro_yuan, call.remaining) == (0, 9)


def test_the_calls_of_a_pack_cost_its_price_whatever_the_remainder() -> None:
    played = play(purchased(at(0), "pack-1", calls=3, price=10), *[succeeded(at(1)) for _ in range(3)])
    assert [entry.amount_micro_yuan for entry in played.of("charge")] == [3, 3, 4]


def test_apps_never_share_a_pack_even_if_its_id_is_the_same() -> None:
    played = play(
        purchased(at(0), "pack-1", calls=1, app="wx-a"),
        purchased(at(0), "pack-1", calls=1, app="wx-b"),
        *[succeeded(at(1), app=app) for app in ("wx-a", "wx-b", "wx-a")],
    )
    assert [(e.appid, e.kind) for e in played.of("charge", "uncovered")] == [
        ("wx-a", "charge"),
        ("wx-b", "charge"),
        ("wx-a", "uncovered"),
    ]


def test_calls_long_before_billing_start_are_read() -> None:
    assert play(succeeded(at(-2_000))).kinds() == ["free"]


def test_rules_are_the_domains_unless_set() -> None:
    rules = Rules()
    assert (rules.trial_calls, rules.trial_scope, rules.allowed_lateness_ms) == (1_000, "account", DAY_MS)
    assert NO_TRIAL.billing_start_ms == rules.billing_start_ms
