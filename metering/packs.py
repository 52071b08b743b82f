"""The pack: its terms, its validity and the consumption order (rules 5 and 6)."""

from datetime import datetime
from typing import Literal

from msgspec import Struct

from metering.events import PurchaseData
from metering.money import cost_of_first
from metering.rules import Rules
from metering.times import DAY_MS, to_ms

PackStatus = Literal["pending", "active", "exhausted", "lapsed", "refunded"]


class Pack(Struct, array_like=True, order=True, gc=False):
    """The terms of one pack, which never change, the calls left of it, and those used before this log.

    `opened_ms` is the time as of which `used_before` was told (rule 16); -1 if it never was. `paid_at_ms` of
    a pack that an agency assigned (`is_assigned`) is the time of the assignment: the app has had it since.

    Packs compare by their fields in this order, which is the consumption order: expiry, start, id. It is
    total, so that a replay decides the same.
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
    used_before: int = 0
    opened_ms: int = -1
    is_assigned: bool = False

    @staticmethod
    def bought(data: PurchaseData, had_from: datetime, rules: Rules, *, is_assigned: bool = False) -> "Pack":
        """The pack that an app has from a time on: it starts then or as given, not before billing."""
        starts_at_ms = max(to_ms(data.starts_at or had_from), rules.billing_start_ms)
        return Pack(
            expires_at_ms=starts_at_ms + data.validity_days * DAY_MS,
            starts_at_ms=starts_at_ms,
            pack_id=data.pack_id,
            calls=data.calls,
            price_micro_yuan=data.price_micro_yuan,
            validity_days=data.validity_days,
            paid_at_ms=to_ms(had_from),
            order_id=data.order_id,
            remaining=data.calls,
            is_assigned=is_assigned,
        )

    def copy(self) -> "Pack":
        """An independent copy."""
        copied: Pack = self.__copy__()  # type: ignore[attr-defined] # all structs have it; the stubs leave it out
        return copied

    @property
    def used(self) -> int:
        """The calls taken from it, before this log or in it; of a pack that has ended, `ClosedPack` knows."""
        return self.calls - self.remaining

    @property
    def effective_ms(self) -> int:
        """The time from which its purchase counts (rule 8)."""
        return min(self.paid_at_ms, self.starts_at_ms)

    def was_here(self, time_ms: int) -> bool:
        """False before its assignment: what was done with a pack of that id then was about an earlier one."""
        return not self.is_assigned or time_ms >= self.paid_at_ms

    def leaves_at(self, time_ms: int) -> bool:
        """Return whether it leaves with an app that migrates: it was there, and had not expired (rule 16)."""
        return self.effective_ms <= time_ms < self.expires_at_ms

    def has_terms_of(self, other: "Pack") -> bool:
        """Return whether two packs differ at most in what was used of them in this log."""
        same = other.copy()
        same.remaining, same.opened_ms = self.remaining, self.opened_ms
        return same == self

    def covers(self, time_ms: int) -> bool:
        """True if a call at that time is within the validity; at `expires_at_ms` itself the pack is gone."""
        return self.starts_at_ms <= time_ms < self.expires_at_ms

    def cost(self, calls: int) -> int:
        """The cost of the first `calls` calls, in micro-yuan."""
        return cost_of_first(calls, price_micro_yuan=self.price_micro_yuan, size=self.calls)

    def lapses_at_ms(self, rules: Rules) -> int:
        """The time at which the remainder lapses: the expiry plus the wait for late events (rule 8)."""
        return self.expires_at_ms + rules.allowed_lateness_ms


Ending = Literal["exhausted", "lapsed", "refunded"]


class ClosedPack(Struct, frozen=True, array_like=True, gc=False):
    """A pack that ended, and the way in which it did.

    Attributes:
        lapsed: calls that lapsed.
        refunded: calls that were given back.
        refunded_ms: the time of the refund; -1 without one.
    """

    pack: Pack
    status: Ending
    lapsed: int = 0
    refunded: int = 0
    refunded_ms: int = -1

    @property
    def used(self) -> int:
        """The calls that were taken from it."""
        return self.pack.calls - self.lapsed - self.refunded
