"""WeChat's answers: read leniently, and whatever else comes is none of them."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from producers.wechat.answers import QuotaRow, TokenAnswer, UsageAnswer, decode_answer

# The example of WeChat's documentation, and the row of a trial quota.
DOCUMENTED = """
{"errcode":0,"all":"10","effectiveAll":"10","effectiveUse":"0","startServiceTime":1669129510,
"endServiceTime":1709450190,"total":2,"detailList":[{"pkgId":"ZY2823973277692477440","startTime":1677914190,
"endTime":1709450190,"used":"0","all":"4","status":1,"spuId":"10000057","skuId":"20000059"},
{"pkgId":"","startTime":1692979200,"endTime":4294967295,"used":"17","all":"1000","status":1,"source":1}]}
"""


def test_the_documented_answer_is_read() -> None:
    found = decode_answer(DOCUMENTED.encode(), UsageAnswer)
    assert found is not None
    assert (found.errcode, found.total) == (0, 2)
    assert found.detail_list == [
        QuotaRow(
            pkg_id="ZY2823973277692477440",
            start_time=1_677_914_190,
            end_time=1_709_450_190,
            size=4,
            status=1,
        ),
        QuotaRow(pkg_id="", start_time=1_692_979_200, end_time=4_294_967_295, used=17, size=1_000, status=1),
    ]


@pytest.mark.parametrize("count", ['"7"', "7"])
def test_counts_may_be_texts_or_numbers(count: str) -> None:
    found = decode_answer(f'{{"total":{count},"detailList":[{{"used":{count}}}]}}'.encode(), UsageAnswer)
    assert found is not None
    assert found.detail_list is not None
    assert (found.total, found.detail_list[0].used) == (7, 7)


def test_a_list_may_be_missing_or_null() -> None:
    for body in (b'{"errcode":0,"total":0}', b'{"total":"0","detailList":null}'):
        found = decode_answer(body, UsageAnswer)
        assert found is not None
        assert found.detail_list is None


@given(
    st.binary()
    | st.recursive(st.none() | st.integers() | st.text(), st.lists).map(json.dumps).map(str.encode)
)
def test_whatever_is_answered_is_an_answer_or_none(body: bytes) -> None:
    for kind in (UsageAnswer, TokenAnswer):
        found = decode_answer(body, kind)
        assert found is None or isinstance(found, kind)
