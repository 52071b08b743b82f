import re
from collections.abc import Iterator
from typing import get_args

import pytest

from metering.alert_severity import severity_of
from metering.alerts import Alert
from metering.charges import UncoveredReason
from sinks.notifier import wording
from sinks.notifier.routes import App, Language
from sinks.notifier.wording import text_of, text_of_all
from tests.sinks.notifier.parts import alert

NAME = App(name="会员中心")
KINDS = [
    alert(),
    alert(details={"level_percent": 0, "size": 1_000}, remaining=0),
    alert(kind="recovery"),
    alert(reason="expiry", pack_id="p-1", details={"days": 7}),
    alert(reason="expiry", pack_id="p-1", details={"days": 0}),
    alert(reason="run_out", details={"hours_left": 100}),
    alert(reason="run_out", kind="recovery", details={}),
    alert(reason="uncovered", details={"why": "exhausted"}),
    alert(reason="uncovered", kind="recovery", details={}),
    alert(reason="minute_burn", details={"calls": 900, "usual": 12}),
    alert(reason="client_burn", details={"calls": 900, "usual": 12, "client": "e7d5"}),
    alert(reason="something_new", details={"flavour": "odd"}),
    alert(reason="level", details={}),
    alert(reason="refused", details={"errno": 1_400_001}, remaining=200),
    alert(reason="refused", kind="recovery", details={}),
]
NOTICE = alert(
    reason="charge_notice",
    details={
        "monthly_calls_max": 100,
        "price_min_micro_yuan": 26_000,
        "price_max_micro_yuan": 30_000,
        "charged_from_ms": 1_692_979_200_000,
        "name": "",
    },
)


@pytest.mark.parametrize("language", ["zh", "en"])
@pytest.mark.parametrize("one", KINDS, ids=lambda one: f"{one.kind} {one.reason} {one.details}")
def test_every_kind_of_alert_has_words(one: Alert, language: Language) -> None:
    text = text_of(one, NAME, language)
    assert "会员中心 (wxfb1f3d218d111092)" in text.headline
    assert len(text.lines) == 4
    assert one.id in text.lines[-1]
    assert "{" not in text.text()
    shown_details = {
        name for name in ("level_percent", "days", "hours_left", "calls", "usual") if one.details.get(name)
    }
    assert all(f"{one.details[name]:,}" in text.text() for name in shown_details)


def test_an_alert_reads_like_this() -> None:
    one = alert(details={"level_percent": 5, "size": 10_000}, remaining=480)
    assert text_of(one, NAME, "zh").text() == (
        "【紧急】会员中心 (wxfb1f3d218d111092) 手机号快速验证\n"
        "发生：余量降到体验额度与生效中资源包的 5%（共 10,000 次）\n"
        "剩余：480 次\n"
        "建议：在微信公众平台购买资源包，否则用完后组件会报错 1400001，会员无法注册\n"
        "编号：0-7-0 · 2026-10-17 18:05 上海时间"
    )
    assert text_of(one, App(), "en").text() == (
        "[Urgent] wxfb1f3d218d111092 quick verification\n"
        "What happened: the balance is down to 5% of trial quota and active packs (10,000 calls)\n"
        "Remaining: 480 calls\n"
        "What to do: buy a pack: at zero the component fails with errno 1400001 and members cannot sign up\n"
        "Alert: 0-7-0 · 2026-10-17 18:05 Shanghai time"
    )


def test_urgent_is_what_refuses_members_within_two_days_or_is_wrong_now() -> None:
    severities = [severity_of(one) for one in KINDS]
    assert severities[:6] == ["warning", "urgent", "info", "warning", "urgent", "warning"]
    assert severities[6:13] == ["info", "urgent", "info", "urgent", "urgent", "urgent", "warning"]
    assert severities[13:] == ["urgent", "info"]


def test_a_refusal_says_that_members_cannot_sign_up_although_the_ledger_has_calls_left() -> None:
    one = alert(reason="refused", details={"errno": 1_400_001}, remaining=200)
    assert text_of(one, NAME, "zh").text() == (
        "【紧急】会员中心 (wxfb1f3d218d111092) 手机号快速验证\n"
        "发生：微信拒绝授权（错误码 1400001），会员现在无法注册；剩余次数以微信后台为准\n"
        "剩余：200 次\n"
        "建议：立即在微信公众平台查看剩余次数；没有就购买资源包，有就联系微信客服\n"
        "编号：0-7-0 · 2026-10-17 18:05 上海时间"
    )
    assert text_of(one, App(), "en").lines[0] == (
        "What happened: WeChat refuses authorizations (errno 1400001): members cannot sign up now"
    )


@pytest.mark.parametrize("level_percent", [20, 0])
def test_a_level_at_which_nothing_is_left_says_so(level_percent: int) -> None:
    one = alert(details={"level_percent": level_percent, "size": 0}, remaining=0)
    assert text_of(one, App(), "en").lines[0] == "What happened: trial quota and active packs are used up"


