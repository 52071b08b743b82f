"""The pack: what was bought, when it is valid, and the burn order (DESIGN rules 5 and 6)."""

from typing import Literal

from msgspec import Struct

from metering.events import PurchaseData
from metering.money import cost_of_first
from metering.rules import Rules
from metering.times import DAY_MS, to_ms

PackStatus = Literal["pending", "active", "exhausted", "lapsed", "refunded"]


class Pack(Struct, array_like=True, order=True, gc=False):
    """The terms of one pack, which never change, and how many calls are left of it.

    The fields stand in burn order: comparing packs compares expiry, then start, then id, which is total, so
    that a replay decides the same.
    """

    expires_at_ms: int
    starts_at_ms: int
    pack_id: str
    calls: int
    price_micro_yuan: int
    validity_days: int
    paid_at_ms: int
    order_id: str
    remaining: int

    @staticmethod
    def bought(data: PurchaseData, rules: Rules) -> "Pack":
        """The pack of a purchase: it starts when paid (or as given), but never before billing does."""
        starts_at_ms = max(to_ms(data.starts_at or data.paid_at), rules.billing_start_ms)
        return Pack(
            expires_at_ms=starts_at_ms + data.validity_days * DAY_MS,
            starts_at_ms=starts_at_ms,
            pack_id=data.pack_id,
            calls=data.calls,
            price_micro_yuan=data.price_micro_yuan,
            validity_days=data.validity_days,
            paid_at_ms=to_ms(data.paid_at),
            order_id=data.order_id,
            remaining=data.calls,
        )

    def copy(self) -> "Pack":
        """An independent copy."""
        fresh: Pack = self.__copy__()  # type: ignore[attr-defined] # all structs have it; the stubs leave it out
        return fresh

    def covers(self, time_ms: int) -> bool:
        """Whether a call at that time is within the validity; at `expires_at_ms` itself the pack is gone."""
        return self.starts_at_ms <= time_ms < self.expires_at_ms

    def cost(self, calls: int) -> int:
        """What the first `calls` calls cost, in micro-yuan."""
        return cost_of_first(calls, price_micro_yuan=self.price_micro_yuan, size=self.calls)

    def lapses_at_ms(self, rules: Rules) -> int:
        """When the remainder lapses: late events are waited for past the expiry (rule 8)."""
        return self.expires_at_ms + rules.allowed_lateness_ms


Ending = Literal["exhausted", "lapsed", "refunded"]


class ClosedPack(Struct, frozen=True, array_like=True, gc=False):
    """A pack that nothing can be charged to any more, how it ended, and how many calls lapsed then."""

    pack: Pack
    status: Ending
    lapsed: int = 0
