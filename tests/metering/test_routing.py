"""The routing decision (rule 20): the order of reasons, staleness, refusals, hysteresis."""

from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from metering.routing import (
    HOLDS_MAX_MS,
    HOLDS_STALE_MS,
    ROUTING_REASONS,
    STALE_AFTER_MS,
    START,
    Hysteresis,
    KnownBalance,
    QuotaBalance,
    RouteName,
    RouteRequest,
    RoutingDecision,
    decide,
)
from metering.routing_policy import RoutingMode, RoutingPolicy, StaleAnswer, StoreBudget
from metering.routing_sentences import ROUTING_SENTENCES, sentence_of_routing
from metering.times import DAY_MS, HOUR_MS, MINUTE_MS, SECOND_MS, parse_time

NOW_MS = parse_time("2026-10-17T10:00:00+08:00")
MIDNIGHT_MS = parse_time("2026-10-18T00:00:00+08:00")
PAUSE_MS = RoutingPolicy().refusal_pause_s * SECOND_MS


def having(left: int, *, as_of_ms: int = NOW_MS, **fields: Any) -> KnownBalance:  # noqa: ANN401 - of KnownBalance
    return KnownBalance(as_of_ms, (QuotaBalance(left),), **fields)


def outcome(decision: RoutingDecision) -> tuple[str, str]:
    return decision.route, decision.reason


def decided(
    known: KnownBalance | None,
    now_ms: int = NOW_MS,
    **fields: Any,  # noqa: ANN401 - of RoutingPolicy
) -> tuple[str, str]:
    return outcome(decide(known, RouteRequest(now_ms), RoutingPolicy(**fields)))


def test_with_calls_left_members_are_sent_to_wechat_and_with_none_to_short_messages() -> None:
    assert decided(having(1)) == ("wechat", "enough")
    assert decided(having(0)) == ("sms", "used_up")
    assert decided(having(0), sms_left=0) == ("manual", "used_up")


def test_the_reserve_and_what_others_hold_are_kept_from_members() -> None:
    assert decided(having(101), reserve_calls=100) == ("wechat", "enough")
    assert decided(having(100), reserve_calls=100) == ("sms", "reserve_reached")
    held = decide(having(103), RouteRequest(NOW_MS, held=3), RoutingPolicy(reserve_calls=100))
    assert (outcome(held), held.left) == (("sms", "reserve_reached"), 103)


def test_a_pack_counts_from_its_start_until_its_expiry_and_an_answer_is_kept_no_longer_than_that() -> None:
    known = KnownBalance(NOW_MS, (QuotaBalance(1_000, NOW_MS + 500, NOW_MS + 3_000),))
    before, during, after = (decide(known, RouteRequest(NOW_MS + at)) for at in (0, 500, 3_000))
    assert [outcome(each) for each in (before, during, after)] == [
        ("sms", "used_up"),
        ("wechat", "enough"),
        ("sms", "used_up"),
    ]
    assert [each.holds_for_ms for each in (before, during, after)] == [500, 2_500, HOLDS_MAX_MS]


def test_what_the_platform_says_of_a_quota_is_what_is_left_of_it() -> None:
    less = KnownBalance(NOW_MS, (QuotaBalance(500, platform_left=-5), QuotaBalance(3)))
    more = KnownBalance(NOW_MS, (QuotaBalance(0, platform_left=20),))
    assert [decide(known, RouteRequest(NOW_MS)).left for known in (less, more)] == [3, 20]


def test_a_count_of_the_whole_capability_is_a_limit_until_a_top_up() -> None:
    counted = having(500, platform_left=-2, platform_at_ms=NOW_MS - 5)
    assert decided(counted) == ("sms", "used_up")
    assert decide(counted, RouteRequest(NOW_MS)).left == 0
    assert decided(structs.replace(counted, topped_up_ms=NOW_MS - 5)) == ("wechat", "enough")


