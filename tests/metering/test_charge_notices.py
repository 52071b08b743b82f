"""Charge notices: when one is sent, and what it says (rule 21)."""

import json

import pytest

from metering.alerts import Alert, alert_of
from metering.charge_notices import NoticeTerms, notice_lines, notice_summary
from metering.event_validation import read_event
from metering.explanation import explain
from metering.ledger import Entry
from metering.rejections import Rejection
from metering.rules import Rules
from metering.times import parse_time
from tests.metering.building import (
    APP,
    DAY_MS,
    Play,
    at,
    corrected,
    event,
    id_of,
    notice_requested,
    play,
    purchased,
    records,
    registered,
    succeeded,
    ticked,
)

REQUEST = {
    "capability": "quick",
    "monthly_calls_max": 100,
    "price_min_micro_yuan": 26_000,
    "price_max_micro_yuan": 30_000,
    "charged_from": "2023-08-26T00:00:00+08:00",
}
TERMS = NoticeTerms(100, 26_000, 30_000, parse_time("2023-08-26T00:00:00+08:00"))


def outcomes(played: Play) -> list[tuple[str, str]]:
    return [(entry.kind, entry.reason) for entry in played.of("charge_notice", "alert")]


def notice(played: Play) -> tuple[Entry, Alert]:
    (kept,) = played.of("charge_notice")
    (told,) = [entry for entry in played.of("alert") if entry.reason == "charge_notice"]
    return kept, alert_of(0, told)


def test_a_request_is_kept_and_raises_an_alert_that_says_what_the_request_says() -> None:
    kept, told = notice(play(purchased(at(0), "P1", calls=250), notice_requested(at(1), name="会员中心")))
    assert (kept.appid, kept.capability, kept.reason, kept.calls) == (APP, "quick", "", 0)
    assert json.loads(kept.details) == told.details
    assert told.details == {
        "monthly_calls_max": 100,
        "price_min_micro_yuan": 26_000,
        "price_max_micro_yuan": 30_000,
        "charged_from_ms": TERMS.charged_from_ms,
        "name": "会员中心",
    }
    assert (told.kind, told.reason, told.capability, told.remaining) == (
        "alert",
        "charge_notice",
        "quick",
        250,
    )


def test_what_is_left_is_that_of_the_capability_of_the_notice() -> None:
    facts = [purchased(at(0), "P1", calls=250), purchased(at(0), "P2", capability="realtime", calls=7)]
    _, told = notice(play(*facts, notice_requested(at(1), capability="realtime")))
    assert (told.capability, told.remaining) == ("realtime", 7)


def test_a_notice_of_an_app_that_nothing_is_known_of_is_sent() -> None:
    _, told = notice(play(notice_requested(at(0)), rules=Rules(trial_calls=1_000)))
    assert told.remaining == 1_000


def test_a_notice_that_is_requested_twice_by_the_same_event_is_sent_once() -> None:
    once = notice_requested(at(1))
    played = play(once, once)
    assert outcomes(played) == [("charge_notice", ""), ("alert", "charge_notice")]
    assert [entry.capability for entry in played.of("duplicate")] == ["quick"]


def test_the_owner_of_an_exempt_app_is_told_no_price() -> None:
    played = play(registered(at(0), "government"), notice_requested(at(1)))
    assert outcomes(played) == [("charge_notice", "exempt")]


def test_a_request_that_arrives_a_day_late_is_kept_and_not_sent() -> None:
    in_time = play(ticked(at(2)), notice_requested(at(1)))
    assert outcomes(in_time) == [("charge_notice", ""), ("alert", "charge_notice")]
    late = play(ticked(at(2)), notice_requested(at(1, ms=-1)))
    assert outcomes(late) == [("charge_notice", "past")]


def test_a_notice_changes_nothing_of_what_calls_are_taken_from_and_of_other_alerts() -> None:
    facts = [purchased(at(0), "P1", calls=2), succeeded(at(1)), succeeded(at(3)), ticked(at(9))]
    kinds = [(entry.kind, entry.reason) for entry in play(*facts).entries]
    noticed = play(*facts[:2], notice_requested(at(2)), *facts[2:])
    assert [
        (entry.kind, entry.reason)
        for entry in noticed.entries
        if "charge_notice" not in {entry.kind, entry.reason}
    ] == kinds


