"""Languages: texts from gettext catalogs, and numbers, money and times as people of each language write them.

The texts in the code are English; `texts/zh.po` has them in Chinese.
"""

import io
from collections.abc import Mapping
from decimal import Decimal
from functools import cached_property
from importlib.resources import files
from typing import Final, Literal

from babel.dates import format_date, format_datetime
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po
from babel.numbers import format_compact_decimal, format_currency, format_decimal, format_percent
from babel.support import NullTranslations, Translations

from metering.money import MICRO_YUAN
from metering.times import SHANGHAI, from_ms

Language = Literal["zh", "en"]

LANGUAGES: Final[Mapping[Language, str]] = {"zh": "中文", "en": "English"}
"""By code, the name of each language in itself; the first is the usual one."""

LOCALES: Final[Mapping[Language, str]] = {"zh": "zh_Hans_CN", "en": "en"}
TAGS: Final[Mapping[Language, str]] = {"zh": "zh-CN", "en": "en"}
"""By code, the tag for `lang` of a page."""


def marked(text: str) -> str:
    """The same text; it is marked for the catalogs, and translated where it is shown."""
    return text


def chosen_language(cookie: str, accepted: str) -> Language:
    """The language of a browser: what was chosen, else English if it asks for that first, else Chinese."""
    if cookie in LANGUAGES:
        return "en" if cookie == "en" else "zh"
    return "en" if accepted.strip().lower().startswith("en") else "zh"


class Wording:
    """The texts and formats of one language."""

    def __init__(self, language: Language) -> None:
        self.language = language
        self._locale = LOCALES[language]

    @cached_property
    def translations(self) -> NullTranslations:
        """The catalog."""
        if self.language == "en":
            return NullTranslations()
        source = files("dashboards.console") / "texts" / f"{self.language}.po"
        compiled = io.BytesIO()
        write_mo(compiled, read_po(io.BytesIO(source.read_bytes()), locale=self.language))
        compiled.seek(0)
        return Translations(compiled)

    def text(self, text: str, **values: object) -> str:
        """A text in this language, with its values put in."""
        found = self.translations.gettext(text)
        return found % values if values else found

    def number(self, value: int) -> str:
        """A whole number."""
        return format_decimal(value, locale=self._locale)

    def compact(self, value: int) -> str:
        """A large number in short: 1.2万, 12K."""
        return format_compact_decimal(value, locale=self._locale, fraction_digits=1)

    def money(self, micro_yuan: int, places: int = 2) -> str:
        """An amount; unit prices have more places than two."""
        shown = f"¤#,##0.{'0' * places};-¤#,##0.{'0' * places}"
        amount = Decimal(micro_yuan) / MICRO_YUAN
        return format_currency(amount, "CNY", shown, locale="zh_Hans_CN", currency_digits=False)

    def percent(self, share: float) -> str:
        """A share of one."""
        return format_percent(share, locale=self._locale)

    def day(self, time_ms: int) -> str:
        """The Shanghai day of a time."""
        return format_date(from_ms(time_ms).astimezone(SHANGHAI).date(), "medium", locale=self._locale)

    def minute(self, time_ms: int) -> str:
        """A time in Shanghai, to the minute."""
        shown = "y年M月d日 HH:mm" if self.language == "zh" else "MMM d, y, HH:mm"
        return format_datetime(from_ms(time_ms).astimezone(SHANGHAI), shown, locale=self._locale)


WORDINGS: Final[Mapping[Language, Wording]] = {language: Wording(language) for language in LANGUAGES}
