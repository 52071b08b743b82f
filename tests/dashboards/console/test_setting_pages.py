"""Member-card settings, alerts, alert levels: the ledger's figures, facts in the outbox, who may write."""

import base64
import json
import re
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Sequence
from html import unescape
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from dashboards.console.roles import ROLES, Role
from metering.ledger import CALL_KINDS, Entry
from metering.times import DAY_MS, shanghai_date
from phonemeter.business.fact_desk import BusinessFacts
from phonemeter.business.members import BusinessMembers
from phonemeter.business.owners import OwnerStore
from tests.dashboards.conftest import Ledger
from tests.dashboards.console.figures import console_with_figures
from tests.dashboards.console.parts import OTHER_APP, Browser, Seen, ServedConsole, email_of
from tests.ports import free_port
from tests.sinks.notifier.parts import SECRET, Mailbox, Receiver, mail_server
from tools.pictures.half_year import DAYS, START_MS

APP = "wx92717bd84024b977"
NOW_MS = START_MS + DAYS * DAY_MS
CARD = f"/member-card/{APP}"
LEVELS = f"/alerts/levels/{APP}"
WECOM = "https://qyapi.weixin.qq.com/cgi-bin/webhook/send?key="
POLICY = {
    "capability": "quick",
    "mode": "balance",
    "reserve_calls": "0",
    "lead_minutes": "0",
    "sms_left": "",
    "refusal_pause_s": "300",
    "when_stale": "estimate",
    "store_budgets": "",
}

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest.fixture(scope="module")
def receiver() -> Any:  # noqa: ANN401 - a generator
    with Receiver() as running:
        yield running


@pytest.fixture(scope="module")
def routes(tmp_path_factory: pytest.TempPathFactory, receiver: Receiver) -> Path:
    """Routes of which two take alerts of the owner's apps, one of another's alone."""
    directory = tmp_path_factory.mktemp("routes")
    (directory / "secret").write_text(SECRET)
    hook = f'channel = "webhook"\nurl = "{receiver.url}"\nsecrets = ["file:secret"]\nallow_plain = true\n'
    file = directory / "routes.toml"
    file.write_text(
        f'[apps.{APP}]\nowner = "east"\n[apps.{OTHER_APP}]\nowner = "west"\n'
        f'[routes.everyone]\n{hook}digest = {{ every = "day", at = "09:30" }}\n'
        f'[routes.east]\n{hook}owners = ["east"]\nseverities = ["urgent"]\n'
        f'quiet = {{ from = "22:00", to = "08:00" }}\n'
        f'[routes.west]\n{hook}owners = ["west"]\n'
    )
    return file


@pytest.fixture(scope="module")
def mailbox() -> Iterator[Mailbox]:
    with mail_server(free_port()) as running:
        yield running


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def console(
    ledger: Ledger, tmp_path_factory: pytest.TempPathFactory, routes: Path, mailbox: Mailbox
) -> AsyncIterator[ServedConsole]:
    directory = tmp_path_factory.mktemp("console")
    async with console_with_figures(directory, ledger, routes, mailbox.address) as served:
        yield served


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def owner(console: ServedConsole) -> AsyncIterator[Browser]:
    async with console.browser(email_of("owner")) as browser:
        yield browser


def owner_id_of(console: ServedConsole, name: str = "a") -> str:
    return next(one.owner_id for one in OwnerStore(console.database).every_owner() if one.name == name)


def facts_of(console: ServedConsole, kind: Any, appid: str = APP) -> list[dict[str, Any]]:  # noqa: ANN401 - a kind
    """The data of facts that wait in the outbox, the newest first."""
    found = BusinessFacts(console.database).newest(owner_id_of(console), appid, kind)
    return [dict(one.fact.data) for one in found]


def figure(page: Seen, label: str) -> str:
    found = re.search(rf"<dt>{label}</dt><dd[^>]*>([^<]*)", page.text)
    assert found is not None, label
    return found[1]


def checked_mode(page: Seen) -> str:
    found = re.search(r'name="mode" value="(\w+)"[^>]* checked', page.text)
    assert found is not None
    return found[1]


