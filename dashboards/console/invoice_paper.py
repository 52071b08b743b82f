"""Invoices as PDF files, in Chinese or English, with a Chinese font in them."""

import io
import threading
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Final

from dashboards.console.chinese_amount import chinese_amount
from dashboards.console.invoice_titles import TITLE_KINDS
from dashboards.console.invoices import INVOICE_STATES, Invoice, InvoiceState
from dashboards.console.languages import TAGS, Wording, marked
from dashboards.console.overview_rows import CAPABILITY_NAMES
from metering.times import from_ms

if TYPE_CHECKING:
    from fpdf import FPDF

HEADINGS: Final[Mapping[InvoiceState, str]] = {
    "applied": marked("Application for an invoice"),
    "issued": marked("Receipt of an invoice"),
    "refused": marked("Application for an invoice, turned down"),
    "voided": marked("Receipt of an invoice, voided"),
}
NOT_FISCAL: Final = marked(
    "This paper shows what was paid and that an invoice was applied for. It is not the electronic invoice "
    "of the tax bureau and can't be used for tax deduction. The tax bureau's invoice comes apart from it."
)
REFUNDED: Final = marked("refunded")
TO_BE_VOIDED: Final = marked("An order on it was refunded: this invoice is to be voided.")

_FAMILY: Final = "Noto Sans SC"
_MARGIN_MM: Final = 20
_LINE_MM: Final = 8
_NAMES_MM: Final = 42
_TABLE_MM: Final = (44, 44, 28, 24, 30)
_RED: Final = (180, 30, 30)
_GREY: Final = (90, 90, 90)

_one_at_a_time: Final = threading.Lock()


def invoice_paper(invoice: Invoice, wording: Wording) -> bytes:
    """The PDF of an invoice, the same each time. Blocking: the font's characters take half a second.

    One is made at a time, so that many requests at once do not take the machine.
    """
    with _one_at_a_time:
        paper = _blank(wording)
        paper.set_title(f"{wording.text(HEADINGS[invoice.state])} {invoice.invoice_id}")
        paper.set_creation_date(from_ms(_last_change_ms(invoice)))
        _heading(paper, invoice, wording)
        _pairs(paper, invoice, wording)
        _orders(paper, invoice, wording)
        _foot(paper, wording)
        content = io.BytesIO()
        paper.output(content)
        return content.getvalue()


def _blank(wording: Wording) -> "FPDF":
    # Both take seconds to import, which few visits need.
    from fpdf import FPDF  # noqa: PLC0415 - as said above
    from pylopdf_fonts_zh_cn import sans_path  # noqa: PLC0415 - as said above

    paper = FPDF(format="A4")
    paper.set_margins(_MARGIN_MM, _MARGIN_MM)
    paper.set_auto_page_break(auto=True, margin=_MARGIN_MM)
    paper.add_font(_FAMILY, fname=sans_path())
    paper.set_lang(TAGS[wording.language])
    paper.set_producer("phonemeter")
    paper.add_page()
    return paper


def _last_change_ms(invoice: Invoice) -> int:
    return max(one.at_ms for one in (invoice.applied, invoice.decided, invoice.voided) if one is not None)


def _heading(paper: "FPDF", invoice: Invoice, wording: Wording) -> None:
    paper.set_font(_FAMILY, size=20)
    paper.multi_cell(0, 12, wording.text(HEADINGS[invoice.state]), align="C", new_x="LMARGIN", new_y="NEXT")
    paper.set_font(_FAMILY, size=10)
    _note(paper, wording.text(NOT_FISCAL), _GREY)
    if invoice.must_be_voided:
        _note(paper, wording.text(TO_BE_VOIDED), _RED)
    ended = invoice.voided or (invoice.decided if invoice.state == "refused" else None)
    if ended is not None:
        told = wording.text(
            marked("On %(when)s: %(reason)s"), when=wording.minute(ended.at_ms), reason=ended.reason
        )
        _note(paper, told, _RED)
    paper.ln(4)


def _note(paper: "FPDF", text: str, colour: tuple[int, int, int]) -> None:
    paper.set_text_color(*colour)
    paper.multi_cell(0, 6, text, align="L", new_x="LMARGIN", new_y="NEXT")
    paper.set_text_color(0)


def _pairs(paper: "FPDF", invoice: Invoice, wording: Wording) -> None:
    title, amount = invoice.title, invoice.amount_micro_yuan
    pairs = (
        (marked("Invoice number"), invoice.invoice_id),
        (marked("State"), wording.text(INVOICE_STATES[invoice.state])),
        (marked("Kind of title"), wording.text(TITLE_KINDS[title.kind])),
        (marked("Invoice title"), title.name),
        (marked("Tax number"), title.tax_number),
        (marked("Month"), invoice.month),
        (marked("Amount"), wording.money(amount)),
        (marked("Amount in capitals"), chinese_amount(amount)),
        (marked("Applied on"), wording.minute(invoice.applied.at_ms)),
        (
            marked("Issued on"),
            ""
            if invoice.decided is None or invoice.state == "refused"
            else wording.minute(invoice.decided.at_ms),
        ),
    )
    paper.set_font(_FAMILY, size=11)
    for name, value in pairs:
        if value:
            paper.set_text_color(*_GREY)
            paper.cell(_NAMES_MM, _LINE_MM, wording.text(name))
            paper.set_text_color(0)
            paper.multi_cell(0, _LINE_MM, value, align="L", new_x="LMARGIN", new_y="NEXT")
    paper.ln(4)


def _orders(paper: "FPDF", invoice: Invoice, wording: Wording) -> None:
    heads = (marked("Order number"), marked("App"), marked("Paid on"), marked("Calls"), marked("Amount"))
    paper.set_font(_FAMILY, size=9)
    rows = [
        (
            f"{one.order_id}{f' ({wording.text(REFUNDED)})' if one.is_refunded else ''}",
            f"{one.appid}\n{wording.text(CAPABILITY_NAMES[one.capability])}",
            wording.day(one.paid_at_ms),
            wording.number(one.calls),
            wording.money(one.amount_micro_yuan),
        )
        for one in invoice.orders
    ]
    _table(paper, [[wording.text(head) for head in heads], *rows])


def _table(paper: "FPDF", rows: Sequence[Sequence[str]]) -> None:
    """A table that goes on on the next page, under the same heads."""
    from fpdf.fonts import FontFace  # noqa: PLC0415 - see _blank

    alignment = ("LEFT", "LEFT", "LEFT", "RIGHT", "RIGHT")
    with paper.table(
        col_widths=_TABLE_MM,
        line_height=6,
        text_align=alignment,
        borders_layout="HORIZONTAL_LINES",
        headings_style=FontFace(fill_color=(235, 235, 235)),
    ) as table:
        for row in rows:
            table.row(row)


def _foot(paper: "FPDF", wording: Wording) -> None:
    paper.ln(4)
    paper.set_font(_FAMILY, size=9)
    _note(paper, wording.text(marked("All times are those of Asia/Shanghai.")), _GREY)