def test_a_correction_of_a_request_takes_nothing_back() -> None:
    request = notice_requested(at(1))
    played = play(request, corrected(at(2), id_of(request), void=True))
    assert outcomes(played) == [("charge_notice", ""), ("alert", "charge_notice")]


def test_a_notice_reads_as_the_platforms_own() -> None:
    terms = NoticeTerms(100, 26_000, 30_000, TERMS.charged_from_ms, "会员中心")
    assert notice_lines(terms, "quick", "zh") == (
        "小程序名称：会员中心",
        "能力名称：手机号快速验证组件",
        "最近用量：平均每月使用约在100次以内",
        "价格：每次成功调用0.026元~0.03元",
        "收费时间：2023-08-26 00:00（上海时间）",
        "操作：请前往微信公众平台的“付费管理”购买资源包，以免影响服务。",
    )
    assert notice_lines(terms, "quick", "en") == (
        "Mini-program: 会员中心",
        "Capability: quick verification of phone numbers",
        "Recent use: at most about 100 calls a month on average",
        "Price: ¥0.026 to ¥0.03 per successful call",
        "Charged from: 2023-08-26 00:00 Shanghai time",
        (
            "What to do: Buy a pack in Payment management (付费管理) at mp.weixin.qq.com, "
            "so that the service goes on."
        ),
    )


def test_a_single_price_is_no_range_and_a_name_that_is_not_known_has_no_line() -> None:
    terms = NoticeTerms(10_000, 40_000, 40_000, TERMS.charged_from_ms)
    lines = notice_lines(terms, "realtime", "zh")
    assert lines[:3] == (
        "能力名称：手机号实时验证组件",
        "最近用量：平均每月使用约在1万次以内",
        "价格：每次成功调用0.04元",
    )
    assert notice_summary(terms, "zh") == (
        "平均每月使用约在1万次以内，每次成功调用0.04元，收费时间：2023-08-26 00:00（上海时间）"
    )
    assert notice_summary(terms, "en") == (
        "at most about 10,000 calls a month on average; ¥0.04 per successful call; "
        "Charged from: 2023-08-26 00:00 Shanghai time"
    )


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        ({"price_min_micro_yuan": 30_001}, "data.price_min_micro_yuan: expected no more than"),
        ({"price_max_micro_yuan": 0.03}, "data.price_max_micro_yuan"),
        ({"monthly_calls_max": 0}, "data.monthly_calls_max"),
        ({"charged_from": "2016-12-31T00:00:00Z"}, "data.charged_from"),
        ({"charged_from": "2023-08-26T00:00:00"}, "data.charged_from"),
        ({"capability": "slow"}, "data.capability"),
        ({"name": "13800138000"}, "data.name"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_request_that_cannot_be_meant_is_refused_in_a_sentence(
    data: dict[str, object], sentence: str
) -> None:
    rejection = read_event(event("account.charge_notice_requested", at(1), {**REQUEST, **data}), now_ms=None)
    assert isinstance(rejection, Rejection)
    assert sentence in rejection.sentence


def test_a_start_of_charging_may_lie_ahead() -> None:
    request = notice_requested(at(0), charged_from="2049-01-01T00:00:00+08:00")
    assert not isinstance(read_event(request, now_ms=at(0)), Rejection)


@pytest.mark.parametrize(
    ("owner", "arrived", "sentence"),
    [
        ("enterprise", 1, "handed over to be sent to the owner"),
        ("government", 1, "the app is exempt"),
        ("enterprise", 3, "more than a day late"),
    ],
    ids=["sent", "exempt", "past"],
)
def test_an_explanation_says_what_became_of_the_request(owner: str, arrived: int, sentence: str) -> None:
    played = play(registered(at(0), owner), ticked(at(arrived)))
    (record,) = records([notice_requested(at(1))], first=2)
    explanation = explain(played.state, record, played.rules)
    assert (explanation.decision, explanation.capability) == ("charge_notice", "quick")
    assert sentence in explanation.why
    assert len(explanation.alerts) == (1 if "handed" in sentence else 0)


def test_the_stored_state_is_the_same_with_and_without_a_notice() -> None:
    played = play(purchased(at(0), "P1"), notice_requested(at(1)))
    without = play(purchased(at(0), "P1"), event("account.registered", at(1), {"entity_type": "enterprise"}))
    noticed, other = (each.state.accounts[APP] for each in (played, without))
    assert noticed.quick == other.quick
    assert noticed.clock_ms == at(0) + DAY_MS