async def saved(browser: Browser, page: str, **fields: str) -> Seen:
    """Send the form of a page, with what the page itself has shown."""
    seen = await browser.get(page)
    shown = re.search(r'name="shown" value="([^"]*)"', seen.text)
    assert shown is not None
    given = {"form_token": seen.form_token, "shown": unescape(shown[1]), **fields}
    return await browser.post(page.partition("?")[0], given)


async def test_the_counters_are_those_of_the_ledger_and_add_up(owner: Browser) -> None:
    page = await owner.get(CARD)
    assert page.status == 200
    bought, issued, left = (
        int(figure(page, label).replace(",", "")) for label in ("会员授权数", "已发放", "剩余数")
    )
    lapsed = re.search(r"其中过期作废 ([\d,]+) 次", page.text)
    assert bought == issued + left + (int(lapsed[1].replace(",", "")) if lapsed else 0)
    assert issued > 0
    assert figure(page, "短信余额") == "未统计"


async def test_each_way_is_reckoned_with_the_calls_of_thirty_days(owner: Browser, ledger: Ledger) -> None:
    first = shanghai_date(NOW_MS - 29 * DAY_MS)
    entries = [
        entry
        for entry in ledger.entries
        if (entry.appid, entry.capability) == (APP, "quick") and shanghai_date(entry.time_ms) >= first
    ]
    calls = sum(entry.calls for entry in entries if entry.kind in CALL_KINDS)
    clients = Counter(
        entry.client
        for entry in entries
        if entry.kind in CALL_KINDS and entry.calls == 1 and entry.client and not entry.reason
    )
    again = sum(clients.values()) - len(clients)
    assert calls
    page = await owner.get(CARD)
    assert f"调用 {calls:,} 次，每次 ¥0.03，共 ¥{calls * 3 / 100:,.2f}。" in page.text
    assert f"手动输入 {calls:,} 个手机号" in page.text
    if again:
        assert f"其中 {again:,} 次是不久前刚授权过的会员" in page.text
    realtime = await owner.get(f"{CARD}?capability=realtime")
    assert "¥0.03" not in realtime.text
    assert (await owner.get(f"{CARD}?capability=other")).status == 404


async def test_only_what_was_changed_is_recorded_and_the_page_shows_it_until_the_ledger_has_it(
    owner: Browser, console: ServedConsole
) -> None:
    answer = await saved(
        owner, CARD, **{**POLICY, "mode": "sms", "sms_left": "550", "store_budgets": "50\nstore-03 ＝ 300"}
    )
    assert answer.status == 200
    assert answer.path == f"{CARD}?capability=quick&saved=soon"
    assert facts_of(console, "account.routing_set")[0] == {
        "capability": "quick",
        "mode": "sms",
        "sms_left": 550,
        "store_budgets": [{"calls": 50, "store": ""}, {"calls": 300, "store": "store-03"}],
    }
    page = await owner.get(CARD)
    assert "已保存，几秒内生效" in page.text
    assert checked_mode(page) == "sms"
    assert figure(page, "短信余额") == "550"
    assert ">50\nstore-03=300</textarea>" in page.text
    # Of the other capability nothing was said.
    assert checked_mode(await owner.get(f"{CARD}?capability=realtime")) == "balance"
    before = len(facts_of(console, "account.routing_set"))
    same = {**POLICY, "mode": "sms", "sms_left": "550", "store_budgets": "50\nstore-03=300"}
    assert (await saved(owner, CARD, **same)).path.endswith("saved=same")
    assert len(facts_of(console, "account.routing_set")) == before
    trail = BusinessMembers(console.database).audit_trail(owner_id_of(console))
    assert ("routing_set", APP) in {(entry.what, entry.subject) for entry in trail}
    assert "修改了" in (await owner.get("/activity")).text


