"""The page of buying on the real engine: figures, advice, an order, a pack that is recorded."""

import re
from collections.abc import AsyncIterator
from html import unescape

import pytest
import pytest_asyncio

from dashboards.console.orders import OrderFilter, PackOrder
from dashboards.reads.balance import find_balance
from metering.events import CAPABILITIES
from phonemeter.business.fact_desk import BusinessFacts
from phonemeter.business.orders import BusinessOrders
from phonemeter.business.owners import OwnerStore
from sinks.connection import connect
from tests.dashboards.conftest import Ledger
from tests.dashboards.console.figures import console_with_figures
from tests.dashboards.console.parts import APPS, OTHER_APP, Browser, Seen, ServedConsole, email_of

pytestmark = pytest.mark.asyncio(loop_scope="module")

APP = "wx92717bd84024b977"
BUY = f"/buy/{APP}"
GUIDE = f"{BUY}/guide"
RECORD: dict[str, str] = {
    "capability": "quick",
    "calls": "1000",
    "validity_days": "365",
    "price": "30",
    "paid_at": "2024-05-01T08:00",
    "pack_id": "",
}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def console(ledger: Ledger, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[ServedConsole]:
    async with console_with_figures(tmp_path_factory.mktemp("console"), ledger) as served:
        yield served


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def owner(console: ServedConsole) -> AsyncIterator[Browser]:
    """The owner of all simulated apps."""
    async with console.browser(email_of("owner")) as browser:
        yield browser


def owner_id_of(console: ServedConsole, name: str) -> str:
    return next(one.owner_id for one in OwnerStore(console.database).every_owner() if one.name == name)


def orders_of(console: ServedConsole, name: str = "a") -> list[PackOrder]:
    return list(BusinessOrders(console.database).list_orders(owner_id_of(console, name), OrderFilter()))


def cards_of(page: Seen) -> dict[str, str]:
    """The cards of the page by what they send."""
    found = re.findall(r'<label class="card">.*?value="([^"]+)"(.*?)</label>', page.text, re.DOTALL)
    return {value: re.sub(r"<[^>]+>|\s+", " ", unescape(rest)) for value, rest in found}


def step_at(page: Seen) -> str:
    """The step at which the guide goes on."""
    (name,) = re.findall(r'id="step-(\w+)"[^>]* aria-current="step"', page.text)
    return str(name)


async def test_the_page_tells_what_is_left_as_the_balance_does(owner: Browser, ledger: Ledger) -> None:
    with connect(ledger.engine.url) as client:
        found = find_balance(lambda query, given=None: client.execute(query, given), APP)
    assert found is not None
    for capability in CAPABILITIES:
        page = await owner.get(f"{BUY}?capability={capability}")
        left = found.balance.capabilities[capability].calls_left
        assert re.search(rf"<dt>剩余用量</dt><dd>{left:,}<", page.text)
        assert "你的小程序最近平均用量少于" in page.text


async def test_the_cards_of_a_validity_are_those_of_the_price_list(owner: Browser) -> None:
    year = cards_of(await owner.get(f"{BUY}?days=365"))
    assert list(year)[:2] == ["1000-365", "5000-365"]
    assert len(year) == 9
    assert "原价 ¥30,000.00" in " ".join(year["1000000-365"].split())
    assert "原价" not in year["1000-365"]
    quarter = await owner.get(f"{BUY}?days=90")
    assert list(cards_of(quarter)) == ["250-90"]
    assert "¥7.50" in quarter.text


async def test_without_a_price_nothing_is_offered_and_the_page_says_so(
    owner: Browser,
) -> None:
    for query in ("days=180", "capability=realtime"):
        page = await owner.get(f"{BUY}?{query}")
        assert "暂无此项价格" in page.text
        assert cards_of(page) == {}
        assert f'action="{BUY}"' not in page.text
    assert "价目表中没有该能力的用量包" in page.text


async def test_the_recommended_pack_is_chosen_and_says_why(owner: Browser) -> None:
    page = await owner.get(BUY)
    (chosen,) = re.findall(r'value="([^"]+)" required checked', page.text)
    assert "推荐" in cards_of(page)[chosen]
    assert "按实际会用到的次数计算，每次 ¥0.030" in page.text
    assert re.search(r"购买后预计可用到 \d+年", page.text)
    other = await owner.get(f"{BUY}?days=365&calls=5000")
    assert re.findall(r'value="([^"]+)" required checked', other.text) == ["5000-365"]


async def test_the_page_is_in_english_too(owner: Browser) -> None:
    owner.session.cookie_jar.update_cookies({"language": "en"})
    try:
        page = await owner.get(BUY)
    finally:
        owner.session.cookie_jar.update_cookies({"language": "zh"})
    assert page.title.startswith("Buy · ")
    for text in ("Your mini-program has recently used at most", "A call that will be used costs", "Confirm"):
        assert text in page.text


async def test_buy_goes_to_the_app_that_was_chosen_and_else_to_the_most_urgent(owner: Browser) -> None:
    first = re.search(r'href="/usage/(wx\w+)\?', (await owner.get("/overview")).text)
    assert first is not None
    assert (await owner.get("/buy")).path.startswith(f"/buy/{first[1]}?")
    assert (await owner.get(f"/buy?app={APP}&capability=realtime")).path == f"{BUY}?capability=realtime"
    assert (await owner.get(f"/buy?app={OTHER_APP}&capability=slow")).path.startswith(f"/buy/{first[1]}?")


async def test_overview_and_usage_lead_to_the_page(owner: Browser) -> None:
    assert f'href="{BUY}?capability=quick"' in (await owner.get("/overview")).text
    assert f'href="{BUY}?capability=realtime"' in (await owner.get(f"/usage/{APP}?capability=realtime")).text
    assert '<a href="/buy">购买</a>' in (await owner.get("/overview")).text


async def test_an_app_without_an_event_begins_with_its_trial_quota(owner: Browser) -> None:
    page = await owner.get(f"/buy/{APPS[0]}")
    assert "还没有这个小程序的事件" in page.text
    assert "用量记录还不到一周，而且仍有剩余用量" in page.text
    assert "required checked" not in page.text
    assert len(cards_of(page)) == 9


async def test_a_card_becomes_one_order_however_often_it_is_sent(
    owner: Browser, console: ServedConsole
) -> None:
    before = len(orders_of(console))
    page = await owner.get(f"{BUY}?days=90")
    (once,) = re.findall(r'name="once" value="(\w+)"', page.text)
    fields = {"form_token": page.form_token, "once": once, "capability": "quick", "offer": "250-90"}
    answers = [await owner.post(BUY, fields) for _ in range(2)]
    made = orders_of(console)
    assert len(made) == before + 1
    assert {answer.path for answer in answers} == {f"/orders/{made[0].order_id}"}
    assert (made[0].appid, made[0].calls, made[0].price_micro_yuan) == (APP, 250, 7_500_000)


async def test_an_agency_assigns_a_pack_to_one_of_its_apps(owner: Browser, console: ServedConsole) -> None:
    page = await owner.get(f"{BUY}?days=90")
    assert 'name="kind" value="purchase" checked' in page.text
    (once,) = re.findall(r'name="once" value="(\w+)"', page.text)
    fields = {"form_token": page.form_token, "once": once, "capability": "quick", "kind": "assignment"}
    again = await owner.post(BUY, fields)
    assert 'name="kind" value="assignment" checked' in again.text
    await owner.post(BUY, {**fields, "offer": "250-90"})
    made = orders_of(console)[0]
    assert (made.appid, made.kind, made.calls) == (APP, "assignment", 250)
    async with console.browser(email_of("owner", "b")) as other:
        assert 'name="kind"' not in (await other.get(f"/buy/{OTHER_APP}")).text


@pytest.mark.parametrize(
    ("offer", "mistake"),
    [
        ("", "请选择一个用量包。"),
        ("250-365", "没有这种用量包，请从列表中选择。"),
        ("1-1", "没有这种用量包，请从列表中选择。"),
    ],
    ids=["none", "of another validity", "made up"],
)
async def test_only_a_pack_of_the_price_list_is_ordered(
    owner: Browser, console: ServedConsole, offer: str, mistake: str
) -> None:
    before = len(orders_of(console))
    answer = await owner.send(BUY, BUY, once="x", capability="quick", offer=offer)
    assert (answer.status, answer.mistake) == (422, mistake)
    assert len(orders_of(console)) == before


async def test_a_pack_bought_at_wechat_is_recorded_once(owner: Browser, console: ServedConsole) -> None:
    owner_id = owner_id_of(console, "a")
    facts = BusinessFacts(console.database)
    answer = await owner.send(BUY, f"{BUY}/record", **RECORD)
    assert "已记录，稍后计入剩余用量。" in answer.text
    (found,) = facts.newest(owner_id, APP, "pack.purchased")
    assert found.fact.data["price_micro_yuan"] == 30_000_000
    assert found.fact.data["paid_at"] == "2024-05-01T00:00:00.000Z"
    again = await owner.send(BUY, f"{BUY}/record", **RECORD)
    assert (again.status, again.mistake) == (409, "这个资源包已经记录过了。")
    assert len(facts.newest(owner_id, APP, "pack.purchased")) == 1
    assert found.fact.data["pack_id"] in (await owner.get("/activity")).text


async def test_what_was_typed_stays_where_a_field_is_wrong(owner: Browser) -> None:
    wrong = {**RECORD, "price": "7.505", "pack_id": "wechat-1"}
    answer = await owner.send(BUY, f"{BUY}/record", **wrong)
    assert (answer.status, answer.mistake) == (422, "金额以元为单位，例如 7.5 或 28000，最多两位小数。")
    assert re.search(r'value="7.505" aria-invalid="true"', answer.text)
    assert 'value="wechat-1"' in answer.text
    assert "<details open>" in answer.text


async def test_a_viewer_sees_the_page_and_buys_and_records_nothing(console: ServedConsole) -> None:
    email = console.add_member("viewer", "a", "buying-viewer@a.example")
    async with console.browser(email) as browser:
        page = await browser.get(BUY)
        assert "由“所有者”或“财务”角色的成员购买" in page.text
        assert f'action="{BUY}/record"' not in page.text
        for path in (BUY, f"{BUY}/record"):
            assert (await browser.post(path, {"form_token": page.form_token})).status == 403


async def test_another_owners_app_is_not_there(owner: Browser, console: ServedConsole) -> None:
    token = (await owner.get(BUY)).form_token
    for appid in (OTHER_APP, "wx0000000000000000"):
        assert (await owner.get(f"/buy/{appid}")).status == 404
        fields = {**RECORD, "form_token": token, "once": "x", "offer": "250-90"}
        for path in (f"/buy/{appid}", f"/buy/{appid}/record"):
            assert (await owner.post(path, fields)).status == 404
    assert orders_of(console, "b") == []


@pytest.mark.parametrize("path", [f"{BUY}?capability=slow", f"{BUY}?capability="])
async def test_an_unknown_capability_is_told_as_an_unknown_page(owner: Browser, path: str) -> None:
    assert (await owner.get(path)).status == 404


async def test_the_guide_goes_on_where_the_last_member_stopped(
    owner: Browser, console: ServedConsole
) -> None:
    assert f'href="{GUIDE}"' in (await owner.get(f"{BUY}?days=180")).text
    assert step_at(await owner.get(GUIDE)) == "assistant"
    assert step_at(await owner.send(GUIDE, GUIDE, done="assistant")) == "password"
    await owner.send(GUIDE, GUIDE, done="password")
    finance = console.add_member("finance", "a", "buying-finance@a.example")
    async with console.browser(finance) as other:
        page = await other.get(GUIDE)
        assert step_at(page) == "sign_in"
        assert page.text.count(email_of("owner")) == 2
        assert step_at(await other.send(GUIDE, GUIDE, undone="password")) == "password"
    assert step_at(await owner.get(f"/buy/{APPS[0]}/guide")) == "assistant"
    assert "完成了微信后台购买指引的步骤" in (await owner.get("/activity")).text
    assert step_at(await owner.send(GUIDE, GUIDE, undone="begin_again")) == "assistant"


async def test_the_guide_is_read_by_viewers_and_changed_by_buyers_of_the_owner_alone(
    owner: Browser, console: ServedConsole
) -> None:
    email = console.add_member("viewer", "a", "guide-viewer@a.example")
    async with console.browser(email) as browser:
        page = await browser.get(GUIDE)
        assert step_at(page) == "assistant"
        assert f'action="{GUIDE}"' not in page.text
        answer = await browser.post(GUIDE, {"form_token": page.form_token, "done": "assistant"})
        assert answer.status == 403
    other = f"/buy/{OTHER_APP}/guide"
    assert (await owner.get(other)).status == 404
    token = (await owner.get(GUIDE)).form_token
    assert (await owner.post(other, {"form_token": token, "done": "assistant"})).status == 404
    assert (await owner.post(GUIDE, {"form_token": token, "done": "dance"})).status == 403
