"""The operator's file of packs on sale, beside the published ones."""

from pathlib import Path

import pytest

from metering.catalogue import DEFAULT, Offer
from phonemeter.business.price_list import price_list
from phonemeter.errors import UserError

REALTIME = """
[[offers]]
capability = "realtime"
calls = 1000
validity_days = 180
price_micro_yuan = 40_000_000
"""


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "prices.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_packs_of_the_file_are_on_sale_beside_the_published_ones_or_in_their_place(tmp_path: Path) -> None:
    cheaper = REALTIME.replace("realtime", "quick").replace("180", "365").replace("40_", "28_")
    found = price_list(written(tmp_path, f"{REALTIME}{cheaper}list_price_micro_yuan = 30_000_000\n"))
    assert len(found) == len(DEFAULT) + 1
    assert found[-1] == Offer("realtime", 1_000, 180, 40_000_000, 40_000_000)
    (quick,) = (one for one in found if (one.calls, one.capability) == (1_000, "quick"))
    assert (quick.price_micro_yuan, quick.list_price_micro_yuan) == (28_000_000, 30_000_000)
    assert price_list(None) == DEFAULT


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("[[offers", "is not valid TOML"),
        ("[prices]", "prices is none of offers"),
        ("[offers]", "offers are at most 100 tables"),
        (REALTIME.replace("realtime", "slow"), r"offers\[0\].capability: invalid enum value"),
        (REALTIME.replace("180", "30"), r"offers\[0\].validity_days"),
        (REALTIME.replace("40_000_000", "40.0"), r"offers\[0\].price_micro_yuan"),
        (f"{REALTIME}list_price_micro_yuan = 1", "the list price is below the price"),
        (REALTIME.replace("calls", "call"), "did you mean calls"),
    ],
)
def test_a_mistake_is_one_sentence_with_its_place(tmp_path: Path, text: str, sentence: str) -> None:
    with pytest.raises(UserError, match=sentence):
        price_list(written(tmp_path, text))


def test_a_file_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="PHONEMETER_CONSOLE_PRICE_LIST"):
        price_list(tmp_path / "none.toml")
