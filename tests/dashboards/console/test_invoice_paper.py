"""The PDF of an invoice, read by the library that Chrome shows PDF files with."""

from collections.abc import Sequence

import pypdfium2
import pytest
from fontTools.ttLib import TTFont
from pylopdf_fonts_zh_cn import sans_path

from dashboards.console.invoice_paper import invoice_paper
from dashboards.console.invoice_titles import TitleText
from dashboards.console.invoices import Invoice, InvoicedOrder, InvoiceState, InvoiceStep
from dashboards.console.languages import WORDINGS

COMPANY = "深圳市腾讯计算机系统有限公司"
AT_MS = 1_693_065_600_000


def order(number: int, amount_micro_yuan: int = 7_500_000, *, is_refunded: bool = False) -> InvoicedOrder:
    order_id = f"DD{10**18 + number}"
    return InvoicedOrder(
        order_id, "wx8ff4154a2448e576", "quick", 250, 90, amount_micro_yuan, AT_MS, is_refunded
    )


def invoice(orders: Sequence[InvoicedOrder], state: InvoiceState = "issued", name: str = COMPANY) -> Invoice:
    decided = None if state == "applied" else InvoiceStep(AT_MS + 60_000, "op@a.example", "抬头有误")
    return Invoice(
        invoice_id="FP2023082712345678",
        owner_id="0" * 16,
        title=TitleText("company", name, "9144030071526726XG"),
        month="2023-08",
        amount_micro_yuan=sum(one.amount_micro_yuan for one in orders),
        state=state,
        applied=InvoiceStep(AT_MS, "owner@a.example"),
        decided=decided,
        voided=InvoiceStep(AT_MS + 120_000, "op@a.example", "订单已退款") if state == "voided" else None,
        orders=tuple(orders),
    )


def pages(content: bytes) -> list[str]:
    document = pypdfium2.PdfDocument(content)
    try:
        return [page.get_textpage().get_text_bounded() for page in document]
    finally:
        document.close()


def test_the_paper_says_what_it_is_for_whom_for_which_orders_and_how_much() -> None:
    (text,) = pages(invoice_paper(invoice([order(1), order(2, 28_000_000_000)]), WORDINGS["zh"]))
    for part in (
        "发票回执",
        "不是税务局的电子发票",
        COMPANY,
        "9144030071526726XG",
        "FP2023082712345678",
        "2023-08",
        "¥28,007.50",
        "贰万捌仟零柒元伍角整",
        "DD1000000000000000001",
        "DD1000000000000000002",
        "¥7.50",
        "¥28,000.00",
        "wx8ff4154a2448e576",
        "2023年8月27日",
    ):
        assert part in text, text


def test_the_paper_is_in_the_language_of_its_reader() -> None:
    (text,) = pages(invoice_paper(invoice([order(1)], "applied"), WORDINGS["en"]))
    assert "Application for an invoice" in text
    assert "It is not the electronic invoice" in text
    assert "柒元伍角整" in text
    assert COMPANY in text


@pytest.mark.parametrize(
    ("state", "heading", "reason"),
    [("refused", "已驳回", "抬头有误"), ("voided", "已作废", "订单已退款"), ("issued", "待作废", "")],
)
def test_the_paper_of_an_invoice_that_does_not_hold_says_so(
    state: InvoiceState, heading: str, reason: str
) -> None:
    (text,) = pages(invoice_paper(invoice([order(1, is_refunded=True)], state), WORDINGS["zh"]))
    assert heading in text
    assert reason in text
    assert "已退款" in text


def test_the_same_invoice_gives_the_same_file() -> None:
    one = invoice([order(1)])
    assert invoice_paper(one, WORDINGS["zh"]) == invoice_paper(one, WORDINGS["zh"])


def test_many_orders_go_on_on_further_pages_under_the_same_heads() -> None:
    many = [order(number) for number in range(60)]
    shown = pages(invoice_paper(invoice(many), WORDINGS["zh"]))
    assert len(shown) > 1
    assert all("订单号" in page for page in shown if "DD" in page)
    assert all(one.order_id in "".join(shown) for one in many)


def test_a_long_name_is_broken_and_whole() -> None:
    name = "北京䶮科技（集团）有限公司" * 7
    (text,) = pages(invoice_paper(invoice([order(1)], name=name), WORDINGS["zh"]))
    assert name in "".join(text.split())


def test_the_font_has_the_characters_of_chinese_names_and_amounts() -> None:
    with TTFont(sans_path()) as font:
        known = font.getBestCmap()
    common = [
        bytes((row, cell)).decode("gb2312")
        for row in range(0xB0, 0xF8)
        for cell in range(0xA1, 0xFF)
        if (row, cell) < (0xD7, 0xFA) or row > 0xD7
    ]
    assert len(common) == 6_763
    # Of the list of characters for general use, those that no older set has.
    rare = "䶮鿍𬭎𫖮𬱖𬬭𬭊𬭳"
    assert {one for one in [*common, *rare, *"¥·（）【】《》“”—&"] if ord(one) not in known} == set()
