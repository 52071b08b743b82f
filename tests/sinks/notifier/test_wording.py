import pytest

from metering.alerts import Alert
from sinks.notifier.routes import App, Language
from sinks.notifier.severity import severity_of
from sinks.notifier.wording import tell, tell_all
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
]


@pytest.mark.parametrize("language", ["zh", "en"])
@pytest.mark.parametrize("one", KINDS, ids=lambda one: f"{one.kind} {one.reason} {one.details}")
def test_every_kind_of_alert_has_words(one: Alert, language: Language) -> None:
    told = tell(one, NAME, language)
    assert "会员中心 (wxfb1f3d218d111092)" in told.headline
    assert len(told.lines) == 4
    assert one.id in told.lines[-1]
    assert "{" not in told.text()
    told_of = {
        name for name in ("level_percent", "days", "hours_left", "calls", "usual") if one.details.get(name)
    }
    assert all(f"{one.details[name]:,}" in told.text() for name in told_of)


def test_an_alert_reads_like_this() -> None:
    one = alert(details={"level_percent": 5, "size": 10_000}, remaining=480)
    assert tell(one, NAME, "zh").text() == (
        "【紧急】会员中心 (wxfb1f3d218d111092) 手机号快速验证\n"
        "发生：余额降到生效中资源包的 5%（共 10,000 次）\n"
        "剩余：480 次\n"
        "建议：在微信公众平台购买资源包，否则用完后组件会报错 1400001，会员无法注册\n"
        "编号：0-7-0 · 2026-10-17 18:05 上海时间"
    )
    assert tell(one, App(), "en").text() == (
        "[Urgent] wxfb1f3d218d111092 quick verification\n"
        "What happened: the balance is down to 5% of the active packs (10,000 calls)\n"
        "Remaining: 480 calls\n"
        "What to do: buy a pack: at zero the component fails with errno 1400001 and members cannot sign up\n"
        "Alert: 0-7-0 · 2026-10-17 18:05 Shanghai time"
    )


def test_urgent_is_what_refuses_members_within_two_days_or_is_wrong_now() -> None:
    severities = [severity_of(one) for one in KINDS]
    assert severities[:6] == ["warning", "urgent", "info", "warning", "urgent", "warning"]
    assert severities[6:] == ["info", "urgent", "info", "urgent", "urgent", "urgent", "warning"]


def test_one_alert_of_a_digest_is_told_like_any_other() -> None:
    assert tell_all([alert()], [NAME], "zh", 2_000) == tell(alert(), NAME, "zh")


def test_a_pack_that_expires_says_when() -> None:
    one = alert(
        reason="expiry", pack_id="p-1", details={"days": 7, "expires_at_ms": 1_795_832_478_355}, remaining=9
    )
    assert tell(one, App(), "en").lines[0] == (
        "What happened: pack p-1 expires within 7 days (2026-11-28 10:21 Shanghai time); "
        "what is left of it will lapse"
    )
    assert tell(one, App(), "zh").lines[0] == (
        "发生：资源包 p-1 在 7 天内到期（上海时间 2026-11-28 10:21），剩余部分将过期作废"
    )
