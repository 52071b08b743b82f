"""The form of a charge notice: its fields checked, and made the fact that asks for it."""

import re
from collections.abc import Mapping
from datetime import datetime
from typing import Final, Literal, NamedTuple

from dashboards.console.facts import ConsoleFact
from dashboards.console.languages import marked
from metering.charge_notices import NOTICE_PRICES, NoticeTerms
from metering.events import Capability
from metering.money import MICRO_YUAN, yuan_text
from metering.times import EARLIEST_MS, HOUR_MS, LATEST_MS, SHANGHAI, format_time, from_ms, to_ms

UNIT_PRICE_PATTERN: Final = "[0-9]{1,4}([.][0-9]{1,6})?"
"""As the browser checks it too: a micro-yuan is the sixth place."""

PREVIEW_MS: Final = HOUR_MS
"""Time in which what was previewed can be sent; it is the time of the notice."""

NoticeField = Literal["price_min", "price_max", "charged_from"]

NOTICE_MISTAKES: Final[Mapping[NoticeField, str]] = {
    "price_min": marked("The least price is in yuan, such as 0.026, with six decimal places at most."),
    "price_max": marked("The highest price is in yuan, such as 0.03, and not below the least."),
    "charged_from": marked("The start of charging is a Shanghai time from 2017 to 2049."),
}

_UNIT_PRICE: Final = re.compile(UNIT_PRICE_PATTERN)
_PLACES: Final = 6
_MINUTE: Final = "%Y-%m-%dT%H:%M"


class NoticePrices(NamedTuple):
    """The fields of a notice that a person decides, as they were typed in."""

    price_min_micro_yuan: int
    price_max_micro_yuan: int
    charged_from_ms: int

    def terms(self, bound: int, name: str) -> NoticeTerms:
        """The contents of the notice of an app by that name, whose average use has that bound."""
        return NoticeTerms(
            bound, self.price_min_micro_yuan, self.price_max_micro_yuan, self.charged_from_ms, name
        )


def usual_fields(capability: Capability, charged_from_ms: int) -> dict[NoticeField, str]:
    """The fields as they are before anybody changes them."""
    least, most = NOTICE_PRICES[capability]
    begins = f"{from_ms(charged_from_ms).astimezone(SHANGHAI):{_MINUTE}}"
    return {"price_min": yuan_text(least), "price_max": yuan_text(most), "charged_from": begins}


def read_prices(fields: Mapping[NoticeField, str]) -> NoticePrices | NoticeField:
    """The meaning of the fields, or the first that is wrong."""
    least, most = _micro_yuan(fields["price_min"]), _micro_yuan(fields["price_max"])
    charged_from_ms = _moment_ms(fields["charged_from"])
    if least is None:
        return "price_min"
    if most is None or most < least:
        return "price_max"
    if charged_from_ms is None:
        return "charged_from"
    return NoticePrices(least, most, charged_from_ms)


def is_current(previewed_at_ms: str, now_ms: int) -> bool:
    """Return whether a time that a form carries is one of a preview that can still be sent."""
    return (
        previewed_at_ms.isascii()
        and previewed_at_ms.isdigit()
        and (now_ms - PREVIEW_MS <= int(previewed_at_ms[:20]) <= now_ms)
    )


def notice_fact(appid: str, capability: Capability, terms: NoticeTerms, previewed_at_ms: int) -> ConsoleFact:
    """The fact that asks for a notice: the same however often the form of one preview is sent."""
    data = {
        "capability": capability,
        "monthly_calls_max": terms.monthly_calls_max,
        "price_min_micro_yuan": terms.price_min_micro_yuan,
        "price_max_micro_yuan": terms.price_max_micro_yuan,
        "charged_from": format_time(terms.charged_from_ms),
    }
    named = {"name": terms.name} if terms.name else {}
    return ConsoleFact("account.charge_notice_requested", appid, {**data, **named}, previewed_at_ms)


def _micro_yuan(text: str) -> int | None:
    if not _UNIT_PRICE.fullmatch(text):
        return None
    yuan, _, rest = text.partition(".")
    return int(yuan) * MICRO_YUAN + int(rest.ljust(_PLACES, "0"))


def _moment_ms(text: str) -> int | None:
    """The time of a field `datetime-local`, which is a Shanghai time."""
    try:
        moment = datetime.strptime(text, _MINUTE)  # noqa: DTZ007 - its zone is given next
    except ValueError:
        return None
    time_ms = to_ms(moment.replace(tzinfo=SHANGHAI))
    return time_ms if EARLIEST_MS <= time_ms < LATEST_MS else None