def test_an_exempt_app_and_one_before_billing_need_no_calls() -> None:
    assert decided(having(0, is_exempt=True), reserve_calls=5) == ("wechat", "exempt")
    assert decided(having(0, billing_starts_ms=NOW_MS + 1)) == ("wechat", "free")
    assert decided(having(0, billing_starts_ms=NOW_MS)) == ("sms", "used_up")


def test_a_run_out_within_the_lead_time_sends_members_elsewhere_only_if_the_owner_wants_it() -> None:
    known = having(500, run_out_ms=NOW_MS + HOUR_MS)
    assert decided(known) == ("wechat", "enough")
    assert decided(known, lead_minutes=60) == ("wechat", "enough")
    assert decided(known, lead_minutes=61) == ("sms", "run_out_near")
    assert decided(known, NOW_MS + 1, lead_minutes=60) == ("sms", "run_out_near")
    assert decided(structs.replace(known, run_out_ms=NOW_MS - 1)) == ("wechat", "enough")
    assert decided(structs.replace(known, run_out_ms=None), lead_minutes=61) == ("wechat", "enough")


def test_a_known_member_is_asked_only_if_the_owner_wants_it() -> None:
    request = RouteRequest(NOW_MS, is_known_member=True)
    assert outcome(decide(having(500), request)) == ("manual", "known_member")
    asked = decide(having(500), request, RoutingPolicy(ask_known_members=True))
    assert outcome(asked) == ("wechat", "enough")


def test_a_store_that_has_spent_its_budget_waits_for_midnight_in_shanghai() -> None:
    policy = RoutingPolicy(store_budgets=(StoreBudget(50), StoreBudget(2, "store-03"), StoreBudget(0, "x")))
    late = MIDNIGHT_MS - 1_500

    def at_store(store: str, calls: int) -> RoutingDecision:
        return decide(having(500), RouteRequest(late, store=store, store_calls=calls), policy)

    assert outcome(at_store("store-03", 2)) == ("sms", "store_budget_spent")
    assert at_store("store-03", 2).holds_for_ms == 1_500
    assert at_store("store-03", 1).holds_for_ms == 1_000
    assert outcome(at_store("x", 0)) == ("sms", "store_budget_spent")
    assert outcome(at_store("another", 49)) == ("wechat", "enough")
    assert outcome(at_store("another", 50)) == ("sms", "store_budget_spent")
    assert outcome(at_store("", 999)) == ("wechat", "enough")


def test_without_a_budget_for_all_a_store_that_has_none_spends_what_it_likes() -> None:
    policy = RoutingPolicy(store_budgets=(StoreBudget(2, "store-03"),))
    assert policy.budget_of("store-04") is None


@pytest.mark.parametrize("mode", ["wechat", "sms", "manual"])
def test_the_owners_fixed_answer_holds_whatever_else_is_known(mode: RoutingMode) -> None:
    for known in (None, having(0), having(500, refused_ms=NOW_MS), having(500, as_of_ms=0)):
        assert decided(known, mode=mode) == (mode, "set_by_owner")


def test_a_fixed_answer_of_short_messages_is_by_hand_once_none_is_left() -> None:
    assert decided(having(500), mode="sms", sms_left=0) == ("manual", "set_by_owner")


def test_a_refusal_flips_the_answer_at_once_for_its_pause_whatever_succeeds() -> None:
    for known in (
        having(500, refused_ms=NOW_MS),
        having(500, refused_ms=NOW_MS, is_exempt=True),
        having(500, refused_ms=NOW_MS - PAUSE_MS + 1, succeeded_ms=NOW_MS),
        having(500, refused_ms=NOW_MS, as_of_ms=0),
    ):
        assert decided(known) == ("sms", "platform_refused")
    ending = decide(having(500, refused_ms=NOW_MS - PAUSE_MS + 1), RouteRequest(NOW_MS))
    assert ending.holds_for_ms == 1


