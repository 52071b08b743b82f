"""QR codes: a reader that is not ours reads from the picture what was drawn, and pages may show it."""

import re

import numpy as np
import pytest
import zxingcpp

from dashboards.console.qr_code import MODULE_PX, qr_code

CODE_URL = "weixin://wxpay/bizpayurl?pr=p4lpSuKzz"


def pixels(svg: str) -> np.ndarray[tuple[int, int], np.dtype[np.uint8]]:
    """The picture as a browser paints it: strokes of one module, from left to right."""
    view = re.search(r'viewBox="0 0 (\d+) \d+"', svg)
    strokes = re.search(r'stroke="#000" d="([^"]+)"', svg)
    assert view is not None
    assert strokes is not None
    picture = np.full((int(view[1]) // MODULE_PX,) * 2, 255, np.uint8)
    column, row = 0, 0
    for command, x, y in re.findall(r"([Mmh])(-?\d+)(?: (-?[\d.]+))?", strokes[1]):
        if command == "h":
            picture[row, column : column + int(x)] = 0
            column += int(x)
        elif command == "M":
            column, row = int(x), int(float(y) - 0.5)
        else:
            column, row = column + int(x), row + int(float(y))
    return picture.repeat(MODULE_PX, 0).repeat(MODULE_PX, 1)


@pytest.mark.parametrize("text", [CODE_URL, "x", "微信支付", "a" * 512])
def test_a_reader_reads_what_was_drawn(text: str) -> None:
    found = zxingcpp.read_barcodes(pixels(qr_code(text, "code")))
    assert [one.text for one in found] == [text]


def test_it_has_a_name_and_nothing_that_a_page_may_not_have() -> None:
    svg = qr_code(CODE_URL, 'Scan with "WeChat" <b>')
    assert 'role="img" aria-label="Scan with &#34;WeChat&#34; &lt;b&gt;"' in svg
    assert svg.count("<") == svg.count(">")
    for refused in ("style", "script", "href", "<b>", "<?xml", "weixin"):
        assert refused not in svg


@pytest.mark.parametrize("text", ["", "a" * 513])
def test_no_text_and_too_long_a_text_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="1 to 512 characters"):
        qr_code(text, "code")
