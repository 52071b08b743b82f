"""Holds: one call each that a back end has asked for before it shows the paid button, for some seconds.

They are in the business database, so that gateways share them and none is lost with a process. A hold counts
until it is released or expires; one that an event has confirmed, until the call is in the balance.
"""

import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Annotated, Final, Literal, NamedTuple, Protocol

from msgspec import Meta, Struct

from metering.events import CAPABILITIES, Capability
from metering.times import MINUTE_MS

log = logging.getLogger(__name__)

HOLD_S_MAX: Final = 300
HOLDS_MAX: Final = 10_000
"""Limit of the holds of one app that are open at a time."""

CONFIRMED_MS_MAX: Final = 2 * MINUTE_MS
"""Time after which a confirmed hold counts no longer, whether its call is in the balance or not: longer than
what is known may be old where holds are granted."""

SEEN_MS: Final = MINUTE_MS
"""Time for which a hold whose call is in the balance is kept for other gateways, which may not be as far."""

HoldRefusal = Literal["nothing_left", "too_many_holds", "repeat_differs"]
HoldEnd = Literal["released", "confirmed", "unknown"]


class HoldsUnavailableError(Exception):
    """The business database can't be used now, in one sentence."""


class HoldRequest(Struct, frozen=True, forbid_unknown_fields=True):
    """The body of a request for a hold."""

    capability: Capability = "quick"
    store: Annotated[str, Meta(max_length=64)] = ""
    seconds: Annotated[int, Meta(ge=1, le=HOLD_S_MAX)] = 60


class Hold(Struct, frozen=True, kw_only=True):
    """A hold as it is stored.

    Attributes:
        hold_id: by which it is confirmed or released.
        ends_at_ms: when it counts no longer: its expiry, and for a confirmed one later than that.
        repeat: digest of the key and the `Idempotency-Key` that it was asked with; None without one.
        event_id: the event that confirmed it; None before.
        seen_offset: the offset of that event, once its call is in the balance.
    """

    hold_id: str
    appid: str
    capability: Capability
    store: str
    granted_at_ms: int
    expires_at_ms: int
    ends_at_ms: int
    repeat: str | None = None
    event_id: str | None = None
    seen_offset: int | None = None


class HoldLimits(NamedTuple):
    """Limits of holds of an app's capability.

    Attributes:
        free: calls that may be held at a time: those left without the reserve.
        capabilities: whose holds are taken from the same calls.
        seen_through: offset through which events of the app are in the balance.
        store_free: calls that may be held for the store; None without a budget.
    """

    free: int
    capabilities: tuple[Capability, ...]
    seen_through: int
    store_free: int | None = None


class OpenHolds(Struct, frozen=True):
    """The holds that count, by app and capability, and by store; and the events that are waited for."""

    by_capability: Mapping[tuple[str, str], int] = {}
    by_store: Mapping[tuple[str, str, str], int] = {}
    awaited: Mapping[str, str] = {}

    def held(self, appid: str, capabilities: Sequence[Capability]) -> int:
        """The calls that are held of an app."""
        return sum(self.by_capability.get((appid, one), 0) for one in capabilities)


class HoldSource(Protocol):
    """The store of the holds. All methods block, and raise HoldsUnavailableError."""

    def grant(self, hold: Hold, limits: HoldLimits) -> Hold | HoldRefusal:
        """Store a hold if what is held leaves it a call. All gateways decide as one.

        Returns:
            The hold; an earlier one of the same repeat if that is the same otherwise; or why there is none.
        """

    def release(self, appid: str, hold_id: str, now_ms: int) -> HoldEnd:
        """Delete a hold that no event has confirmed; returns what has become of it."""

    def confirm(self, appid: str, hold_id: str, event_id: str, now_ms: int) -> bool:
        """Let a hold count until its event is in the balance; returns whether it was open."""

    def mark_seen(self, seen: Mapping[str, int], now_ms: int) -> None:
        """Note the offsets of events, by id, that are in the balance."""

    def open(self, now_ms: int) -> Sequence[Hold]:
        """The holds that have not ended; those that have are removed."""


def counted(holds: Sequence[Hold]) -> OpenHolds:
    """Count the holds that are open; those whose event is in the balance are left out."""
    by_capability: Counter[tuple[str, str]] = Counter()
    by_store: Counter[tuple[str, str, str]] = Counter()
    awaited: dict[str, str] = {}
    for hold in holds:
        if hold.seen_offset is not None:
            continue
        by_capability[hold.appid, hold.capability] += 1
        if hold.store:
            by_store[hold.appid, hold.capability, hold.store] += 1
        if hold.event_id is not None:
            awaited[hold.event_id] = hold.hold_id
    return OpenHolds(by_capability, by_store, awaited)


def sharing(capability: Capability, *, trial_shared: bool) -> tuple[Capability, ...]:
    """The capabilities whose holds are taken from the calls of one."""
    return CAPABILITIES if trial_shared else (capability,)
