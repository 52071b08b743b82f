"""The sentences of the advice on packs: each reason in both languages, with the figures that it rests on."""

from typing import get_args

import pytest

from dashboards.console.advice_texts import REASONS, advice_sentences, effect_sentence
from dashboards.console.languages import WORDINGS, Language
from metering.catalogue import DEFAULT
from metering.forecast import MICRO, OpenPack, Pace
from metering.pack_advice import AdviceReason, Holding, PackAdvice, pack_advice
from metering.times import DAY_MS, parse_time

NOW_MS = parse_time("2026-03-10T00:00:00+08:00")
FLAT = (1_000,) * 7


def advice(calls_a_day: int, left: int = 0, days: int = 56) -> PackAdvice:
    pace = Pace(calls_a_day * MICRO, FLAT, days, 0)
    packs = [OpenPack(NOW_MS + 365 * DAY_MS, NOW_MS - DAY_MS, "p", left)] if left else []
    return pack_advice(Holding({"quick": pace}, 0, {"quick": packs}), "quick", DEFAULT, NOW_MS)


def told(found: PackAdvice, language: Language = "en") -> list[str]:
    return advice_sentences(found, WORDINGS[language], NOW_MS)


def test_a_recommendation_says_cost_run_out_and_what_the_next_larger_pack_would_lose() -> None:
    reason, run_out, larger = told(advice(10))
    assert reason.startswith("A call that will be used costs ¥0.030 with it; no other pack costs less")
    assert run_out == "With it, calls last until Jun 18, 2026."
    assert larger.startswith("With the next larger pack, of 5,000 calls, about 1,350 would lapse")
    assert larger.endswith("a used call would cost ¥0.041.")
    assert told(advice(10), "zh") == [
        "按实际会用到的次数计算，每次 ¥0.030，没有更便宜的；价格相同的资源包里，它用得最久。",
        "购买后预计可用到 2026年6月18日。",
        "再大一档的 5,000 次，预计作废约 1,350 次，实际每次 ¥0.041。",
    ]


def test_where_much_is_left_it_says_that_there_is_no_hurry() -> None:
    assert told(advice(10, left=400))[-1] == (
        "There is no hurry: what is left lasts until Apr 19, 2026, and validity begins at the payment."
    )
    assert "no hurry" not in " ".join(told(advice(10, left=200)))


def test_where_nothing_is_to_be_bought_it_says_why_and_no_more() -> None:
    assert told(advice(0)) == ["There was no call in the last 56 days: each pack would lapse unused."]
    assert len(told(advice(0, left=5, days=0))) == 1
    assert len(told(advice(10, left=10_000))) == 1


@pytest.mark.parametrize("language", ["zh", "en"])
def test_each_reason_is_a_sentence(language: Language) -> None:
    assert set(REASONS) == set(get_args(AdviceReason))
    ends = {WORDINGS[language].text(text)[-1] for text in REASONS.values()}
    assert ends == {"。" if language == "zh" else "."}


def test_the_effect_is_at_once_or_at_the_start_of_billing() -> None:
    start_ms = parse_time("2023-08-26T00:00:00+08:00")
    assert effect_sentence(start_ms - 1, start_ms, WORDINGS["zh"]) == "支付后 2023年8月26日 00:00 生效。"
    assert effect_sentence(start_ms, start_ms, WORDINGS["zh"]) == "支付后立即生效。"
