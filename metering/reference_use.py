"""Reference data on the use of a capability: its recent average, bounded as the platform does (rule 21).

The platform tells owners no exact average but a bound of it: 50 stands for at most 50 calls a month, then
100, 500, 1,000 and so on.
"""

from collections.abc import Mapping
from datetime import date, timedelta
from typing import Final

from msgspec import Struct

from metering.routing_sentences import SentenceLanguage
from metering.times import DAY_MS, SHANGHAI_OFFSET_MS, shanghai_date

BOUND_MIN: Final = 50
"""The smallest bound, also of no use at all."""

REFERENCE_MONTHS: Final = 3
"""Calendar months that the average is taken over."""

_TEN_THOUSAND: Final = 10_000
_EPOCH: Final = date(1970, 1, 1)


class ReferencePeriod(Struct, frozen=True):
    """The time from `begins_ms` to before `ends_ms`, whose calls are divided by so many months."""

    begins_ms: int
    ends_ms: int
    months: int


def reference_period(now_ms: int, first_use_ms: int | None) -> ReferencePeriod:
    """The complete Shanghai months, three at most, that end before the month of now.

    Months before that of the first use are left out. Where none is left, the month of now stands for one, as
    far as it has gone, so that an app that is new has an average as well.
    """
    this_month = shanghai_date(now_ms).replace(day=1)
    first_month = this_month if first_use_ms is None else shanghai_date(first_use_ms).replace(day=1)
    begins, months = this_month, 0
    while months < REFERENCE_MONTHS and begins > first_month:
        begins, months = (begins - timedelta(days=1)).replace(day=1), months + 1
    if months == 0:
        return ReferencePeriod(_midnight_ms(this_month), now_ms, 1)
    return ReferencePeriod(_midnight_ms(begins), _midnight_ms(this_month), months)


def bound_of_average(calls: int, months: int) -> int:
    """The smallest of 50, 100, 500, 1,000, ... that an average of so many calls a month does not exceed.

    It compares products, not quotients: the average is not rounded.
    """
    bound = BOUND_MIN
    while calls > bound * months:
        bound *= 2 if str(bound).startswith("5") else 5
    return bound


def calls_in_words(calls: int, language: SentenceLanguage) -> str:
    """A number of calls as the language writes it: `10,000`, or `1万` as on the platform's pages."""
    if language == "zh" and calls >= _TEN_THOUSAND and calls % _TEN_THOUSAND == 0:
        return f"{calls // _TEN_THOUSAND:,}万"
    return f"{calls:,}"


_NOTICED: Final[Mapping[SentenceLanguage, str]] = {
    "en": "at most about {bound} calls a month on average",
    "zh": "平均每月使用约在{bound}次以内",
}
_REFERENCE: Final[Mapping[SentenceLanguage, str]] = {
    "en": "Your mini-program has recently used at most {bound} calls a month on average.",
    "zh": "你的小程序最近平均用量少于{bound}次/月",
}


def use_in_notice(bound: int, language: SentenceLanguage = "en") -> str:
    """The words of a charge notice (能力收费通知) for an average of at most `bound` calls a month."""
    return _NOTICED[language].format(bound=calls_in_words(bound, language))


def use_for_reference(bound: int, language: SentenceLanguage = "en") -> str:
    """The sentence of the reference data (参考数据) beside a choice of packs, of the same bound."""
    return _REFERENCE[language].format(bound=calls_in_words(bound, language))


def _midnight_ms(day: date) -> int:
    return (day - _EPOCH).days * DAY_MS - SHANGHAI_OFFSET_MS
