"""The balance of an app as its ledger entries leave it, for what has to be decided now (rule 19).

`AppSums` adds up entries one by one, as `dashboards/views/balances_now.sql` adds up the table: both say the
same. `LiveBalance` is what they come to, and never changes, so that other threads may read it.
"""

from collections import Counter, defaultdict
from typing import Final

import msgspec
from msgspec import Struct

from metering.events import Capability
from metering.ledger import CALL_KINDS, Entry
from metering.refusals import QUOTA_EXHAUSTED_ERRNO
from metering.routing import QuotaBalance
from metering.routing_policy import DEFAULT_POLICY, RoutingPolicy
from metering.times import shanghai_day

STORES_MAX: Final = 20_000
"""Limit of stores of an app whose calls of a day are counted; the calls of further stores are not."""

_CALLS: Final = frozenset(CALL_KINDS)
_PACK_MOVES: Final = frozenset({"charge", "opening", "lapse", "refund"})


class PlatformCount(Struct, frozen=True, gc=False):
    """The platform's count: calls that it had left at a moment, less the calls since, by their own times."""

    at_ms: int
    left: int


class LiveBalance(Struct, frozen=True):
    """The balance of a capability of an app as of an entry of the ledger.

    Attributes:
        quotas: the trial quota, and the packs that hold calls, whether valid now or not.
        platform: the platform's newest count of all quotas together; None if it has told none.
        trial_shared: True if the trial quota is one for both capabilities, and has calls left.
        is_exempt: True if calls are not charged.
        succeeded_ms, refused_ms: the newest success, and refusal for lack of quota; -1 without one.
        policy: the owner's routing policy.
    """

    quotas: tuple[QuotaBalance, ...] = ()
    platform: PlatformCount | None = None
    trial_shared: bool = False
    is_exempt: bool = False
    succeeded_ms: int = -1
    refused_ms: int = -1
    policy: RoutingPolicy = DEFAULT_POLICY

    def ledger_left_at(self, now_ms: int) -> int:
        """The calls left at a moment by the ledger alone."""
        return sum(quota.left for quota in self.quotas if quota.starts_at_ms <= now_ms < quota.expires_at_ms)

    def topped_up_ms(self, now_ms: int) -> int:
        """The newest start of a pack that holds calls at a moment; -1 without one."""
        begun = (
            each.starts_at_ms for each in self.quotas if each.starts_at_ms <= now_ms < each.expires_at_ms
        )
        return max((moment for moment in begun if moment), default=-1)


class BoughtTerms(Struct, gc=False):
    """Details of an entry of kind `purchase`."""

    starts_at_ms: int
    expires_at_ms: int
    calls: int = 0
    capability: str = ""


class _Count(Struct):
    """Details of an entry of kind `usage_observed`."""

    used: int
    size: int
    covers: str = "quota"


class _Owner(Struct):
    """Details of an entry of kind `registration`; `of` is the one that a settlement found to hold."""

    of: str | None = None


class QuotaSums(Struct, gc=False):
    """The calls that left a quota, by the kinds of their entries, and the number of refunds."""

    charge: int = 0
    opening: int = 0
    lapse: int = 0
    refund: int = 0
    refunds: int = 0

    def left(self, size: int) -> int:
        """The calls of a size that are left to use; none of what was refunded or has lapsed."""
        if self.refund > 0 or self.refunds == 1 or self.lapse > 0:
            return 0
        return size - self.opening - self.charge - self.lapse - self.refund


_terms: Final = msgspec.json.Decoder(BoughtTerms)
_count: Final = msgspec.json.Decoder(_Count)
_owner: Final = msgspec.json.Decoder(_Owner)


