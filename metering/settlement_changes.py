"""The changes of packs and trial quota that a settlement asks for, and whether they fit (rules 8 and 14)."""

from collections import Counter
from collections.abc import Iterator
from typing import Final

from msgspec import Struct

from metering.accounts import Account
from metering.events import Capability, Move, SettlementData
from metering.following import is_following
from metering.packs import Pack
from metering.purchases import is_full
from metering.rules import Rules
from metering.times import shanghai_day, to_ms

PACK: Final = "pack:"
"""Prefix of the quota of a pack."""

UNLIMITED: Final = frozenset({"uncovered", "exempt", "corrected", "followed"})
"""Quotas that any number of calls fits."""


class PackChange(Struct):
    """A pack with what a settlement makes of it. The fields hold what its entries so far have said.

    Attributes:
        used: calls taken from it, those from before this log included.
        lapsed, refunded: calls that lapsed, and that were given back.
        refunded_ms: the time of its refund; None without one.
        used_after, refunded_after_ms: the same in the end.
        is_replaced: True if there is no such pack in the end.
    """

    capability: Capability
    pack: Pack
    used: int
    used_after: int
    lapsed: int = 0
    refunded: int = 0
    refunded_ms: int | None = None
    refunded_after_ms: int | None = None
    is_replaced: bool = False

    @property
    def is_flipped(self) -> bool:
        """True if it is refunded in the end and was not, or the other way round."""
        return (self.refunded_ms is None) != (self.refunded_after_ms is None)

    def fits(self) -> bool:
        """Return whether it has between none and all of its calls left in the end."""
        most = self.pack.used_before if self.is_replaced else self.pack.calls
        return self.pack.used_before <= self.used_after <= most

    def ends(self, clock_ms: int, rules: Rules) -> tuple[int, int]:
        """The calls that have lapsed and that are given back in the end."""
        if self.is_replaced:
            return 0, 0
        lapses_ms, left = self.pack.lapses_at_ms(rules), self.pack.calls - self.used_after
        if self.refunded_after_ms is not None and self.refunded_after_ms < lapses_ms:
            return 0, left
        return (left, 0) if lapses_ms <= clock_ms else (0, 0)

    @property
    def left(self) -> int:
        """The running balance."""
        return self.pack.calls - self.used - self.lapsed - self.refunded


