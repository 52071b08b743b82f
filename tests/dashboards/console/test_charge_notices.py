"""The pages of charge notices on the real engine: what is previewed is what is sent, once, and is kept."""

import re
from collections.abc import AsyncIterator
from html import unescape
from typing import Any

import msgspec
import pytest
import pytest_asyncio
from sqlalchemy import select

from dashboards.console.languages import LANGUAGES
from dashboards.console.roles import Role
from metering.alerts import alert_of
from metering.ledger import Entry
from metering.times import DAY_MS, HOUR_MS
from phonemeter.business.owners import OwnerStore
from phonemeter.business.tables import OUTBOX
from producers.clock import wall_clock_ms
from sinks.connection import connect
from sinks.notifier.routes import App, Language
from sinks.notifier.wording import text_of
from tests.dashboards.conftest import Ledger
from tests.dashboards.console.figures import console_with_figures
from tests.dashboards.console.parts import APPS, OTHER_APP, Browser, Seen, ServedConsole, email_of
from tests.metering.building import play, registered
from tools.pictures.half_year_engine import store_entries

pytestmark = pytest.mark.asyncio(loop_scope="module")

APP = "wx92717bd84024b977"
NOTICE = f"/notices/{APP}"
START_MS = 1_700_000_000_000
FAR = 20_000_000
"""Offsets behind those of the simulated half-year."""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def console(ledger: Ledger, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[ServedConsole]:
    async with console_with_figures(tmp_path_factory.mktemp("console"), ledger) as served:
        served.add_member("operator", "a")
        yield served


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def operator(console: ServedConsole) -> AsyncIterator[Browser]:
    async with console.browser(email_of("operator")) as browser:
        yield browser


def fields_of(page: Seen) -> dict[str, str]:
    """The hidden fields by which a preview is sent."""
    form = page.text.split('<form method="post" action="/notices/')[1].split("</form>")[0]
    return {name: unescape(value) for name, value in re.findall(r'name="(\w+)" value="([^"]*)"', form)}


def preview_of(page: Seen, language: Language) -> str:
    found = re.search(rf'id="preview-{language}" lang="{language}">([^<]*)<', page.text)
    assert found is not None
    return unescape(found[1])


def recorded(console: ServedConsole, appid: str = APP) -> list[dict[str, Any]]:
    """The events that wait to be published, the oldest first."""
    chosen = select(OUTBOX.c.event).where(OUTBOX.c.appid == appid).order_by(OUTBOX.c.place)
    with console.database.begin() as connection:
        return [msgspec.json.decode(event) for event in connection.execute(chosen).scalars()]


def forget(console: ServedConsole) -> None:
    """Empty the outbox, so that the limit of a day begins anew."""
    with console.database.begin() as connection:
        connection.execute(OUTBOX.delete())


async def sent(browser: Browser, appid: str = APP, **changes: str) -> Seen:
    """The answer to a preview that is sent at once, with changes to its form."""
    page = await browser.get(f"/notices/{appid}")
    return await browser.post(f"/notices/{appid}", {**fields_of(page), **changes})


async def test_what_is_previewed_is_what_the_notifier_says_in_both_languages(
    console: ServedConsole, operator: Browser
) -> None:
    forget(console)
    page = await operator.get(f"{NOTICE}?price_min=0.0259&price_max=0.03&charged_from=2023-08-28T00:00")
    answer = await operator.post(NOTICE, fields_of(page))
    assert (answer.path, answer.status) == (f"/notices?sent={APP}", 200)
    (event,) = recorded(console)
    (told,) = [one for one in play(msgspec.json.encode(event)).of("alert") if one.reason == "charge_notice"]
    for language in LANGUAGES:
        # The routes file may call the app otherwise: the notice has the name that was previewed.
        *lines, number = text_of(alert_of(0, told), App("another name"), language).text().split("\n")
        assert "\n".join(lines) == preview_of(page, language)
        assert "0-0-" in number
    assert "每次成功调用0.0259元~0.03元" in preview_of(page, "zh")
    assert "Simulated app 1" in preview_of(page, "en")
    assert "2023-08-28 00:00" in preview_of(page, "en")


async def test_the_use_that_is_told_is_the_bound_of_three_months(operator: Browser, ledger: Ledger) -> None:
    with connect(ledger.engine.url) as client:
        ((calls,),) = client.execute(
            "SELECT sum(succeeded) FROM usage_monthly_by_app CROSS JOIN clock WHERE appid = %(app)s AND "
            "capability = 'quick' AND month >= toStartOfMonth(clock.now, 'Asia/Shanghai') - INTERVAL 3 MONTH "
            "AND month < toStartOfMonth(clock.now, 'Asia/Shanghai')",
            {"app": APP},
        )
    found = re.search(r"平均每月使用约在([\d,]+)(万?)次以内", preview_of(await operator.get(NOTICE), "zh"))
    assert found is not None
    bound = int(found[1].replace(",", "")) * (10_000 if found[2] else 1)
    assert bound * 3 >= calls > bound * 3 // 5


async def test_a_preview_that_is_sent_twice_is_one_notice(console: ServedConsole, operator: Browser) -> None:
    forget(console)
    fields = fields_of(await operator.get(NOTICE))
    answers = [await operator.post(NOTICE, fields) for _ in range(2)]
    assert [answer.path for answer in answers] == [f"/notices?sent={APP}"] * 2
    assert len(recorded(console)) == 1


async def test_what_was_not_previewed_is_not_sent(console: ServedConsole, operator: Browser) -> None:
    forget(console)
    old = str(wall_clock_ms() - 2 * HOUR_MS)
    for changes in ({"told": "0" * 64}, {"previewed_at_ms": old}, {"previewed_at_ms": "x"}):
        refused = await sent(operator, **changes)
        assert (refused.status, refused.mistake) == (409, "数据已变化，或预览已超过一小时，请重新查看。")
    refused = await sent(operator, price_min="0.04")
    assert (refused.status, refused.mistake) == (422, "最高价以元为单位，例如 0.03，且不低于最低价。")
    assert recorded(console) == []


async def test_an_app_gets_five_notices_a_day(console: ServedConsole, operator: Browser) -> None:
    forget(console)
    page = fields_of(await operator.get(NOTICE))
    for number in range(6):
        at_ms = str(int(page["previewed_at_ms"]) - number)
        answer = await operator.post(NOTICE, {**page, "previewed_at_ms": at_ms})
        assert answer.status == (200 if number < 5 else 409)
    assert answer.mistake == "该小程序一天内已发送五次通知，请明天再发送。"
    assert len(recorded(console)) == 5
    # Its second click is no further notice.
    assert (await operator.post(NOTICE, page)).path == f"/notices?sent={APP}"


async def test_a_wrong_field_is_told_beside_the_form_and_nothing_can_be_sent(operator: Browser) -> None:
    page = await operator.get(f"{NOTICE}?price_min=cheap")
    assert (page.status, page.mistake) == (422, "最低价以元为单位，例如 0.026，最多六位小数。")
    assert 'value="cheap" aria-invalid="true" aria-describedby="mistake"' in page.text
    assert 'action="/notices/' + APP + '">' in page.text
    assert 'method="post" action="/notices/' not in page.text
    assert (await operator.get(f"{NOTICE}?capability=slow")).status == 404


async def test_roles_that_only_look_do_not_reach_the_pages(console: ServedConsole) -> None:
    roles: tuple[Role, ...] = ("viewer", "finance")
    for role in roles:
        email = console.add_member(role, "a", f"{role}-notices@a.example")
        async with console.browser(email) as browser:
            account = await browser.get("/account")
            assert 'href="/notices"' not in account.text
            assert (await browser.get("/notices")).status == 403
            assert (await browser.get(NOTICE)).status == 403
            assert (await browser.post(NOTICE, {"form_token": account.form_token})).status == 403


async def test_another_owners_app_is_not_there(console: ServedConsole, operator: Browser) -> None:
    forget(console)
    fields = fields_of(await operator.get(NOTICE))
    for appid in (OTHER_APP, "wx0000000000000000"):
        assert (await operator.get(f"/notices/{appid}")).status == 404
        assert (await operator.post(f"/notices/{appid}", fields)).status == 404
        assert (await operator.get(f"/notices?app={appid}")).path.startswith("/notices?app=")
        assert f"/notices/{appid}" not in (await operator.get(f"/notices?sent={appid}")).text
    async with console.browser(email_of("owner", "b")) as other:
        token = (await other.get("/account")).form_token
        assert (await other.post(NOTICE, {**fields, "form_token": token})).status == 404
        await sent(operator)
        listed = (await other.get(f"/notices?sent={APP}")).text
        assert "还没有发送过通知" in listed
        assert "Simulated" not in listed
    assert recorded(console, OTHER_APP) == []


async def test_a_form_counts_with_the_token_of_its_session_only(operator: Browser) -> None:
    fields = fields_of(await operator.get(NOTICE))
    assert (await operator.post(NOTICE, {**fields, "form_token": "0" * 64})).status == 403
    other = {"origin": "https://evil.example", "sec-fetch-site": "cross-site"}
    assert (await operator.post(NOTICE, fields, other)).status == 403


async def test_an_exempt_owner_is_sent_nothing(
    console: ServedConsole, operator: Browser, ledger: Ledger
) -> None:
    appid = "wxexempt0000000001"
    OwnerStore(console.database).change_apps("a", [appid], [])
    facts = play(registered(START_MS, "government", app=appid)).entries
    store_entries(ledger.engine.url, [msgspec.structs.replace(one, offset=one.offset + FAR) for one in facts])
    page = await operator.get(f"/notices/{appid}")
    assert "该主体为免费主体，不收费，不发送通知。" in page.text
    assert 'method="post" action="/notices/' not in page.text
    other = fields_of(await operator.get(NOTICE))
    refused = await operator.post(f"/notices/{appid}", other)
    assert (refused.status, refused.mistake) == (409, "该主体为免费主体，不收费，不发送通知。")
    assert recorded(console, appid) == []


async def test_an_app_without_events_has_a_notice_too(console: ServedConsole, operator: Browser) -> None:
    page = await operator.get(f"/notices/{APPS[0]}?capability=realtime")
    assert "平均每月使用约在50次以内" in preview_of(page, "zh")
    assert "每次成功调用0.04元" in preview_of(page, "zh")
    assert "小程序名称" not in preview_of(page, "zh")
    assert (await operator.post(f"/notices/{APPS[0]}", fields_of(page))).status == 200
    assert recorded(console, APPS[0])[0]["data"]["capability"] == "realtime"


async def test_the_list_follows_a_notice_from_the_outbox_to_its_deliveries(
    console: ServedConsole, operator: Browser, ledger: Ledger
) -> None:
    forget(console)
    assert "等待写入事件日志" in (await sent(operator)).text
    with console.database.begin() as connection:
        connection.execute(OUTBOX.update().values(published_at_ms=1))
    assert "已写入日志，即将发送" in (await operator.get(f"/notices?sent={APP}")).text
    (event,) = recorded(console)
    entries = [
        msgspec.structs.replace(one, offset=one.offset + FAR + 1)
        for one in play(msgspec.json.encode(event)).of("charge_notice", "alert")
    ]
    store_entries(ledger.engine.url, entries)
    listed = await operator.get(f"/notices?sent={APP}")
    assert "已写入日志，即将发送" not in listed.text
    assert "尚无路由接收" in listed.text
    store_delivery(ledger, entries[1])
    try:
        listed = await operator.get("/notices")
    finally:
        ledger.query("DELETE FROM delivery_states WHERE route = 'wecom-east'")
    assert "wecom-east · 已送达" in listed.text
    assert "¥0.026–¥0.03" in listed.text
    assert "2023年8月26日 00:00" in listed.text


def store_delivery(ledger: Ledger, alert: Entry) -> None:
    """The delivery of an alert, as the sink stores it."""
    row = {
        "alert_id": f"0-{alert.offset}-{alert.line}",
        "appid": alert.appid,
        "route": "wecom-east",
        "channel": "wecom",
        "state": "delivered",
    }
    with connect(ledger.engine.url) as client:
        client.execute(
            f"INSERT INTO delivery_states ({', '.join(row)}) VALUES",
            [row],
        )


async def test_a_notice_that_was_not_sent_says_why(operator: Browser, ledger: Ledger) -> None:
    at_ms = START_MS + DAY_MS
    details = (
        '{"charged_from_ms":1692979200000,"monthly_calls_max":100,"name":"","price_max_micro_yuan":40000,'
        '"price_min_micro_yuan":40000}'
    )
    entries = [
        Entry(FAR + 100 + number, 0, "charge_notice", at_ms, at_ms, APP, "quick", f"n{number}", reason=reason,
              details=details)
        for number, reason in enumerate(("exempt", "past"))
    ]  # fmt: skip
    store_entries(ledger.engine.url, entries)
    listed = (await operator.get("/notices")).text
    assert "未发送：免费主体" in listed
    assert "未发送：已过时" in listed
    assert "每月 100 次以内" in listed
