"""Journeys of an owner on the whole stack in a browser: what is saved, alerted and bought takes effect."""

import asyncio
import secrets
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import NamedTuple
from urllib.parse import urlencode

import pytest_asyncio
from playwright.async_api import Browser, Locator, Page, expect

from dashboards.console.sessions import token_digest
from metering.times import SHANGHAI, to_ms
from phonemeter.business.database import BusinessDatabase
from phonemeter.business.keys import KeyStore
from phonemeter.business.members import MemberRegister
from phonemeter.business.owners import OwnerStore
from phonemeter.business.sessions import BusinessSessions
from phonemeter.stack.stack import Stack
from tests.dashboards.console.browsing import started_browser
from tests.dashboards.console.parts import HASHER, PASSWORD
from tests.dashboards.console.test_in_chromium import DESKTOP, PHONE, WAIT_MS, barriers
from tests.metering.building import text_of
from tests.producers.gateway.parts import tap
from tests.real_parts import starts_real_parts
from tests.sinks.balances.test_gateway_routing import BackEnd
from tests.waiting import WITHIN_S


class Journey(NamedTuple):
    """An owner with one app, its back end, and a member at the browser."""

    app: str
    back_end: BackEnd
    page: Page

    async def loaded_until(self, path: str, selector: str) -> None:
        """Load a page again and again until it has something."""
        async with asyncio.timeout(2 * WITHIN_S):
            while True:
                await self.page.goto(path)
                if await self.page.locator(selector).count():
                    return
                await asyncio.sleep(0.1)

    async def choose(self, mode: str, **fields: str) -> None:
        """Save the member-card settings with a way, and some fields."""
        await self.page.goto(f"/member-card/{self.app}")
        await self.page.check(f"#mode-{mode}")
        for name, value in fields.items():
            await self.page.fill(f"#{name}", value)
        await self.page.click("text=保存")
        await expect(self.page.locator(".message[role=status]")).to_contain_text("已保存")
        await expect(self.page.locator(f"#mode-{mode}")).to_be_checked()


@pytest_asyncio.fixture
@starts_real_parts
async def browser() -> AsyncIterator[Browser]:
    async with started_browser() as started:
        yield started


def figure(page: Page, name: str) -> Locator:
    """The large figure of a page with a name."""
    return page.locator(".figures div", has=page.locator("dt", has_text=name)).locator("dd").first


@pytest_asyncio.fixture
async def arrived(stack: Stack, browser: Browser) -> AsyncIterator[Journey]:
    """A member who is signed in; the ledger knows nothing of the app yet."""
    app = f"wx{secrets.token_hex(8)}"
    email = f"{app}@coffee.example"
    with BusinessDatabase(stack.settings.business_url) as database:
        key = KeyStore(database).issue("back end", ("emit", "read"), (app,)).text
        OwnerStore(database).add(f"Owner of {app}", [app])
        link = MemberRegister(database).add(email, "Li", f"Owner of {app}", "owner")
        assert link is not None
        BusinessSessions(database, 60, 12).use_link(token_digest(link.token), HASHER.hash(PASSWORD))
    back_end = BackEnd(stack, app, key)
    await back_end.until_routed(reason="not_known")
    context = await browser.new_context(
        viewport=DESKTOP, base_url=f"http://127.0.0.1:{stack.settings.console_port}", locale="zh-CN"
    )
    context.set_default_timeout(WAIT_MS)
    page = await context.new_page()
    await page.goto(f"/sign-in?{urlencode({'next': '/account'})}")
    await page.fill("#email", email)
    await page.fill("#password", PASSWORD)
    await page.press("#password", "Enter")
    await page.wait_for_url(lambda url: "/sign-in" not in url)
    yield Journey(app, back_end, page)
    await context.close()


@pytest_asyncio.fixture
async def journey(arrived: Journey) -> Journey:
    """The same; the app has used up its trial quota."""
    back_end = arrived.back_end
    opened = back_end.fact("account.opened", "opened", trial_used=back_end.stack.settings.trial_calls)
    await back_end.send(opened)
    return arrived


async def test_what_is_saved_in_the_member_card_settings_is_what_back_ends_are_told(journey: Journey) -> None:
    back_end, app = journey.back_end, journey.app
    bought = back_end.fact(
        "pack.purchased", "P", pack_id=f"{app}-P", capability="quick", calls=100, validity_days=90,
        price_micro_yuan=3_000_000, paid_at=text_of(to_ms(datetime.now(UTC))),
    )  # fmt: skip
    await back_end.send(bought)
    await back_end.until_routed(route="wechat", reason="enough", left=100)

    await journey.choose("manual")
    await back_end.until_routed(route="manual", reason="set_by_owner")
    await journey.choose("sms", sms_left="550")
    await back_end.until_routed(route="sms", reason="set_by_owner")
    await journey.choose("balance", reserve_calls="100", store_budgets="store-03=1")
    await back_end.until_routed(route="sms", reason="reserve_reached")
    await journey.choose("balance", reserve_calls="0", sms_left="0")
    await back_end.until_routed(route="wechat", reason="enough")
    await journey.choose("wechat")
    await back_end.until_routed(route="wechat", reason="set_by_owner")

    # Once the ledger has it, the page tells that it holds, and no longer that it is on its way.
    await journey.loaded_until(f"/member-card/{app}", "main:not(:has(.message))")
    await expect(journey.page.locator("#mode-wechat")).to_be_checked()
    await expect(journey.page.locator("#store_budgets")).to_have_value("store-03=1")
    await journey.page.goto("/activity")
    await expect(journey.page.locator("tbody tr", has_text=app).filter(has_text="会员卡")).to_have_count(5)