async def test_what_another_member_has_changed_meanwhile_stays(
    owner: Browser, console: ServedConsole
) -> None:
    page = await owner.get(f"{CARD}?capability=realtime")
    shown = re.search(r'name="shown" value="([^"]*)"', page.text)
    assert shown is not None
    given = {"form_token": page.form_token, "shown": unescape(shown[1]), **POLICY, "capability": "realtime"}
    await owner.post(CARD, {**given, "reserve_calls": "200"})
    await owner.post(CARD, {**given, "lead_minutes": "60"})
    assert facts_of(console, "account.routing_set")[:2] == [
        {"capability": "realtime", "lead_minutes": 60},
        {"capability": "realtime", "reserve_calls": 200},
    ]
    after = await owner.get(f"{CARD}?capability=realtime")
    assert 'value="200"' in after.text
    assert 'value="60"' in after.text


@pytest.mark.parametrize(
    ("field", "value", "sentence"),
    [
        ("reserve_calls", "-1", "保留量：请输入 0 到 1,000,000,000 之间的整数。"),
        ("lead_minutes", "1e3", "提前量：请输入 0 到 525,600 之间的整数。"),
        ("refusal_pause_s", "9", "被拒绝后的暂停时间：请输入 10 到 86,400 之间的整数。"),
        ("sms_left", "много", "短信余额：请输入 0 到 1,000,000,000 之间的整数。"),
        ("mode", "carrier pigeon", "请选择手机号码获取方式。"),
        ("store_budgets", "store-03", "门店预算：每行一个"),
        ("store_budgets", "store=1\nstore=2", "门店预算：每行一个"),
        ("store_budgets", "1\n2", "门店预算：每行一个"),
        ("store_budgets", "13800138000=5", "门店预算：每行一个"),
    ],
)
async def test_a_field_that_cannot_be_used_is_told_in_a_sentence_and_kept(
    owner: Browser, console: ServedConsole, field: str, value: str, sentence: str
) -> None:
    before = facts_of(console, "account.routing_set")
    answer = await saved(owner, CARD, **{**POLICY, "sms_left": "5", field: value})
    assert answer.status == 422
    assert sentence in answer.mistake
    if field != "mode":
        assert value in unescape(answer.text)
    assert facts_of(console, "account.routing_set") == before


async def test_a_form_without_what_was_shown_is_refused(owner: Browser) -> None:
    token = (await owner.get(CARD)).form_token
    for path in (CARD, LEVELS):
        for shown in ("", "{", '{"mode": "x"}', "[]"):
            answer = await owner.post(path, {"form_token": token, **POLICY, "shown": shown})
            assert answer.status == 403, (path, shown)


@pytest.mark.parametrize("role", ROLES)
async def test_owners_and_operators_change_settings_and_the_others_see_them(
    console: ServedConsole, role: Role
) -> None:
    email = console.add_member(role, "a", f"{role}-settings@a.example")
    may = role in {"owner", "operator"}
    async with console.browser(email) as browser:
        for path in (CARD, LEVELS, "/alerts"):
            page = await browser.get(path)
            assert page.status == 200
            assert ("保存</button>" in page.text or "接收人与免打扰时段</a>" in page.text) == may
        token = (await browser.get("/account")).form_token
        for path in (CARD, LEVELS, "/alerts/acknowledge", "/alerts/recipients"):
            answer = await browser.post(path, {"form_token": token})
            assert (answer.status == 403 and answer.title == "你的角色没有此权限") != may, path


async def test_another_owners_app_is_not_there_for_reading_and_writing(
    owner: Browser, console: ServedConsole
) -> None:
    token = (await owner.get(CARD)).form_token
    for appid in (OTHER_APP, "wx0000000000000000"):
        for path in (f"/member-card/{appid}", f"/alerts/levels/{appid}"):
            assert (await owner.get(path)).status == 404
            answer = await owner.post(path, {"form_token": token, **POLICY, "shown": "{}"})
            assert answer.status == 404
        fields = {"form_token": token, "app": appid, "alert": "0-1-0"}
        assert (await owner.post("/alerts/acknowledge", fields)).status == 404
        assert facts_of(console, "account.routing_set", appid) == []
    async with console.browser(email_of("owner", "b")) as other:
        assert "Simulated" not in (await other.get("/alerts")).text
        assert (await other.get(f"/alerts?app={APP}")).text.count('scope="row"') == (
            await other.get("/alerts")
        ).text.count('scope="row"')
        assert (await other.get(CARD)).status == 404
        assert (await other.get("/member-card")).path == f"/member-card/{OTHER_APP}"


