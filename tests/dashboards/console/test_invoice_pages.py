"""The pages of invoices: titles, applications, decisions, the PDF, and nobody else's."""

import re
from collections.abc import AsyncIterator
from typing import Final

import pypdfium2
import pytest
import pytest_asyncio

from dashboards.console.invoices import InvoicedOrder
from dashboards.console.pages.invoices import months_of
from metering.times import parse_time
from tests.dashboards.console.paid_orders import paid_order, refund
from tests.dashboards.console.parts import (
    APPS,
    Browser,
    ServedConsole,
    email_of,
    served_console,
)

COMPANY: Final = "深圳市腾讯计算机系统有限公司"
CODE: Final = "9144030071526726XG"

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def console(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[ServedConsole]:
    async with served_console(tmp_path_factory.mktemp("console")) as served:
        served.add_member("finance", "a")
        served.add_member("operator", "a")
        served.add_member("viewer", "a")
        yield served


async def with_title(browser: Browser) -> str:
    """The id of the company's title, saved if it is not yet."""
    fields = {"kind": "company", "name": COMPANY, "tax_number": CODE}
    saved = await browser.send("/invoices/titles", "/invoices/titles", **fields)
    assert saved.status == 200, saved.mistake
    found = re.search(rf"{COMPANY}.*?name=\"title\" value=\"([0-9a-f]+)\"", saved.text, re.DOTALL)
    assert found is not None
    return found[1]


async def applied(browser: Browser, **fields: str) -> str:
    """The number of an invoice that was just applied for."""
    title = await with_title(browser)
    seen = await browser.send("/invoices/titles", "/invoices/apply", title=title, **fields)
    assert seen.status == 200, seen.mistake
    return seen.path.removeprefix("/invoices/")


async def test_an_invoice_is_applied_for_issued_and_saved_as_pdf(console: ServedConsole) -> None:
    order_id = paid_order(console.database, offer=7)
    async with (
        console.browser(email_of("finance")) as browser,
        console.browser(email_of("operator")) as operator,
    ):
        assert order_id in (await browser.get("/invoices")).text
        title = await with_title(browser)
        form = await browser.get(f"/invoices/apply?order={order_id}")
        assert "贰万捌仟元整" in form.text
        fields = {"form_token": form.form_token, "order": order_id, "title": title}
        shown = await browser.post("/invoices/apply", fields)
        number = shown.path.removeprefix("/invoices/")
        assert "待开票" in shown.text
        assert "确认开票" not in shown.text
        issued = await operator.send(f"/invoices/{number}", f"/invoices/{number}/issue")
        assert (issued.status, issued.path) == (200, f"/invoices/{number}")
        assert "已开票" in (await browser.get("/invoices")).text
        assert f"开具了发票 {number}" in await activity(console)
        async with browser.session.get(f"{browser.base}/invoices/{number}/pdf") as reply:
            assert reply.headers["content-type"] == "application/pdf"
            assert reply.headers["content-disposition"] == f'attachment; filename="{number}.pdf"'
            document = pypdfium2.PdfDocument(await reply.read())
    text = document[0].get_textpage().get_text_bounded()
    document.close()
    for part in (COMPANY, CODE, order_id, "¥28,000.00", "贰万捌仟元整", number):
        assert part in text


async def activity(console: ServedConsole) -> str:
    async with console.browser(email_of("owner")) as browser:
        return (await browser.get("/activity")).text


async def test_a_month_is_applied_for_with_all_its_orders(console: ServedConsole) -> None:
    may = parse_time("2024-05-01T00:00:00+08:00")
    orders = [paid_order(console.database, paid_ms=may + number) for number in range(3)]
    async with console.browser(email_of("owner")) as browser:
        form = await browser.get("/invoices/apply?month=2024-05")
        assert all(one in form.text for one in orders)
        assert "¥22.50" in form.text
        number = await applied(browser, month="2024-05")
        shown = (await browser.get(f"/invoices/{number}")).text
        assert all(one in shown for one in orders)
        assert "2024-05" in shown
        assert (await browser.get("/invoices/apply?month=2024-05")).status == 404
        again = await browser.send(
            "/invoices/titles", "/invoices/apply", title=await with_title(browser), month="2024-05"
        )
        assert (again.status, again.mistake) == (409, "没有可开票的已支付订单。")


async def test_an_order_is_applied_for_once(console: ServedConsole) -> None:
    order_id = paid_order(console.database)
    async with console.browser(email_of("owner")) as browser:
        await applied(browser, order=order_id)
        title = await with_title(browser)
        again = await browser.send("/invoices/titles", "/invoices/apply", title=title, order=order_id)
        assert (again.status, again.mistake) == (409, "该订单已申请过发票。")
        other = paid_order(console.database)
        without = await browser.send("/invoices/titles", "/invoices/apply", order=other)
        assert (without.status, without.mistake) == (422, "请选择发票抬头。")


async def test_a_refusal_has_a_reason_that_the_owner_reads(console: ServedConsole) -> None:
    order_id = paid_order(console.database)
    async with (
        console.browser(email_of("owner")) as browser,
        console.browser(email_of("operator")) as operator,
    ):
        number = await applied(browser, order=order_id)
        page = f"/invoices/{number}"
        for reason in ("", "请致电 13800138000", "x" * 201):
            refused = await operator.send(page, f"{page}/refuse", reason=reason)
            assert refused.status == 422, reason
            assert refused.mistake.startswith("请填写 1 至 200 个字符的原因")
        await operator.send(page, f"{page}/refuse", reason="抬头 <b>有误</b>")
        shown = (await browser.get(page)).text
        assert "已驳回" in shown
        assert "抬头 &lt;b&gt;有误&lt;/b&gt;" in shown
        late = await operator.send("/account", f"{page}/issue")
        assert (late.status, late.mistake) == (409, "这张发票刚刚已被处理，请查看最新状态。")
        assert order_id in (await browser.get("/invoices")).text


async def test_an_invoice_of_a_refunded_order_says_that_it_is_to_be_voided(console: ServedConsole) -> None:
    order_id = paid_order(console.database)
    async with (
        console.browser(email_of("owner")) as browser,
        console.browser(email_of("operator")) as operator,
    ):
        number = await applied(browser, order=order_id)
        page = f"/invoices/{number}"
        await operator.send(page, f"{page}/issue")
        refund(console.database, order_id)
        assert "本发票待作废（红冲）" in (await browser.get(page)).text
        assert re.search(rf"{number}.*?待作废", (await browser.get("/invoices")).text, re.DOTALL)
        voided = await operator.send(page, f"{page}/void", reason="订单已退款")
        assert "已作废" in voided.text
        assert "本发票待作废" not in voided.text


async def test_an_application_with_a_refunded_order_is_not_issued(console: ServedConsole) -> None:
    order_id = paid_order(console.database)
    async with (
        console.browser(email_of("owner")) as browser,
        console.browser(email_of("operator")) as operator,
    ):
        number = await applied(browser, order=order_id)
        refund(console.database, order_id)
        refused = await operator.send(f"/invoices/{number}", f"/invoices/{number}/issue")
        assert (refused.status, refused.mistake) == (409, "有订单正在退款或已退款，不能开票。")


async def test_invoices_orders_and_titles_of_another_owner_are_not_there(console: ServedConsole) -> None:
    order_id = paid_order(console.database)
    console.add_member("operator", "b")
    async with (
        console.browser(email_of("owner")) as browser,
        console.browser(email_of("owner", "b")) as other,
    ):
        title = await with_title(browser)
        number = await applied(browser, order=order_id)
        mine = paid_order(console.database)
        assert (await other.get(f"/invoices/{number}")).status == 404
        assert (await other.get(f"/invoices/{number}/pdf")).status == 404
        assert (await other.get(f"/invoices/apply?order={mine}")).status == 404
        assert number not in (await other.get("/invoices")).text
        assert COMPANY not in (await other.get("/invoices/titles")).text
        taken = await other.send("/invoices/titles", "/invoices/apply", title=title, order=mine)
        assert (taken.status, taken.mistake) == (409, "没有这个订单、发票或抬头。")
        removed = await other.send("/invoices/titles", "/invoices/titles/remove", title=title)
        assert (removed.status, removed.mistake) == (409, "没有这个抬头。")
        async with console.browser(email_of("operator", "b")) as operator:
            for deed in ("issue", "refuse", "void"):
                tried = await operator.send("/account", f"/invoices/{number}/{deed}", reason="x")
                assert tried.status == 404, deed
        assert "待开票" in (await browser.get(f"/invoices/{number}")).text


@pytest.mark.parametrize(
    ("role", "applies", "decides"),
    [("owner", True, False), ("finance", True, False), ("viewer", False, False), ("operator", False, True)],
)
async def test_a_role_sees_and_does_what_it_may(
    console: ServedConsole, role: str, *, applies: bool, decides: bool
) -> None:
    order_id = paid_order(console.database)
    async with console.browser(email_of("owner")) as browser:
        number = await applied(browser, order=paid_order(console.database))
    async with console.browser(email_of(role)) as browser:
        listed, shown = await browser.get("/invoices"), await browser.get(f"/invoices/{number}")
        assert (f"/invoices/apply?order={order_id}" in listed.text) == applies
        assert ("确认开票" in shown.text) == decides
        assert (await browser.get(f"/invoices/apply?order={order_id}")).status == (200 if applies else 403)
        if not decides:
            for deed in ("issue", "refuse", "void"):
                tried = await browser.send("/account", f"/invoices/{number}/{deed}", reason="x")
                assert tried.status == 403


@pytest.mark.parametrize(
    ("fields", "mistake"),
    [
        ({"kind": "company", "name": COMPANY, "tax_number": CODE[:-1] + "H"}, "税号的校验码（最后一位）不符"),
        ({"kind": "company", "name": COMPANY, "tax_number": ""}, "企业抬头需填写税号"),
        ({"kind": "personal", "name": "张三 13800138000", "tax_number": ""}, "发票抬头不能含手机号"),
        ({"kind": "personal", "name": "张三", "tax_number": CODE}, "个人抬头无需填写税号"),
        ({"kind": "", "name": "张三", "tax_number": ""}, "请选择抬头类型"),
    ],
    ids=["check character", "no number", "phone number", "number of a person", "no kind"],
)
async def test_the_server_says_what_is_wrong_with_a_title_and_keeps_what_was_typed(
    console: ServedConsole, fields: dict[str, str], mistake: str
) -> None:
    async with console.browser(email_of("owner")) as browser:
        seen = await browser.send("/invoices/titles", "/invoices/titles", **fields)
        assert seen.status == 422
        assert seen.mistake.startswith(mistake)
        assert f'value="{fields["name"]}"' in seen.text


async def test_saving_a_title_leads_back_to_the_application_and_nowhere_else(console: ServedConsole) -> None:
    async with console.browser(email_of("owner")) as browser:
        fields = {"kind": "personal", "name": "张三", "tax_number": ""}
        order_id = paid_order(console.database)
        wanted = f"/invoices/apply?order={order_id}"
        assert (
            await browser.send("/invoices/titles", "/invoices/titles", next=wanted, **fields)
        ).path == wanted
        other = "https://evil.example/"
        seen = await browser.send("/invoices/titles", "/invoices/titles", next=other, **fields)
        assert seen.path == "/invoices/titles"
        shown = (await browser.get(f"/invoices/titles?next={other}")).text
        assert f'href="{other}' not in shown
        assert f'name="next" value="{other}' not in shown


async def test_months_are_those_of_shanghai_and_the_newest_comes_first() -> None:
    def order(paid: str, amount: int) -> InvoicedOrder:
        return InvoicedOrder("DD1", APPS[0], "quick", 250, 90, amount, parse_time(paid))

    orders = [
        order("2023-08-31T23:59:59+08:00", 10_000),
        order("2023-08-31T16:00:00Z", 20_000),
        order("2023-08-01T00:00:00+08:00", 30_000),
    ]
    assert months_of(orders) == [("2023-09", 1, 20_000), ("2023-08", 2, 40_000)]