async def test_a_low_balance_alerts_somebody_takes_care_and_a_pack_that_is_recorded_ends_it(
    journey: Journey,
) -> None:
    back_end, app, page = journey.back_end, journey.app, journey.page
    now = datetime.now(UTC)
    bought = back_end.fact(
        "pack.purchased", "P", pack_id=f"{app}-P", capability="quick", calls=10, validity_days=90,
        price_micro_yuan=300_000, paid_at=text_of(to_ms(now)),
    )  # fmt: skip
    await back_end.send(bought)
    await back_end.until_routed(reason="enough", left=10)
    await back_end.send(*(tap(f"{app}-{number}", app) for number in range(8)))

    await journey.loaded_until("/alerts?state=open", "text=剩余 2 次，总量 10 次，已降到 20% 或以下。")
    await page.click("text=确认")
    await expect(page.locator(f"text={app}@coffee.example 已确认")).to_be_visible()
    assert page.url.endswith("/alerts?state=open")

    await page.goto(f"/buy/{app}")
    await page.click("#record summary")
    await page.fill("#calls", "1000")
    await page.fill("#price", "30")
    paid_at = (now - timedelta(minutes=1)).astimezone(SHANGHAI)
    await page.fill("#paid_at", f"{paid_at:%Y-%m-%dT%H:%M}")
    await page.locator(f"form[action='/buy/{app}/record'] button").click()
    await back_end.until_routed(reason="enough", left=1_002)

    await journey.loaded_until("/alerts?state=ended", "text=充值后余量已回到 20% 以上")
    await journey.loaded_until("/alerts?state=open", "text=没有告警")
    assert await barriers(page) == []


async def test_levels_that_are_set_alert_at_once_if_they_are_reached(journey: Journey) -> None:
    back_end, app, page = journey.back_end, journey.app, journey.page
    bought = back_end.fact(
        "pack.purchased", "P", pack_id=f"{app}-P", capability="quick", calls=10, validity_days=90,
        price_micro_yuan=300_000, paid_at=text_of(to_ms(datetime.now(UTC))),
    )  # fmt: skip
    await back_end.send(bought, *(tap(f"{app}-{number}", app) for number in range(4)))
    await back_end.until_routed(reason="enough", left=6)
    await page.set_viewport_size(PHONE)
    await page.goto(f"/alerts/levels/{app}")
    await page.fill("#levels_percent", "70，30")
    await page.press("#levels_percent", "Enter")
    await expect(page.locator(".message[role=status]")).to_contain_text("已保存")
    await expect(page.locator("#levels_percent")).to_have_value("70, 30")
    await journey.loaded_until("/alerts", "text=剩余 6 次，总量 10 次，已降到 70% 或以下。")
    assert await barriers(page) == []


async def test_the_trial_runs_out_and_the_pack_that_is_bought_begins(arrived: Journey) -> None:
    back_end, app, page = arrived.back_end, arrived.app, arrived.page
    trial = back_end.stack.settings.trial_calls
    await back_end.send(back_end.fact("account.opened", "opened", trial_used=trial - 3))
    await back_end.send(tap(f"{app}-first", app))
    usage = f"/usage/{app}?window=hours"
    await arrived.loaded_until(usage, "text=其中体验额度 2 次")
    await expect(page.locator("text=体验额度由两项能力共用。")).to_be_visible()

    # The page that is open goes through it: the last call of the trial quota, and one that nothing covers.
    await back_end.send(tap(f"{app}-second", app), tap(f"{app}-last", app))
    await expect(figure(page, "剩余用量")).to_have_text("0次")
    await expect(page.locator(".message.danger")).to_contain_text("已用完")
    await back_end.send(tap(f"{app}-uncovered", app))
    await expect(page.locator(".summary .less")).to_have_text("1 次无可扣额度")
    await expect(figure(page, "累计用量")).to_have_text(f"{trial:,}次")

    await page.click("a.button:has-text('购买')")
    await arrived.loaded_until(f"/buy/{app}?capability=quick", "input[name=offer][value='250-90']")
    await page.check("input[name=offer][value='250-90']", force=True)
    await page.click("button.primary:has-text('确认')")
    await page.check("input[name=terms]")
    await page.click("button:has-text('支付')")
    await page.click("button:has-text('模拟支付')")
    await expect(page.locator("#order .tag")).to_have_text("已到账")

    await page.goto(usage)
    pack = page.locator(".packs li")
    await expect(pack).to_contain_text("250次 / 250")
    await expect(pack.locator(".tag.good")).to_have_text("生效中")
    await back_end.send(*(tap(f"{app}-paid-{number}", app) for number in range(4)))
    await expect(pack).to_contain_text("246次 / 250")
    await expect(figure(page, "剩余用量")).to_have_text("246次")
    await expect(figure(page, "累计用量")).to_have_text(f"{trial + 4:,}次")
    await expect(figure(page, "总量")).to_have_text(f"{trial + 250:,}次")
    await expect(page.locator(".message.danger")).to_have_count(0)
    await expect(page.locator(".summary")).to_contain_text("8次 · ¥0.12")
    # The pack was paid after it.
    await expect(page.locator(".summary .less")).to_have_text("1 次无可扣额度")
    assert await barriers(page) == []
