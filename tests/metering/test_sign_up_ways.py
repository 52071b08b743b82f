"""Ways to a phone number (rule 20): each sign-up ends in one place; cost and risk are told."""

from dataclasses import dataclass
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metering.routing import KnownBalance, RouteRequest, decide
from metering.routing_policy import RoutingMode, RoutingPolicy
from metering.sign_up_ways import (
    _SENTENCES,
    ROUTING_MODES,
    RecentSignUps,
    WayNote,
    WayOutcome,
    sentence_of_way,
    way_outcomes,
)

MONTH: Final = RecentSignUps(30, calls=10_000, asked_again=1_200, refused=300)


@dataclass(frozen=True)
class Told:
    """The outcome of a way with its sentences."""

    outcome: WayOutcome
    sentences: list[str]


def told(mode: RoutingMode, recent: RecentSignUps, language: str = "en", **policy: object) -> Told:
    chosen = RoutingPolicy(**policy)  # type: ignore[arg-type] # fields of a policy
    outcome = next(one for one in way_outcomes(recent, chosen) if one.mode == mode)
    return Told(
        outcome, [sentence_of_way(note, "zh" if language == "zh" else "en") for note in outcome.notes]
    )


recents = st.integers(0, 10**9).flatmap(
    lambda calls: st.builds(
        RecentSignUps,
        st.integers(1, 400),
        st.just(calls),
        st.integers(0, calls),
        st.integers(0, 10**9),
        st.sampled_from([0, 30_000, 40_000]),
    )
)
policies = st.builds(
    RoutingPolicy,
    reserve_calls=st.integers(0, 10**6),
    sms_left=st.none() | st.integers(0, 10**9),
    ask_known_members=st.booleans(),
)


@given(recents, policies)
def test_every_sign_up_ends_in_one_place_by_every_way(recent: RecentSignUps, policy: RoutingPolicy) -> None:
    outcomes = way_outcomes(recent, policy)
    assert [outcome.mode for outcome in outcomes] == list(ROUTING_MODES)
    for one in outcomes:
        parts = (one.paid, one.short_messages, one.unchecked, one.refused)
        assert min(parts) >= 0
        assert sum(parts) == recent.calls + recent.refused
        assert one.cost_micro_yuan == one.paid * recent.price_micro_yuan


@given(recents, policies)
def test_the_balance_never_costs_more_than_always_wechat_and_refuses_nobody(
    recent: RecentSignUps, policy: RoutingPolicy
) -> None:
    by_mode = {one.mode: one for one in way_outcomes(recent, policy)}
    assert by_mode["balance"].cost_micro_yuan <= by_mode["wechat"].cost_micro_yuan
    assert by_mode["balance"].refused == 0
    assert by_mode["manual"].cost_micro_yuan == by_mode["sms"].cost_micro_yuan == 0
    assert policy.sms_left is None or by_mode["balance"].short_messages <= policy.sms_left


@given(recents, policies)
def test_every_remark_has_its_sentence_in_both_languages(
    recent: RecentSignUps, policy: RoutingPolicy
) -> None:
    for one in way_outcomes(recent, policy):
        assert one.notes
        for note in one.notes:
            for language in ("en", "zh"):
                assert "{" not in sentence_of_way(note, "zh" if language == "zh" else "en")


def test_the_sentences_of_both_languages_are_about_the_same() -> None:
    assert _SENTENCES["en"].keys() == _SENTENCES["zh"].keys()
    assert sentence_of_way(WayNote("paid", {"calls": 1, "price": 40_000, "cost": 1_234_560_000})) == (
        "1 calls at ¥0.04 each: ¥1,234.56."
    )


def test_always_wechat_pays_for_known_members_again_and_meets_the_refusals() -> None:
    assert told("wechat", MONTH).sentences == [
        "10,000 calls at ¥0.03 each: ¥300.00.",
        "1,200 of these were members who had given their number shortly before: ¥36.00.",
        "300 taps met WeChat's refusal (errno 1400001): these members could not sign up.",
        "The number is real and the member's own. At zero nobody can sign up.",
    ]


def test_the_balance_spares_known_members_and_sends_the_refused_elsewhere() -> None:
    found = told("balance", MONTH, language="zh", sms_left=100, reserve_calls=50)
    assert found.outcome[1:6] == (8_800, 264_000_000, 100, 1_400, 0)
    assert found.sentences == [
        "调用 8,800 次，每次 ¥0.03，共 ¥264.00。",
        "手机号已留存的会员不再重复获取，共 1,200 次，可省 ¥36.00。",
        "微信拒绝的 300 次会提前改走其他方式：短信 100 次，手动输入 200 次。",
        "最后 50 次保留给正在进行的授权。",
        "有剩余次数时号码真实有效；用完后页面自动改走其他方式，不影响注册。",
    ]
    assert told("balance", MONTH, ask_known_members=True).outcome.paid == 10_000


def test_short_messages_are_counted_against_what_is_left() -> None:
    assert told("sms", MONTH, sms_left=5_150).sentences[:3] == [
        "5,150 short messages at your provider's price: cheaper than WeChat below ¥0.03 each.",
        "The 5,150 short messages left would last for 15 days.",
        "After that 5,150 numbers would be typed in, unless you buy more messages.",
    ]
    assert told("sms", MONTH, sms_left=0).outcome.unchecked == MONTH.total
    assert len(told("sms", MONTH).sentences) == 2


def test_without_a_short_message_left_the_decision_is_the_one_that_is_reckoned_with() -> None:
    answer = decide(None, RouteRequest(0), RoutingPolicy(mode="sms", sms_left=0))
    assert answer.route == "manual"


def test_an_exempt_app_pays_nothing_and_an_unused_one_says_so() -> None:
    exempt = told("wechat", MONTH._replace(price_micro_yuan=0))
    assert exempt.outcome.cost_micro_yuan == 0
    assert exempt.sentences[0] == "10,000 calls, which cost nothing: the app is exempt."
    unused = told("manual", RecentSignUps(30, 0), language="zh").sentences
    assert unused[0] == "最近 30 天没有会员注册，暂无可参考的数据。"


@pytest.mark.parametrize("mode", [mode for mode in ROUTING_MODES if mode != "balance"])
def test_a_way_that_is_fixed_is_the_answer_whatever_is_known(mode: RoutingMode) -> None:
    policy = RoutingPolicy(mode=mode, sms_left=1, reserve_calls=10)
    for known in (None, KnownBalance(0), KnownBalance(0, refused_ms=0)):
        for is_known_member in (False, True):
            answer = decide(known, RouteRequest(0, is_known_member=is_known_member), policy)
            assert (answer.route, answer.reason) == (mode, "set_by_owner")