def test_a_refusal_is_over_with_a_top_up_at_once_and_with_a_success_after_its_pause() -> None:
    assert decided(having(500, refused_ms=NOW_MS, topped_up_ms=NOW_MS + 1)) == ("wechat", "enough")
    succeeded = having(500, refused_ms=NOW_MS, succeeded_ms=NOW_MS + 1, as_of_ms=NOW_MS + PAUSE_MS)
    assert decided(succeeded, NOW_MS + PAUSE_MS) == ("wechat", "enough")


def test_where_nothing_shows_that_a_refusal_is_over_one_member_per_pause_tries_it() -> None:
    known = having(500, refused_ms=NOW_MS)
    before, probes = START, []
    for second in range(4 * PAUSE_MS // SECOND_MS):
        now_ms = NOW_MS + second * SECOND_MS
        decision = decide(structs.replace(known, as_of_ms=now_ms), RouteRequest(now_ms), before=before)
        before = decision.after
        if decision.route == "wechat":
            probes.append((second, decision.reason, decision.holds_for_ms))
        else:
            assert decision.reason == "platform_refused"
    assert probes == [(300, "probe", 0), (600, "probe", 0), (900, "probe", 0)]


def test_nobody_tries_a_refusal_without_calls_left_by_our_own_count() -> None:
    known = having(0, refused_ms=NOW_MS - PAUSE_MS)
    assert decided(known) == ("sms", "used_up")


def test_an_answer_is_kept_for_a_shorter_time_the_nearer_the_reserve_is() -> None:
    policy = RoutingPolicy(reserve_calls=1_000)
    request = RouteRequest(NOW_MS)
    held_for = [decide(having(left), request, policy).holds_for_ms for left in (1_001, 1_010, 1_050, 9_999)]
    assert held_for == [100, 1_000, 5_000, 10_000]
    busy = decide(having(1_010, calls_a_day=8_640_000), request, policy)
    assert busy.holds_for_ms == 10


def test_an_answer_is_kept_no_longer_than_the_lead_time_is_away() -> None:
    known = having(5_000, run_out_ms=NOW_MS + HOUR_MS + 700)
    assert decide(known, RouteRequest(NOW_MS), RoutingPolicy(lead_minutes=60)).holds_for_ms == 700


def test_what_is_known_is_stale_after_a_minute_and_the_answer_says_so() -> None:
    fresh, stale = (decide(having(500), RouteRequest(NOW_MS + STALE_AFTER_MS + late)) for late in (0, 1))
    assert (fresh.is_degraded, fresh.holds_for_ms) == (False, HOLDS_MAX_MS)
    assert (outcome(stale), stale.is_degraded) == (("wechat", "enough"), True)
    assert stale.holds_for_ms == HOLDS_STALE_MS


def test_a_stale_balance_is_taken_to_have_been_used_at_twice_its_pace() -> None:
    known = having(5_000, calls_a_day=2_400, as_of_ms=NOW_MS)
    later = decide(known, RouteRequest(NOW_MS + 24 * HOUR_MS))
    assert (outcome(later), later.left) == (("wechat", "enough"), 200)
    assert outcome(decide(known, RouteRequest(NOW_MS + 25 * HOUR_MS))) == ("sms", "used_up")


def test_without_short_messages_a_stale_balance_lets_wechat_decide() -> None:
    assert decided(having(0, as_of_ms=0), sms_left=0) == ("wechat", "stale")
    assert decided(having(0, as_of_ms=0, refused_ms=NOW_MS), sms_left=0) == ("manual", "platform_refused")


@pytest.mark.parametrize("answer", ["wechat", "sms", "manual"])
def test_the_owner_may_fix_the_answer_while_what_is_known_is_stale(answer: StaleAnswer) -> None:
    stale = decided(having(500, as_of_ms=0), when_stale=answer)
    assert stale == (answer, "stale")
    assert decided(None, when_stale=answer) == (answer, "not_known")


def test_a_fixed_answer_of_short_messages_while_stale_is_wechats_if_none_is_left() -> None:
    assert decided(None, when_stale="sms", sms_left=0) == ("wechat", "not_known")


def test_of_an_app_that_nothing_is_known_of_wechat_decides() -> None:
    decision = decide(None, RouteRequest(NOW_MS))
    assert outcome(decision) == ("wechat", "not_known")
    assert (decision.left, decision.run_out_ms, decision.is_degraded) == (None, None, True)


def test_away_by_the_reserve_comes_back_only_clear_of_it() -> None:
    policy, request = RoutingPolicy(reserve_calls=1_000), RouteRequest(NOW_MS)
    away = decide(having(1_000), request, policy)
    still = decide(having(1_100), request, policy, away.after)
    assert outcome(still) == ("sms", "reserve_reached")
    back = decide(having(1_101), request, policy, still.after)
    assert outcome(back) == ("wechat", "enough")
    assert outcome(decide(having(1_001), request, policy, back.after)) == ("wechat", "enough")


def test_away_by_the_run_out_comes_back_only_clear_of_the_lead_time() -> None:
    policy, request = RoutingPolicy(lead_minutes=100), RouteRequest(NOW_MS)

    def running_out_in(minutes: int, before: Hysteresis) -> RoutingDecision:
        return decide(having(500, run_out_ms=NOW_MS + minutes * MINUTE_MS), request, policy, before)

    away = running_out_in(99, START)
    still = running_out_in(109, away.after)
    assert [outcome(each) for each in (away, still)] == [("sms", "run_out_near")] * 2
    assert outcome(running_out_in(110, still.after)) == ("wechat", "enough")


def test_an_answer_about_one_member_leaves_the_hysteresis_as_it_is() -> None:
    before = Hysteresis(near_reserve=True, near_run_out=True, probed_ms=5)
    known_member = decide(having(500), RouteRequest(NOW_MS, is_known_member=True), before=before)
    assert known_member.after == before


moments = st.integers(NOW_MS - 3 * DAY_MS, NOW_MS + 3 * DAY_MS)
calls = st.integers(0, 3_000)
quotas = st.builds(
    QuotaBalance,
    left=calls,
    starts_at_ms=st.just(0) | moments,
    expires_at_ms=st.just(2**62) | moments,
    platform_left=st.none() | st.integers(-10, 3_000),
)
balances = st.builds(
    KnownBalance,
    as_of_ms=st.just(NOW_MS) | moments,
    quotas=st.lists(quotas, max_size=4).map(tuple),
    platform_left=st.none() | st.integers(-10, 3_000),
    platform_at_ms=st.just(-1) | moments,
    calls_a_day=st.integers(0, 10**7),
    run_out_ms=st.none() | moments,
    refused_ms=st.just(-1) | moments,
    succeeded_ms=st.just(-1) | moments,
    topped_up_ms=st.just(-1) | moments,
    is_exempt=st.booleans(),
    billing_starts_ms=st.sampled_from([0, NOW_MS + 1]),
)
policies = st.builds(
    RoutingPolicy,
    mode=st.sampled_from(get_args(RoutingMode)),
    reserve_calls=calls,
    lead_minutes=st.sampled_from([0, 60, 10_000]),
    sms_left=st.none() | st.integers(0, 2),
    ask_known_members=st.booleans(),
    store_budgets=st.lists(st.builds(StoreBudget, calls, st.sampled_from(["", "a", "b"])), max_size=3).map(
        tuple
    ),
    when_stale=st.sampled_from(get_args(StaleAnswer)),
    refusal_pause_s=st.integers(10, 86_400),
)
requests = st.builds(
    RouteRequest,
    now_ms=st.just(NOW_MS) | moments,
    store=st.sampled_from(["", "a", "c"]),
    is_known_member=st.booleans(),
    held=st.integers(0, 50),
    store_calls=calls,
)
hysteresis = st.builds(
    Hysteresis, near_reserve=st.booleans(), near_run_out=st.booleans(), probed_ms=st.just(-1) | moments
)


@given(st.none() | balances, requests, policies, hysteresis)
def test_every_request_has_an_answer_and_a_sentence_for_it(
    known: KnownBalance | None, request: RouteRequest, policy: RoutingPolicy, before: Hysteresis
) -> None:
    decision = decide(known, request, policy, before)
    assert decision.route in get_args(RouteName)
    assert decision.reason in ROUTING_REASONS
    assert 0 <= decision.holds_for_ms <= HOLDS_MAX_MS
    assert decision.is_degraded == (known is None or request.now_ms - known.as_of_ms > STALE_AFTER_MS)
    assert sentence_of_routing(decision)
    assert decision == decide(known, request, policy, before)
    assert not (decision.route == "sms" and policy.sms_left == 0)


@given(balances, requests, policies, hysteresis)
def test_nobody_is_sent_to_wechat_at_the_reserve_or_in_the_pause_of_a_refusal(
    known: KnownBalance, request: RouteRequest, policy: RoutingPolicy, before: Hysteresis
) -> None:
    decision = decide(known, request, policy, before)
    if decision.route != "wechat" or policy.mode == "wechat":
        return
    is_charged = decision.reason not in {"exempt", "free"} and not known.is_exempt
    if is_charged and not decision.is_degraded:
        assert known.left_at(request.now_ms) - request.held > policy.reserve_calls
    if decision.reason != "free" and known.refused_ms >= max(known.topped_up_ms, 0):
        assert request.now_ms >= known.refused_ms + policy.refusal_pause_s * SECOND_MS


@given(balances, requests, policies, hysteresis, st.integers(0, 5_000))
def test_more_calls_send_nobody_away_from_wechat(
    known: KnownBalance, request: RouteRequest, policy: RoutingPolicy, before: Hysteresis, more: int
) -> None:
    richer = structs.replace(known, quotas=(*known.quotas, QuotaBalance(more)))
    fewer, greater = (decide(each, request, policy, before) for each in (known, richer))
    assert fewer.route != "wechat" or greater.route == "wechat"
    if fewer.reason == greater.reason == "enough":
        assert greater.holds_for_ms >= fewer.holds_for_ms


@given(st.integers(0, 5_000), st.lists(st.tuples(st.integers(0, 6_000), st.integers(0, 30)), max_size=30))
def test_the_answer_does_not_flap_about_the_reserve(reserve: int, course: list[tuple[int, int]]) -> None:
    policy, before, route = RoutingPolicy(reserve_calls=reserve), START, "wechat"
    for left, held in course:
        decision = decide(having(left), RouteRequest(NOW_MS, held=held), policy, before)
        is_clear = left - held > reserve + max(1, reserve // 10)
        is_reached = left - held <= reserve
        assert decision.route == ("wechat" if is_clear else "sms" if is_reached else route)
        before, route = decision.after, decision.route


def test_every_reason_has_its_own_sentence_in_both_languages() -> None:
    for sentences in ROUTING_SENTENCES.values():
        assert set(sentences) == set(ROUTING_REASONS)
        assert len(set(sentences.values())) == len(sentences)


def test_a_sentence_says_that_no_short_message_is_left_and_that_the_balance_is_an_estimate() -> None:
    stale = decide(having(500, as_of_ms=0), RouteRequest(NOW_MS))
    assert sentence_of_routing(stale).startswith("There are enough calls. The balance is an estimate")
    by_hand = decide(having(0), RouteRequest(NOW_MS), RoutingPolicy(sms_left=0))
    assert sentence_of_routing(by_hand, "zh").endswith("都已用完。短信也没有剩余了。")
