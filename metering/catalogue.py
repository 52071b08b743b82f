"""The default price list, in micro-yuan; also on `metering/README.md`."""

from typing import Final

from msgspec import Struct

from metering.events import Capability
from metering.money import MICRO_YUAN


class Offer(Struct, frozen=True):
    """A pack on sale; `list_price_micro_yuan` is the price before the discount."""

    capability: Capability
    calls: int
    validity_days: int
    price_micro_yuan: int
    list_price_micro_yuan: int


def _quick(calls: int, price_micro_yuan: int, *, days: int = 365, listed: int | None = None) -> Offer:
    return Offer("quick", calls, days, price_micro_yuan, listed or price_micro_yuan)


DEFAULT: Final[tuple[Offer, ...]] = (
    _quick(250, 7 * MICRO_YUAN + MICRO_YUAN // 2, days=90),
    _quick(1_000, 30 * MICRO_YUAN),
    _quick(5_000, 150 * MICRO_YUAN),
    _quick(10_000, 300 * MICRO_YUAN),
    _quick(50_000, 1_500 * MICRO_YUAN),
    _quick(100_000, 3_000 * MICRO_YUAN),
    _quick(500_000, 15_000 * MICRO_YUAN),
    _quick(1_000_000, 28_000 * MICRO_YUAN, listed=30_000 * MICRO_YUAN),
    _quick(5_000_000, 140_000 * MICRO_YUAN, listed=150_000 * MICRO_YUAN),
    _quick(10_000_000, 270_000 * MICRO_YUAN, listed=300_000 * MICRO_YUAN),
)
