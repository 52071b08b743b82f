"""The form by which a pack that was bought at WeChat itself is recorded: checked, and made a fact."""

import hashlib
import re
from collections.abc import Mapping
from datetime import datetime
from typing import Final, Literal, NamedTuple

from dashboards.console.facts import ConsoleFact
from dashboards.console.languages import marked
from metering.catalogue import Offer
from metering.events import Capability
from metering.money import MICRO_YUAN
from metering.personal_identifiers import find_identifier
from metering.times import EARLIEST_MS, SHANGHAI, format_time, to_ms

CALLS_MAX: Final = 1_000_000_000
VALIDITIES: Final = (365, 180, 90)
"""Days of validity that the platform sells."""

PACK_ID_CHARACTERS_MAX: Final = 128
ID_DIGITS: Final = 24

PRICE_PATTERN: Final = "[0-9]{1,9}([.][0-9]{1,2})?"
"""As the browser checks it too."""

_PRICE: Final = re.compile(PRICE_PATTERN)
_CALLS: Final = re.compile("[0-9]{1,10}")
_LETTERS: Final = str.maketrans("0123456789", "ghijklmnop")
_FEN: Final = MICRO_YUAN // 100

FieldName = Literal["pack_id", "calls", "validity_days", "price", "paid_at"]

MISTAKES: Final[Mapping[FieldName, str]] = {
    "pack_id": marked("The pack's id has at most 128 printable characters, and no phone number or openid."),
    "calls": marked("The number of calls is whole, from 1 to 1,000,000,000."),
    "validity_days": marked("Choose a validity."),
    "price": marked("The price is in yuan, such as 7.5 or 28000, with two decimal places at most."),
    "paid_at": marked("The time of the payment is a Shanghai time from 2017 on that has passed."),
}


class PackPurchase(NamedTuple):
    """A pack that was bought at WeChat itself, as somebody typed it in."""

    pack_id: str
    offer: Offer
    paid_at_ms: int

    def fact(self, appid: str) -> ConsoleFact:
        """The fact that records it."""
        data = {
            "pack_id": self.pack_id,
            "capability": self.offer.capability,
            "calls": self.offer.calls,
            "validity_days": self.offer.validity_days,
            "price_micro_yuan": self.offer.price_micro_yuan,
            "paid_at": format_time(self.paid_at_ms),
        }
        return ConsoleFact("pack.purchased", appid, data, self.paid_at_ms)


def read_purchase(
    appid: str, capability: Capability, fields: Mapping[FieldName, str], now_ms: int
) -> PackPurchase | FieldName:
    """The purchase that was typed in, or the first field that is wrong."""
    pack_id = fields["pack_id"] if _is_id(fields["pack_id"]) else None
    calls = _calls(fields["calls"])
    days = next((days for days in VALIDITIES if str(days) == fields["validity_days"]), None)
    price = _micro_yuan(fields["price"])
    paid_at_ms = _past_ms(fields["paid_at"], now_ms)
    if pack_id is None or calls is None or days is None or price is None or paid_at_ms is None:
        read: dict[FieldName, str | int | None] = {
            "calls": calls,
            "validity_days": days,
            "price": price,
            "paid_at": paid_at_ms,
            "pack_id": pack_id,
        }
        return next(name for name, value in read.items() if value is None)
    offer = Offer(capability, calls, days, price, price)
    return PackPurchase(pack_id or _own_id(appid, offer, paid_at_ms), offer, paid_at_ms)


def _is_id(text: str) -> bool:
    """Return whether a text can be the id of a pack, or is empty."""
    fits = len(text) <= PACK_ID_CHARACTERS_MAX and all(one.isprintable() for one in text)
    return fits and find_identifier(text) is None


def _calls(text: str) -> int | None:
    calls = int(text) if _CALLS.fullmatch(text) else 0
    return calls if 0 < calls <= CALLS_MAX else None


def _micro_yuan(text: str) -> int | None:
    if not _PRICE.fullmatch(text):
        return None
    yuan, _, fen = text.partition(".")
    return int(yuan) * MICRO_YUAN + int(fen.ljust(2, "0")) * _FEN


def _past_ms(text: str, now_ms: int) -> int | None:
    """A time that has passed, as browsers write the Shanghai time of a field `datetime-local`."""
    try:
        moment = datetime.strptime(text, "%Y-%m-%dT%H:%M")  # noqa: DTZ007 - its zone is given next
    except ValueError:
        return None
    time_ms = to_ms(moment.replace(tzinfo=SHANGHAI))
    return time_ms if EARLIEST_MS <= time_ms <= now_ms else None


def _own_id(appid: str, offer: Offer, paid_at_ms: int) -> str:
    """An id for a pack whose id at WeChat is not known: the same for the same purchase typed in twice."""
    terms = (appid, offer.capability, offer.calls, offer.validity_days, offer.price_micro_yuan, paid_at_ms)
    digest = hashlib.sha256(":".join(map(str, terms)).encode()).hexdigest()
    # Letters alone: a run of digits could look like a phone number.
    return f"typed-{digest[:ID_DIGITS].translate(_LETTERS)}"
