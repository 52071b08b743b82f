"""The pages with figures on the real engine: the figures of the reads, for the owner's apps only."""

import csv
import io
import json
import re
from collections.abc import AsyncIterator
from html import unescape
from typing import Any

import pytest
import pytest_asyncio

from dashboards.console.usage_window import WINDOWS
from dashboards.reads.asking import Ask
from dashboards.reads.balance import find_balance
from dashboards.reads.clock import read_clock
from dashboards.reads.expected import expected_use
from dashboards.reads.open_packs import open_packs_of, read_open_packs
from dashboards.reads.outlooks import foretold_of, read_holdings
from dashboards.reads.packs import read_packs
from dashboards.reads.recent_use import read_recent_use
from metering.ledger import CALL_KINDS
from metering.times import shanghai_day
from sinks.connection import connect
from tests.dashboards.conftest import Ledger
from tests.dashboards.console.figures import GATEWAY, console_with_figures
from tests.dashboards.console.parts import OTHER_APP, Browser, Seen, ServedConsole, email_of

APP = "wx92717bd84024b977"
WINDOW_NAMES = [choice.name for choice in WINDOWS]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def console(ledger: Ledger, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[ServedConsole]:
    async with console_with_figures(tmp_path_factory.mktemp("console"), ledger) as served:
        yield served


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def owner(console: ServedConsole) -> AsyncIterator[Browser]:
    """The owner of all simulated apps."""
    async with console.browser(email_of("owner")) as browser:
        yield browser


class KeptPages:
    """Pages of the owner, each loaded once."""

    def __init__(self, owner: Browser) -> None:
        self._owner = owner
        self._kept: dict[str, Seen] = {}

    async def get(self, path: str) -> Seen:
        if path not in self._kept:
            self._kept[path] = await self._owner.get(path)
        return self._kept[path]


@pytest.fixture(scope="module")
def pages(owner: Browser) -> KeptPages:
    return KeptPages(owner)


def figures_of(text: str) -> dict[str, str]:
    """The large figures of a page by their labels, without units."""
    found = re.findall(r"<dt>([^<]*)</dt>\s*<dd[^>]*>([^<]*)", text)
    return {unescape(label): value.strip() for label, value in found}


def columns_of(text: str) -> dict[str, Any]:
    """The data that the script of the page draws."""
    found = re.search(r'id="curve-columns">([^<]*)</script>', text)
    assert found is not None
    columns: dict[str, Any] = json.loads(found[1])
    return columns


@pytest.mark.asyncio(loop_scope="module")
async def test_the_overview_has_every_app_with_what_the_balance_says_is_left(
    pages: KeptPages, ledger: Ledger
) -> None:
    page = await pages.get("/overview")
    assert page.status == 200
    with connect(ledger.engine.url) as client:
        for appid, name in client.execute("SELECT appid, name FROM apps"):
            found = find_balance(lambda query, given=None: client.execute(query, given), appid)
            assert found is not None
            row = re.search(rf'href="/usage/{appid}\?capability=quick">{name}<.*?</tr>', page.text, re.DOTALL)
            assert row is not None, name
            left = found.balance.capabilities["quick"].calls_left
            assert f"<span>{left:,}" in row[0]


@pytest.mark.asyncio(loop_scope="module")
async def test_the_overview_is_searched_and_sorted_by_links_and_a_form(owner: Browser) -> None:
    found = await owner.get("/overview?search=app+3")
    assert set(re.findall(r"Simulated app \d", found.text)) == {"Simulated app 3"}
    assert "没有这样的小程序" in (await owner.get("/overview?search=nobody")).text
    by_name = re.findall(r"Simulated app (\d)<", (await owner.get("/overview?sort=name")).text)
    assert by_name == sorted(by_name)
    backwards = await owner.get("/overview?sort=name&order=descending")
    assert re.findall(r"Simulated app (\d)<", backwards.text) == by_name[::-1]
    assert 'aria-sort="descending"><a href="/overview?sort=name"' in backwards.text


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize("query", ["sort=x", "page=0", "page=99999999999", "page=²", "page=-1", "order=up"])
async def test_a_query_that_makes_no_sense_shows_the_usual_overview(pages: KeptPages, query: str) -> None:
    page = await pages.get(f"/overview?{query}")
    assert page.status == 200
    assert page.text.count('scope="row"') == (await pages.get("/overview")).text.count('scope="row"')


@pytest.mark.asyncio(loop_scope="module")
async def test_used_and_left_and_lapsed_are_the_total(pages: KeptPages) -> None:
    for name in ("quick", "realtime"):
        page = await pages.get(f"/usage/{APP}?window=quarter&capability={name}")
        figures = figures_of(page.text)
        used, left, total = (
            int(figures[label].replace(",", "")) for label in ("累计用量", "剩余用量", "总量")
        )
        lapsed = re.search(r"其中过期作废 ([\d,]+) 次", page.text)
        assert total == used + left + (int(lapsed[1].replace(",", "")) if lapsed else 0)
        assert used > 0


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize("window", WINDOW_NAMES)
async def test_the_curve_has_the_calls_of_the_ledger(pages: KeptPages, ledger: Ledger, window: str) -> None:
    columns = columns_of((await pages.get(f"/usage/{APP}?window={window}")).text)
    calls = [count for count in columns["calls"] if count is not None]
    assert sum(calls) == sum(
        entry.calls
        for entry in ledger.entries
        if entry.kind in CALL_KINDS
        and (entry.appid, entry.capability) == (APP, "quick")
        and entry.time_ms >= columns["begins"][0] * 1_000
    )
    assert len(columns["begins"]) == len(columns["before"]) == len(columns["expected"])
    has_forecast = any(count is not None for count in columns["expected"])
    assert has_forecast == (window not in {"hours", "week"})


@pytest.mark.usefixtures("console")
def test_the_days_ahead_are_those_that_the_view_of_the_forecast_expects(ledger: Ledger) -> None:
    with connect(ledger.engine.url) as client:
        foretold = client.execute(
            "SELECT day, expected FROM forecast_daily WHERE appid = %(appid)s AND capability = 'quick'"
            " ORDER BY day LIMIT 100",
            {"appid": APP},
        )
        ask: Ask = lambda query, given=None: client.execute(query, given)  # noqa: E731 - as reads take it
        now_ms = read_clock(ask).now_ms
        use = read_recent_use(ask, (APP,), now_ms)
        packs = open_packs_of(APP, read_packs(ask, APP).packs)
        held = read_holdings(ask, (APP,))[APP]
        projection = foretold_of(held, packs, use, now_ms)["quick"]
        calls = expected_use(use.paces(APP, shanghai_day(now_ms) - 1)["quick"], projection, now_ms).calls
        assert packs
        assert packs == read_open_packs(ask, (APP,))
    assert foretold
    assert [calls[day] for day, _ in foretold] == pytest.approx([count for _, count in foretold], abs=0.001)


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize("by", ["", "scene", "store", "scene,store"])
async def test_the_file_adds_up_to_the_curve(owner: Browser, pages: KeptPages, by: str) -> None:
    columns = columns_of((await pages.get(f"/usage/{APP}?window=quarter")).text)
    answer = await owner.get(f"/usage/{APP}/calls.csv?window=quarter&by={by}")
    assert answer.headers["content-type"] == "text/csv; charset=utf-8"
    assert re.fullmatch(r'attachment; filename="[\w.-]+\.csv"', answer.headers["content-disposition"])
    head, *rows = csv.reader(io.StringIO(answer.text.removeprefix("\ufeff")))
    assert head[:5] == ["开始时间", "能力", "场景", "门店", "调用次数"]
    assert sum(int(row[4]) for row in rows) == sum(count or 0 for count in columns["calls"])
    assert any(row[2] for row in rows) == ("scene" in by)
    assert any(row[3] for row in rows) == ("store" in by)


@pytest.mark.asyncio(loop_scope="module")
async def test_places_and_refusals_and_packs_are_told_in_both_languages(
    owner: Browser, pages: KeptPages
) -> None:
    chinese = await pages.get(f"/usage/{APP}?window=quarter")
    for text in ("门店三", "（未提供）", "额度已全部用完", "用户拒绝", "已结束的资源包", "按扣减顺序"):
        assert text in chinese.text
    owner.session.cookie_jar.update_cookies({"language": "en"})
    try:
        english = await owner.get(f"/usage/{APP}?window=quarter")
    finally:
        owner.session.cookie_jar.update_cookies({"language": "zh"})
    for text in ("门店三", "(none told)", "All quota was used up", "Denied by the user", "packs have ended"):
        assert text in english.text


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize(
    "path",
    ["/usage/{}", "/usage/{}/calls.csv", "/usage/{}?window=hours", "/usage/{}/balance", "/usage/{}/live"],
)
async def test_another_owners_app_is_not_there_and_neither_is_one_that_nobody_has(
    owner: Browser, console: ServedConsole, path: str
) -> None:
    answers = [await owner.get(path.format(appid)) for appid in (OTHER_APP, "wx0000000000000000")]
    assert [answer.status for answer in answers] == [404, 404]
    async with console.browser(email_of("owner", "b")) as other:
        assert (await other.get(path.format(APP))).status == 404
        assert "Simulated" not in (await other.get("/overview")).text


@pytest.mark.asyncio(loop_scope="module")
async def test_the_overview_of_an_owner_never_has_apps_of_another(console: ServedConsole) -> None:
    """Overviews are kept for a while, by the apps that may be seen."""
    async with console.browser(email_of("owner")) as one, console.browser(email_of("owner", "b")) as other:
        assert "Simulated app 1" in (await one.get("/overview")).text
        shown = await other.get("/overview")
        assert shown.path == "/first-run"
        assert "Simulated" not in (await other.get("/usage")).text


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize("capability", ["quick", "realtime"])
@pytest.mark.parametrize("window", ["days", "quarter", "months", "hours"])
async def test_the_balance_ends_with_what_is_left_and_wechats_count_is_beside_ours(
    pages: KeptPages, ledger: Ledger, capability: str, window: str
) -> None:
    page = await pages.get(f"/usage/{APP}/balance?window={window}&capability={capability}")
    assert page.status == 200
    columns = columns_of(page.text)
    left = [count for count in columns["calls"] if count is not None]
    usage = figures_of((await pages.get(f"/usage/{APP}?capability={capability}")).text)
    assert left[-1] == int(usage["剩余用量"].replace(",", ""))
    assert len(columns["begins"]) == len(columns["calls"]) == len(columns["expected"])
    assert next(count for count in columns["expected"] if count is not None) == left[-1]
    with connect(ledger.engine.url) as client:
        counts = client.execute(
            "SELECT pack_id, difference FROM agreement WHERE appid = %(appid)s AND capability = %(of)s",
            {"appid": APP, "of": capability},
        )
    for pack_id, difference in counts:
        row = re.search(rf'<th scope="row">{pack_id or "体验额度"}<.*?</tr>', page.text, re.DOTALL)
        assert row is not None
        assert (f">+{difference}<" if difference else ">一致<") in row[0]
    assert counts or "近三天没有获取到微信的用量" in page.text


@pytest.mark.asyncio(loop_scope="module")
async def test_causes_are_told_where_counts_differ_and_settlements_with_their_reasons(
    owner: Browser, ledger: Ledger
) -> None:
    with connect(ledger.engine.url) as client:
        ((differing, of),) = client.execute(
            "SELECT appid, toString(capability) FROM agreement WHERE difference != 0 LIMIT 1"
        )
        taken_over = client.execute(
            "SELECT appid, any(toString(capability)) FROM ledger WHERE reason = 'taken_over' GROUP BY appid"
        )
    page = await owner.get(f"/usage/{differing}/balance?capability={of}")
    assert "近 31 天的差异原因" in page.text
    assert taken_over
    page = await owner.get(f"/usage/{taken_over[0][0]}/balance?capability={taken_over[0][1]}")
    assert "由补录的资源包承接" in page.text
    assert (await owner.get(f"/usage/{APP}/balance?capability=slow")).status == 404


@pytest.mark.asyncio(loop_scope="module")
async def test_a_capability_that_does_not_exist_is_told_as_a_page_that_does_not(owner: Browser) -> None:
    assert (await owner.get(f"/usage/{APP}?capability=slow")).status == 404


@pytest.mark.asyncio(loop_scope="module")
async def test_my_usage_goes_to_the_app_that_was_chosen_and_else_to_the_most_urgent(owner: Browser) -> None:
    first = re.search(r'href="/usage/(wx\w+)\?', (await owner.get("/overview")).text)
    assert first is not None
    assert (await owner.get("/usage")).path.startswith(f"/usage/{first[1]}?")
    assert (await owner.get(f"/usage?app={APP}&window=week")).path.startswith(f"/usage/{APP}?")
    assert (await owner.get(f"/usage?app={OTHER_APP}")).path.startswith(f"/usage/{first[1]}?")


@pytest.mark.asyncio(loop_scope="module")
async def test_an_owner_without_apps_begins_with_the_first_run(console: ServedConsole) -> None:
    async with console.browser(email_of("owner", "new")) as browser:
        for path in ("/overview", "/usage", "/"):
            page = await browser.get(path)
            assert page.path == "/first-run"
        assert 'phonemeter owners apps "new" --add APPID' in page.text
        state = await browser.get("/first-run/state")
        assert json.loads(state.text) == {"apps": False, "key": False, "event": False}


@pytest.mark.asyncio(loop_scope="module")
async def test_the_first_run_notices_a_key_and_shows_the_request_with_the_owners_app(
    console: ServedConsole,
) -> None:
    async with console.browser(email_of("owner", "b")) as browser:
        page = await browser.get("/first-run")
        assert f"curl {GATEWAY}/v1/events" in page.text
        assert OTHER_APP in page.text
        assert json.loads((await browser.get("/first-run/state")).text) == {
            "apps": True,
            "key": False,
            "event": False,
        }
        await browser.send("/keys", "/keys", name="one", days="0", scope=["emit"], all_apps="1")
        assert json.loads((await browser.get("/first-run/state")).text)["key"] is True


@pytest.mark.asyncio(loop_scope="module")
async def test_a_first_page_is_small_without_the_library_of_the_curves(pages: KeptPages) -> None:
    for path in ("/overview", f"/usage/{APP}?window=quarter"):
        page = await pages.get(path)
        files = re.findall(r'(?:href|src)="(/static/[^"]+)"', page.text)
        assert len(files) >= 2
        sizes = [len((await pages.get(file)).text.encode()) for file in files]
        assert len(page.text.encode()) + sum(sizes) < 150_000
