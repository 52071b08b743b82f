"""The texts of the console: each is translated, and no translation is left over."""

import re

import pytest

from dashboards.console.languages import LANGUAGES, WORDINGS, chosen_language
from tests.dashboards.console.catalog import texts_of_catalog, texts_of_code


def test_each_text_is_translated_and_no_translation_is_left_over() -> None:
    code, catalog = texts_of_code(), texts_of_catalog("zh")
    assert len(code) > 100
    assert sorted(code - catalog.keys()) == []
    assert sorted(catalog.keys() - code) == []


def test_a_translation_is_chinese_and_has_the_values_of_its_text() -> None:
    value = re.compile(r"%\(\w+\)s")
    for text, translation in texts_of_catalog("zh").items():
        assert re.search(r"[\u3001-\u9fff]", translation), text
        assert sorted(value.findall(text)) == sorted(value.findall(translation)), text


def test_the_catalog_is_in_the_order_of_its_texts() -> None:
    texts = list(texts_of_catalog("zh"))
    assert texts == sorted(texts)


@pytest.mark.parametrize(
    ("cookie", "accepted", "language"),
    [
        ("", "", "zh"),
        ("", "zh-CN,zh;q=0.9,en;q=0.8", "zh"),
        ("", "en-GB,en;q=0.9", "en"),
        ("", "de-DE,en;q=0.9", "zh"),
        ("en", "zh-CN", "en"),
        ("zh", "en", "zh"),
        ("fr", "", "zh"),
    ],
)
def test_chinese_comes_first_unless_english_is_chosen_or_asked_for(
    cookie: str, accepted: str, language: str
) -> None:
    assert chosen_language(cookie, accepted) == language


def test_numbers_money_and_times_are_written_as_each_language_writes_them() -> None:
    zh, en = WORDINGS["zh"], WORDINGS["en"]
    assert set(LANGUAGES) == {"zh", "en"}
    assert (zh.number(1_234_567), en.number(1_234_567)) == ("1,234,567", "1,234,567")
    assert (zh.compact(12_345), en.compact(12_345)) == ("1.2万", "12.3K")
    assert zh.money(7_500_000) == en.money(7_500_000) == "¥7.50"
    assert zh.money(28_000_000_000) == "¥28,000.00"
    assert zh.money(30_000, 3) == "¥0.030"
    assert zh.money(-30_000) == "-¥0.03"
    at_ms = 1_693_065_600_000
    assert (zh.day(at_ms), en.day(at_ms)) == ("2023年8月27日", "Aug 27, 2023")
    assert zh.minute(at_ms) == "2023年8月27日 00:00"
    assert en.minute(at_ms) == "Aug 27, 2023, 00:00"
