"""Amounts in Chinese capitals, as invoices have them beside the figures (人民币大写)."""

from typing import Final

from metering.money import MICRO_YUAN

FEN_MICRO_YUAN: Final = MICRO_YUAN // 100
YUAN_MAX: Final = 10**12
"""Limit of an amount in yuan, below which the rules for its zeros are certain."""

_DIGITS: Final = "零壹贰叁肆伍陆柒捌玖"
_UNITS: Final = ((10**8, "亿"), (10**4, "万"), (10**3, "仟"), (10**2, "佰"), (10, "拾"))


def fen_of(micro_yuan: int) -> int:
    """The fen of an amount.

    Raises:
        ValueError: it is negative, or no whole number of fen: nothing is rounded on an invoice.
    """
    if micro_yuan < 0 or micro_yuan % FEN_MICRO_YUAN:
        raise ValueError(f"{micro_yuan} micro-yuan are no amount of whole fen that can be invoiced.")
    return micro_yuan // FEN_MICRO_YUAN


def chinese_amount(micro_yuan: int) -> str:
    """An amount in capitals: 柒元伍角整 of ¥7.50.

    Zeros that the rules of the People's Bank leave open are not written.

    Raises:
        ValueError: it is negative, no whole number of fen, or too large.
    """
    yuan, fen = divmod(fen_of(micro_yuan), 100)
    if yuan >= YUAN_MAX:
        raise ValueError(f"An amount is below {YUAN_MAX:,} yuan.")
    jiao, fen = divmod(fen, 10)
    if not yuan and not jiao and not fen:
        return "零元整"
    whole = f"{_whole(yuan)}元" if yuan else ""
    tenths = f"{_DIGITS[jiao]}角" if jiao else "零" if yuan and fen else ""
    return f"{whole}{tenths}{f'{_DIGITS[fen]}分' if fen else '整'}"


def _whole(number: int) -> str:
    """A positive whole number in capitals."""
    for size, unit in _UNITS:
        if number >= size:
            count, rest = divmod(number, size)
            gap = "零" if 0 < rest < size // 10 else ""
            return f"{_whole(count)}{unit}{gap}{_whole(rest) if rest else ''}"
    return _DIGITS[number]