async def test_an_owner_without_apps_begins_with_the_first_run(console: ServedConsole) -> None:
    async with console.browser(email_of("owner", "new")) as browser:
        for path in ("/member-card", "/alerts", "/alerts/levels"):
            assert (await browser.get(path)).path == "/first-run"


async def test_an_app_is_chosen_by_its_name(owner: Browser) -> None:
    assert (await owner.get(f"/member-card?app={APP}")).path == CARD
    assert (await owner.get(f"/alerts/levels?app={APP}")).path == LEVELS
    assert (await owner.get(f"/member-card?app={OTHER_APP}")).path.startswith("/member-card/wx")
    assert "Simulated app 1</option>" in (await owner.get(CARD)).text


def alerts_of(ledger: Ledger, *kinds: str) -> list[Entry]:
    found = [entry for entry in ledger.entries if entry.kind in kinds]
    return sorted(found, key=lambda one: (-one.time_ms, f"0-{one.offset}-{one.line}"), reverse=False)


def ids_of(page: Seen) -> list[str]:
    return re.findall(r'<span class="note">(\d+-\d+-\d+)</span></th>', page.text)


async def test_the_list_has_every_alert_and_recovery_once_page_by_page(
    owner: Browser, ledger: Ledger
) -> None:
    wanted = {f"0-{one.offset}-{one.line}" for one in alerts_of(ledger, "alert", "recovery")}
    assert wanted
    page, found = await owner.get("/alerts"), []
    while True:
        found += ids_of(page)
        older = re.search(r'href="(/alerts\?[^"]*cursor=[^"]*)"', page.text)
        if older is None:
            break
        page = await owner.get(unescape(older[1]))
    assert len(found) == len(set(found))
    assert set(found) == wanted


async def test_the_list_is_filtered_by_app_kind_and_state(owner: Browser, ledger: Ledger) -> None:
    everything = ledger.query(
        "SELECT alert_id, appid, reason, is_open FROM alerts ORDER BY time DESC, alert_id DESC"
    )
    for query, expected in (
        (f"app={APP}", [row[0] for row in everything if row[1] == APP]),
        ("reason=level", [row[0] for row in everything if row[2] == "level"]),
        ("state=open", [row[0] for row in everything if row[3]]),
        (f"app={APP}&state=ended", [row[0] for row in everything if row[1] == APP and not row[3]]),
        ("state=x&reason=y&cursor=z", [row[0] for row in everything]),
    ):
        assert ids_of(await owner.get(f"/alerts?{query}")) == expected[:50], query


async def test_a_cursor_of_another_list_begins_at_the_newest(owner: Browser) -> None:
    newest = ids_of(await owner.get("/alerts"))
    for cursor in ("AAAA", base64.urlsafe_b64encode(b"\0" * 20).decode(), "x" * 2_000):
        assert ids_of(await owner.get(f"/alerts?cursor={cursor}")) == newest


async def test_an_alert_is_told_in_both_languages(owner: Browser, ledger: Ledger) -> None:
    level = next(one for one in alerts_of(ledger, "alert") if one.reason == "level")
    size = json.loads(level.details)["size"]
    chinese = await owner.get("/alerts?reason=level")
    assert "余量不足" in chinese.text
    assert f"总量 {size:,} 次" in chinese.text
    owner.session.cookie_jar.update_cookies({"language": "en"})
    try:
        english = await owner.get("/alerts?reason=level")
        card = await owner.get(f"{CARD}?capability=realtime")
    finally:
        owner.session.cookie_jar.update_cookies({"language": "zh"})
    assert f"of {size:,} calls were left" in english.text
    assert "Low balance" in english.text
    assert "at ¥0.04 each" in card.text or "Nobody signed up" in card.text