def test_a_charge_notice_reads_as_the_platforms_own() -> None:
    assert text_of(NOTICE, NAME, "zh").text() == (
        "【能力收费通知】会员中心 (wxfb1f3d218d111092) 手机号快速验证组件\n"
        "小程序名称：会员中心\n"
        "能力名称：手机号快速验证组件\n"
        "最近用量：平均每月使用约在100次以内\n"
        "价格：每次成功调用0.026元~0.03元\n"
        "收费时间：2023-08-26 00:00（上海时间）\n"
        "操作：请前往微信公众平台的“付费管理”购买资源包，以免影响服务。\n"
        "编号：0-7-0 · 2026-10-17 18:05 上海时间"
    )
    english = text_of(NOTICE, App(), "en")
    assert english.headline == "[Charge notice] wxfb1f3d218d111092 quick verification of phone numbers"
    assert english.lines[0] == "Capability: quick verification of phone numbers"
    assert severity_of(NOTICE) == "warning"


def test_the_name_in_a_charge_notice_is_the_one_that_was_previewed() -> None:
    named = alert(reason="charge_notice", details={**NOTICE.details, "name": "门店<点单>"})
    text = text_of(named, NAME, "zh", lambda text: text.replace("<", "＜"))
    assert text.headline == "【能力收费通知】门店＜点单> (wxfb1f3d218d111092) 手机号快速验证组件"
    assert text.lines[0] == "小程序名称：门店＜点单>"


def test_a_charge_notice_among_other_alerts_is_told_in_a_line() -> None:
    text = text_of_all([alert(), NOTICE], [NAME, NAME], "zh", 2_000)
    assert text.lines[1] == (
        "【能力收费通知】会员中心 (wxfb1f3d218d111092) 手机号快速验证组件\n"
        "平均每月使用约在100次以内，每次成功调用0.026元~0.03元，收费时间：2023-08-26 00:00（上海时间）"
        " · 0-7-0"
    )


def test_a_charge_notice_that_this_version_cannot_tell_is_told_as_something_else() -> None:
    strange = alert(reason="charge_notice", details={"monthly_calls_max": 100})
    assert text_of(strange, NAME, "zh").lines[0] == "发生：能力收费通知：monthly_calls_max 100"


def test_one_alert_of_a_digest_is_told_like_any_other() -> None:
    assert text_of_all([alert()], [NAME], "zh", 2_000) == text_of(alert(), NAME, "zh")


def test_a_pack_that_expires_says_when() -> None:
    one = alert(
        reason="expiry", pack_id="p-1", details={"days": 7, "expires_at_ms": 1_795_832_478_355}, remaining=9
    )
    assert text_of(one, App(), "en").lines[0] == (
        "What happened: pack p-1 expires within 7 days (2026-11-28 10:21 Shanghai time); "
        "what is left of it will lapse"
    )
    assert text_of(one, App(), "zh").lines[0] == (
        "发生：资源包 p-1 在 7 天内到期（上海时间 2026-11-28 10:21），剩余部分将过期作废"
    )


TABLES = (
    *("SEVERITY", "CAPABILITY", "LABELS", "HAPPENED", "ADVICE", "REASONS", "WHY", "EXPIRES_AT", "SUMMARY"),
    "NOTICE_TITLES",
)


def texts_of(language: Language) -> Iterator[str]:
    """Every text that messages are made of, without placeholders."""
    for table in TABLES:
        texts = getattr(wording, table)[language]
        for text in texts.values() if isinstance(texts, dict) else [texts]:
            for one in (text,) if isinstance(text, str) else text:
                yield re.sub(r"\{[^}]*\}", "", one)


def test_every_table_of_texts_is_held_to_this() -> None:
    tables = {name for name, value in vars(wording).items() if isinstance(value, dict) and "zh" in value}
    assert tables == set(TABLES)


@pytest.mark.parametrize("language", ["zh", "en"])
def test_owners_are_told_of_no_command_and_of_no_program(language: Language) -> None:
    for text in texts_of(language):
        assert not re.search(r"phonemeter|kafka|clickhouse|grafana|`|--\w|\w_\w", text, re.IGNORECASE), text


def test_chinese_texts_hold_no_english_words() -> None:
    for text in texts_of("zh"):
        assert not re.search(r"[A-Za-z]", text), text


@pytest.mark.parametrize("one", KINDS, ids=lambda one: f"{one.kind} {one.reason} {one.details}")
def test_of_a_known_alert_only_what_events_call_things_is_not_chinese(one: Alert) -> None:
    text = text_of(one, NAME, "zh").text()
    for given in (one.appid, one.id, one.pack_id or "-", str(one.details.get("client", "-"))):
        text = text.replace(given, "")
    if one.reason != "something_new":
        assert not re.search(r"[A-Za-z]", text), text


def test_why_calls_are_uncovered_is_told_in_words() -> None:
    reasons = get_args(UncoveredReason)
    assert set(wording.WHY["zh"]) == set(wording.WHY["en"]) == set(reasons)
    for why in reasons:
        text = text_of(alert(reason="uncovered", details={"why": why}), NAME, "en").text()
        assert why not in text
        assert wording.WHY["en"][why] in text