class SettlementChanges:
    """The changes of all packs and of the trial quota that one event asks for together.

    Attributes:
        packs: those that change, by id.
        bought: those that are new or have other terms, by id; with the old ones they are in `packs`.
    """

    def __init__(self, account: Account, data: SettlementData, rules: Rules) -> None:
        self._account = account
        self._data = data
        self._rules = rules
        self.packs: dict[str, PackChange] = {}
        self.bought: dict[str, PackChange] = {}
        self._is_following = is_following(data)
        self._trial: dict[Capability, int] = dict.fromkeys(account.capabilities, 0)

    def fit(self) -> bool:
        """Return whether rule 14 and all validities hold after all moves together."""
        return self._replace_packs() and self._flip_refunds() and self._move_calls() and self._hold()

    def after(self, pack_id: str) -> PackChange:
        """A pack of `packs` or `bought` as it is in the end."""
        return self.bought.get(pack_id) or self.packs[pack_id]

    def _replace_packs(self) -> bool:
        for pack_id in (*self._data.removed, *(each.pack.pack_id for each in self._data.packs)):
            change = self._change(pack_id)
            if change is not None:
                change.is_replaced = True
        for each in self._data.packs:
            data = each.pack
            is_assigned = data.assigned_at is not None
            pack = Pack.bought(data, data.assigned_at or data.paid_at, self._rules, is_assigned=is_assigned)
            pack.used_before = data.used_before
            pack.opened_ms = to_ms(data.paid_at) if data.used_before else -1
            used = data.used_before
            self.bought[data.pack_id] = PackChange(data.capability, pack, used=used, used_after=used)
        counts = Counter(each.capability for each in self.bought.values())
        counts.subtract(each.capability for each in self.packs.values())
        account = self._account
        return all(change.fits() for change in self.bought.values()) and not any(
            added > 0 and is_full(account, account.capabilities[capability], added)
            for capability, added in counts.items()
        )

    def _flip_refunds(self) -> bool:
        data = self._data
        times = dict(zip(data.refunded, map(to_ms, data.refund_times), strict=False))
        for pack_ids, is_given in ((data.refunded, False), (data.not_refunded, True)):
            for pack_id in pack_ids:
                change = self.bought.get(pack_id) or self._change(pack_id)
                if change is None or (change.refunded_ms is not None) != is_given:
                    return False
                # Settlements of earlier versions did not say when.
                given_ms = times.get(pack_id, max(to_ms(data.from_), change.pack.paid_at_ms))
                change.refunded_after_ms = None if is_given else given_ms
        return True

    def _move_calls(self) -> bool:
        return all(
            (move.from_ != move.to or move.to.removeprefix(PACK) in self.bought)
            and self._add(move, move.from_, -move.calls, into=False)
            and self._add(move, move.to, move.calls, into=True)
            for move in self._data.moves
        )

    def _hold(self) -> bool:
        """Return whether every pack and trial quota has between none and all of its calls left."""
        packs = all(each.fits() for each in (*self.packs.values(), *self.bought.values()))
        trials = all(0 <= left <= granted for left, granted in self._trials_after())
        return packs and trials

    def _add(self, move: Move, quota: str, calls: int, *, into: bool) -> bool:
        """Add a move's calls to a quota, `into` which it moves them; False if they cannot belong to it."""
        if quota == "trial":
            self._trial[move.capability] += calls
            return True
        if quota in UNLIMITED:
            return True
        pack_id = quota.removeprefix(PACK)
        change = (self.bought.get(pack_id) if into else None) or self._change(pack_id)
        if change is None or change.capability != move.capability:
            return False
        change.used_after += calls
        time_ms = to_ms(move.time)
        nearest_ms = within(change.pack, time_ms)
        if self._is_following:
            return nearest_ms == time_ms
        return shanghai_day(nearest_ms) == shanghai_day(time_ms)

    def _trials_after(self) -> Iterator[tuple[int, int]]:
        """Calls left of each trial quota in the end, and those that were not used before this log."""
        account, size = self._account, self._rules.trial_calls
        if self._rules.trial_scope == "account":
            yield account.trial - sum(self._trial.values()), size - account.trial_used_before
            return
        for name, calls in self._trial.items():
            capability_account = account.capabilities[name]
            yield capability_account.trial - calls, size - capability_account.trial_used_before

    def _change(self, pack_id: str) -> PackChange | None:
        if pack_id not in self.packs:
            found = next((each for each in standing(self._account) if each.pack.pack_id == pack_id), None)
            if found is None:
                return None
            self.packs[pack_id] = found
        return self.packs[pack_id]


def standing(account: Account) -> Iterator[PackChange]:
    """Every pack of an account as it is."""
    for capability, capability_account in account.capabilities.items():
        for pack in (*capability_account.open, *capability_account.spent):
            yield PackChange(capability, pack, used=pack.used, used_after=pack.used)
        for closed in capability_account.closed:
            refunded_ms = closed.refunded_ms if closed.status == "refunded" else None
            yield PackChange(
                capability,
                closed.pack,
                used=closed.used,
                used_after=closed.used,
                lapsed=closed.lapsed,
                refunded=closed.refunded,
                refunded_ms=refunded_ms,
                refunded_after_ms=refunded_ms,
            )


def within(pack: Pack, time_ms: int) -> int:
    """The time within a pack's validity that is nearest to the time of a move."""
    return min(max(time_ms, pack.starts_at_ms), pack.expires_at_ms - 1)