class AppSums:
    """The sums of one app's entries. It is filled in the order of the log, or with sums of many entries."""

    def __init__(self) -> None:
        self._granted: dict[str, int] = {}
        self._packs: dict[str, BoughtTerms] = {}
        self._sums: dict[tuple[str, str], QuotaSums] = {}
        self._told: dict[tuple[str, str, bool], PlatformCount] = {}
        self._owner: tuple[int, str, bool] = (-1, "", False)
        self._succeeded_ms: dict[str, int] = {}
        self._refused_ms: dict[str, int] = {}
        self._policies: dict[str, RoutingPolicy] = {}
        self._stores: defaultdict[int, Counter[tuple[str, str]]] = defaultdict(Counter)

    def take(self, entry: Entry) -> None:
        """Add up one entry."""
        kind, capability = entry.kind, entry.capability
        if kind in _CALLS:
            self._take_call(entry)
        elif kind in _PACK_MOVES:
            self.move(kind, capability, entry.pack_id, entry.calls)
        elif kind == "failed":
            if entry.errno == QUOTA_EXHAUSTED_ERRNO:
                self.note_refusal(capability, min(entry.time_ms, entry.recorded_at_ms))
        elif kind == "trial_grant":
            self.grant(capability, entry.calls)
        elif kind == "purchase":
            self.buy(capability, entry.pack_id, entry.calls, entry.details)
        elif kind == "registration" and entry.reason:
            self.register(entry.time_ms, entry.event_id, entry.reason, entry.details)
        elif kind == "routing_set":
            self._policies[capability] = RoutingPolicy.from_details(msgspec.json.decode(entry.details))
        elif kind == "usage_observed":
            self.observe(capability, entry.pack_id, entry.time_ms, entry.details)

    def grant(self, capability: str, calls: int) -> None:
        """Add up a grant of a trial quota; that of no capability is for all."""
        self._granted[capability] = self._granted.get(capability, 0) + calls

    def buy(self, capability: str, pack_id: str, calls: int, details: str) -> None:
        """Take the terms of a pack's newest purchase; no more than none of its calls take it away."""
        terms = _terms.decode(details)
        terms.capability, terms.calls = capability, calls
        self._packs[pack_id] = terms

    def move(self, kind: str, capability: str, pack_id: str, calls: int, times: int = 1) -> None:
        """Add up calls that left a pack, or a trial quota, whose `pack_id` is empty."""
        sums = self._sums.setdefault((capability, pack_id), QuotaSums())
        if kind == "opening":
            sums.opening += calls
        elif kind == "lapse":
            sums.lapse += calls
        elif kind == "refund":
            sums.refund += calls
            sums.refunds += times
        else:
            sums.charge += calls

    def register(self, time_ms: int, event_id: str, reason: str, details: str) -> None:
        """Take an owner: that of the latest time holds, or the one that a settlement says does."""
        of = _owner.decode(details or "{}").of
        owner = (time_ms, event_id if of is None else of, reason == "exempt")
        if of is not None or owner[:2] >= self._owner[:2]:
            self._owner = owner

    def observe(self, capability: str, pack_id: str, time_ms: int, details: str, since: int = 0) -> None:
        """Take the platform's count; `since` are calls that are added up already and are of a later time."""
        said = _count.decode(details)
        key = self._key(capability, pack_id, is_whole=said.covers == "capability")
        if key not in self._told or self._told[key].at_ms <= time_ms:
            self._told[key] = PlatformCount(time_ms, said.size - said.used - since)

    def note_success(self, capability: str, time_ms: int) -> None:
        """Take the time of a success."""
        self._succeeded_ms[capability] = max(self._succeeded_ms.get(capability, -1), time_ms)

    def note_refusal(self, capability: str, time_ms: int) -> None:
        """Take the time of a refusal for lack of quota."""
        self._refused_ms[capability] = max(self._refused_ms.get(capability, -1), time_ms)

    def count_store(self, capability: str, store: str, day: int, calls: int) -> None:
        """Add up calls of a store on a Shanghai day; only the two newest days are kept."""
        of_day = self._stores[day]
        if (capability, store) in of_day or len(of_day) < STORES_MAX:
            of_day[capability, store] += calls
        if len(self._stores) > 2:  # noqa: PLR2004 - today, and the day of clocks that are ahead
            del self._stores[min(self._stores)]

    def store_calls(self, capability: Capability, store: str, day: int) -> int:
        """The calls of a store on a Shanghai day."""
        of_day = self._stores.get(day)
        return 0 if of_day is None else of_day.get((capability, store), 0)

    def balance(self, capability: Capability) -> LiveBalance:
        """The balance that the entries so far come to."""
        quotas = [self._trial(capability)]
        for pack_id, terms in self._packs.items():
            if terms.capability == capability and terms.calls > 0:
                left = self._sums.get((capability, pack_id), QuotaSums()).left(terms.calls)
                if left > 0:
                    told = self._left_of((capability, pack_id, False))
                    quotas.append(QuotaBalance(left, terms.starts_at_ms, terms.expires_at_ms, told))
        return LiveBalance(
            tuple(quotas),
            self._told.get((capability, "", True)),
            self._granted.get("", 0) > 0 and quotas[0].left > 0,
            self._owner[2],
            self._succeeded_ms.get(capability, -1),
            self._refused_ms.get(capability, -1),
            self._policies.get(capability, DEFAULT_POLICY),
        )

    def _trial(self, capability: Capability) -> QuotaBalance:
        shared = self._granted.get("", 0)
        own = "" if shared else capability
        used = sum(
            sums.charge for (of, pack_id), sums in self._sums.items() if not pack_id and own in {"", of}
        )
        opened = self._sums.get((own, ""), QuotaSums()).opening
        left = shared + self._granted.get(capability, 0) - opened - used
        return QuotaBalance(left, platform_left=self._left_of(self._key(capability, "", is_whole=False)))

    def _left_of(self, key: tuple[str, str, bool]) -> int | None:
        told = self._told.get(key)
        return None if told is None else told.left

    def _take_call(self, entry: Entry) -> None:
        kind, capability = entry.kind, entry.capability
        if kind == "charge":
            self.move(kind, capability, entry.pack_id, entry.calls)
        elif kind == "trial_charge":
            self.move(kind, capability, "", entry.calls)
        if not entry.reason and entry.calls > 0:
            self.note_success(capability, min(entry.time_ms, entry.recorded_at_ms))
            self._count_since(entry)
        self.count_store(capability, entry.store, shanghai_day(entry.time_ms), entry.calls)

    def _count_since(self, entry: Entry) -> None:
        """Take a call off the platform's counts from before it. Only calls of charged quotas are in those."""
        if entry.kind not in {"charge", "trial_charge"}:
            return
        for key in (
            self._key(entry.capability, entry.pack_id, is_whole=False),
            (entry.capability, "", True),
        ):
            told = self._told.get(key)
            if told is not None and entry.time_ms > told.at_ms:
                self._told[key] = PlatformCount(told.at_ms, told.left - entry.calls)

    def _key(self, capability: str, pack_id: str, *, is_whole: bool) -> tuple[str, str, bool]:
        """The quota of a count; a trial quota that both capabilities share is one to the platform as well."""
        shared = not pack_id and not is_whole and self._granted.get("", 0)
        return ("" if shared else capability, pack_id, is_whole)