async def test_where_alerts_go_is_shown_for_the_owners_apps_without_addresses(
    owner: Browser, console: ServedConsole, receiver: Receiver
) -> None:
    page = await owner.get("/alerts")
    assert "每天 09:30 汇总发送" in page.text
    assert "22:00 至 08:00 免打扰，紧急告警立即发送" in page.text
    assert re.findall(r'<th scope="row">(\w+)<span', page.text) == ["everyone", "east"]
    async with console.browser(email_of("owner", "b")) as other:
        shown = await other.get("/alerts")
    assert re.findall(r'<th scope="row">(\w+)<span', shown.text) == ["everyone", "west"]
    for text in (page.text, shown.text):
        assert receiver.url not in text
        assert "whsec" not in text


async def test_an_owner_sets_up_who_gets_alerts_and_a_test_reaches_nobody_else(
    console: ServedConsole, receiver: Receiver, mailbox: Mailbox
) -> None:
    others, path = len(receiver.requests), "/alerts/recipients"
    async with console.browser(email_of("owner")) as browser:
        empty = await browser.get(path)
        assert "尚未设置接收人" in empty.text
        form = await browser.get(f"{path}/new?kind=wecom")
        assert re.search(r'pattern="(https://[^"]*)"', form.text) is not None
        fields: dict[str, str | Sequence[str]] = {
            "name": "店长",
            "language": "zh",
            "severity": ["urgent", "warning"],
        }
        wecom = {**fields, "kind": "wecom", "address": f"{WECOM}693a91f6-7xxx"}
        refused = await browser.send(path, path, **{**wecom, "address": receiver.url})
        assert (refused.status, refused.mistake) == (422, f"请复制机器人显示的完整地址，它以 {WECOM} 开头。")
        assert 'value="店长"' in refused.text
        for name, value in (("severity", []), ("name", "13800138000")):
            assert (await browser.send(path, path, **{**wecom, name: value})).status == 422
        assert (await browser.send(path, path, **{**wecom, "kind": "webhook"})).status == 404
        assert "693a91f6" not in (await browser.send(path, path, **wecom)).text
        assert (await browser.send(path, path, **wecom)).mistake == "该地址已是接收人。"
        mail = {**fields, "name": "老板", "kind": "email", "address": "boss@coffee.example"}
        saved = await browser.send(path, path, **mail)
        assert (saved.status, "已保存，数秒内生效。" in saved.text) == (200, True)
        listed = await browser.get(path)
        assert re.findall(r'<th scope="row">(\w+)</th>', listed.text) == ["店长", "老板"]
        assert "<code>…7xxx</code>" in listed.text
        recipient = re.findall(rf'href="{path}/([0-9a-f]+)"', listed.text)[1]
        tested = await browser.send(path, f"{path}/{recipient}/test")
        assert "老板 已收到测试消息" in tested.text
        assert mailbox.receivers() == ["boss@coffee.example"]
        assert len(receiver.requests) == others
        changed = await browser.send(
            path, f"{path}/{recipient}", name="老板娘", language="en", severity="info"
        )
        assert "老板娘" in changed.text
        assert (await browser.send(path, f"{path}/quiet", begins="22:00", ends="22:00")).status == 422
        await browser.send(path, f"{path}/quiet", begins="23:00", ends="07:30")
        shown = (await browser.get("/alerts")).text
        assert "23:00 至 07:30 免打扰，紧急告警立即发送" in shown
        assert re.findall(r'<th scope="row">(\w+)<', shown)[-4:] == ["店长", "老板娘", "everyone", "east"]
        async with console.browser(email_of("owner", "b")) as other:
            assert "老板娘" not in (await other.get("/alerts")).text + (await other.get(path)).text
            token = (await other.get("/account")).form_token
            for way in ("", "/test", "/remove"):
                sent = {"form_token": token, "name": "x", "severity": "info"}
                answer = await other.post(f"{path}/{recipient}{way}", sent)
                assert answer.status in {404, 409}, way
            assert (await other.get(f"{path}/{recipient}")).status == 404
        for _ in range(9):
            await browser.send(path, f"{path}/{recipient}/test")
        last = await browser.send(path, f"{path}/{recipient}/test")
        assert (last.status, last.mistake) == (409, "测试消息发送过多，请一小时后再试。")
        assert len(mailbox.mails) == 10
        assert "老板娘" not in (await browser.send(path, f"{path}/{recipient}/remove")).text
        trail = (await browser.get("/activity")).text
        for deed in (
            "添加了告警接收人 店长 (wecom)",
            "设置了告警免打扰时段： 23:00–07:30",
            "移除了告警接收人 老板娘",
        ):
            assert deed in trail


