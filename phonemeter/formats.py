"""Formats of money and moments in text for people."""

from decimal import Decimal
from fractions import Fraction
from typing import Final

from metering.money import MICRO_YUAN
from metering.times import SHANGHAI, from_ms

YUAN_MAX: Final = 10**12
"""Limit of amounts; a number with an exponent may stand for a billion digits."""

TEXT_CHARACTERS_MAX: Final = 64
DECIMAL_PLACES: Final = 6


def parse_yuan(text: str) -> int:
    """Micro-yuan of an amount in yuan such as `¥1,500` or `7.5`.

    Raises:
        ValueError: it is no amount with at most six decimal places.
    """
    plain = text.strip().removeprefix("¥").removeprefix("￥").replace(",", "")
    try:
        amount = Decimal(plain[: TEXT_CHARACTERS_MAX + 1])
    except ArithmeticError:
        amount = Decimal("NaN")
    # Arithmetic of decimals rounds and overflows; comparisons and fractions are exact.
    if (
        len(plain) <= TEXT_CHARACTERS_MAX
        and amount.is_finite()
        and -YUAN_MAX < amount < YUAN_MAX
        and (amount == 0 or amount.adjusted() >= -DECIMAL_PLACES)
    ):
        micro_yuan = Fraction(amount) * MICRO_YUAN
        if micro_yuan.denominator == 1:
            return int(micro_yuan)
    raise ValueError(f"{text[:40]!r} is no amount in yuan with at most six decimal places")


def yuan(micro_yuan: int) -> str:
    """Money in yuan: exact, with two decimal places at least."""
    sign = "-" if micro_yuan < 0 else ""
    whole, rest = divmod(abs(micro_yuan), MICRO_YUAN)
    return f"{sign}{whole:,}.{f'{rest:06d}'.rstrip('0').ljust(2, '0')}"


def to_minute(time_ms: int) -> str:
    """A moment in Shanghai time, to the minute."""
    return f"{from_ms(time_ms).astimezone(SHANGHAI):%Y-%m-%d %H:%M}"


def to_second(time_ms: int) -> str:
    """A moment in Shanghai time, to the second."""
    return f"{from_ms(time_ms).astimezone(SHANGHAI):%Y-%m-%d %H:%M:%S}"