async def test_without_kafka_nothing_is_acknowledged(owner: Browser) -> None:
    shown = await owner.get("/alerts?state=open")
    (alert_id, *_) = ids_of(shown)
    appid = re.search(
        rf'name="app" value="(wx\w+)">\s*<input type="hidden" name="alert" value="{alert_id}"', shown.text
    )
    assert appid is not None
    answer = await owner.send("/alerts", "/alerts/acknowledge", app=appid[1], alert=alert_id, of_state="open")
    assert answer.status == 503
    assert "已确认" not in (await owner.get("/alerts?state=open")).text
    for wrong in ("0-1-0", "x", "", "'; --"):
        assert (await owner.send("/alerts", "/alerts/acknowledge", app=appid[1], alert=wrong)).status == 404


async def test_levels_begin_with_the_defaults_and_record_what_was_changed(
    owner: Browser, console: ServedConsole
) -> None:
    page = await owner.get(LEVELS)
    fields = {
        "levels_percent": "20, 10, 5, 0",
        "expiry_days": "15, 7, 3, 1, 0",
        "run_out_lead_days": "7",
        "burn_minute_calls": "60",
        "burn_client_calls": "30",
        "burn_percent": "300",
    }
    for name, value in fields.items():
        assert re.search(rf'name="{name}"[^>]* value="{value}"', page.text), name
    assert (await saved(owner, LEVELS, **fields)).path.endswith("saved=same")
    answer = await saved(
        owner, LEVELS, **{**fields, "levels_percent": "5 50，20%", "run_out_lead_days": "14"}
    )
    assert answer.status == 200
    assert facts_of(console, "account.alerting_set")[0] == {
        "levels_percent": [50, 20, 5],
        "run_out_lead_days": 14,
    }
    after = await owner.get(LEVELS)
    assert 'value="50, 20, 5"' in after.text
    none = await saved(owner, LEVELS, **{**fields, "levels_percent": "", "run_out_lead_days": "14"})
    assert none.status == 200
    assert facts_of(console, "account.alerting_set")[0] == {"levels_percent": []}


@pytest.mark.parametrize(
    ("field", "value", "sentence"),
    [
        ("levels_percent", "101", "余量告警线：请输入最多 10 个整数，范围 0 到 100，用逗号分隔。"),
        ("levels_percent", "1,2,3,4,5,6,7,8,9,10,11", "余量告警线：请输入最多 10 个整数"),
        ("expiry_days", "soon", "到期前天数：请输入最多 10 个整数，范围 0 到 365，用逗号分隔。"),
        ("burn_percent", "99", "异常倍数：请输入 100 到 10,000 之间的整数。"),
    ],
)
async def test_levels_that_make_no_sense_are_told(
    owner: Browser, console: ServedConsole, field: str, value: str, sentence: str
) -> None:
    before = facts_of(console, "account.alerting_set")
    fields = {
        "levels_percent": "20",
        "expiry_days": "7",
        "run_out_lead_days": "7",
        "burn_minute_calls": "60",
        "burn_client_calls": "30",
        "burn_percent": "300",
    }
    answer = await saved(owner, LEVELS, **{**fields, field: value})
    assert answer.status == 422
    assert sentence in answer.mistake
    assert value in answer.text
    assert facts_of(console, "account.alerting_set") == before


async def test_the_settings_of_an_app_without_events_are_the_defaults(console: ServedConsole) -> None:
    async with console.browser(email_of("owner", "b")) as browser:
        page = await browser.get(f"/member-card/{OTHER_APP}")
        assert "最近 30 天没有会员注册" in page.text
        assert checked_mode(page) == "balance"
        assert (await browser.get(f"/alerts/levels/{OTHER_APP}")).status == 200
        assert "没有告警" in (await browser.get("/alerts")).text
