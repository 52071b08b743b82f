"""Agreement with the platform (rule 17): how its counts and ours come to differ, observation by observation.

The platform tells a cumulative count per quota, at moments of its own. Between two moments at which all
quotas of a pool are known, the difference of the pool changes by what happened in between: a window.
"""

from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from metering.events import CAPABILITIES


class QuotaKey(NamedTuple):
    """A pack, or a trial quota, whose `pack_id` is empty; one that both capabilities share has neither."""

    capability: str
    pack_id: str


class Observed(NamedTuple):
    """The platform's count of a quota: calls used of its size, at a moment."""

    at_ms: int
    used: int
    size: int


class LatePack(NamedTuple):
    """A pack whose purchase arrived in our log when it had begun already."""

    quota: QuotaKey
    starts_at_ms: int
    expires_at_ms: int
    recorded_at_ms: int
    event_id: str


class QuotaHistory:
    """The counts of one quota, the platform's and ours.

    Args:
        quota: of which they are.
        observed: the platform's counts, in the order of time; at least one.
        counted: calls that we count, by the moment of the first observation of the app not before them.
        starts_at_ms: before then nothing can have been used; None if that is not known.
        expires_at_ms: 0 for a trial quota, which is used first, and if it is not known.
    """

    def __init__(
        self,
        quota: QuotaKey,
        observed: Sequence[Observed],
        counted: Mapping[int, int],
        starts_at_ms: int | None,
        expires_at_ms: int = 0,
    ) -> None:
        self.quota = quota
        self.expires_at_ms = expires_at_ms
        self._observed = observed
        self._times = [one.at_ms for one in observed]
        self._counted_ms = sorted(counted)
        self._counted: list[int] = []
        for at_ms in self._counted_ms:
            self._counted.append((self._counted[-1] if self._counted else 0) + counted[at_ms])
        self._starts_at_ms = starts_at_ms

    @property
    def times(self) -> Sequence[int]:
        """The moments at which it was observed."""
        return self._times

    @property
    def newest(self) -> Observed:
        """The last observation."""
        return self._observed[-1]

    def same_since(self) -> int:
        """The first of the observations up to the newest one that all have the same difference."""
        since_ms, difference = self._times[-1], self.difference_at(self._times[-1])
        for at_ms in reversed(self._times):
            if self.difference_at(at_ms) != difference:
                break
            since_ms = at_ms
        return since_ms

    def counted_at(self, at_ms: int) -> int:
        """The calls that we count up to a moment at which the app was observed."""
        place = bisect_left(self._counted_ms, at_ms + 1)
        return self._counted[place - 1] if place else 0

    def is_used_up(self, at_ms: int) -> bool:
        """Return whether nothing is left at a moment, neither in the platform's count nor in ours."""
        place = bisect_left(self._times, at_ms + 1)
        newest = self._observed[place - 1] if place else None
        return newest is not None and min(newest.used, self.counted_at(at_ms)) >= newest.size > 0

    def difference_at(self, at_ms: int) -> int | None:
        """The platform's count less ours; None where the platform's is not known.

        It is known when it was observed, between two equal counts, and where it can't change: before the
        start, and when the quota is used up. After the last observation the difference is taken to stay.
        """
        place = bisect_left(self._times, at_ms)
        if place < len(self._times) and self._times[place] == at_ms:
            return self._observed[place].used - self.counted_at(at_ms)
        if place == 0:
            unused = self._observed[0].used == 0 or (
                self._starts_at_ms is not None and at_ms <= self._starts_at_ms
            )
            return -self.counted_at(at_ms) if unused else None
        before = self._observed[place - 1]
        if before.used >= before.size > 0:
            return before.used - self.counted_at(at_ms)
        if place == len(self._times):
            return before.used - self.counted_at(before.at_ms)
        return before.used - self.counted_at(at_ms) if self._observed[place].used == before.used else None


class Window(NamedTuple):
    """The change of the difference of a pool between two observations.

    Attributes:
        capability: of the pool; empty for both together, as long as they share a trial quota.
        from_ms, to_ms: the observations between which it came about; `from_ms` is 0 before the first.
        change: calls by which the platform's count grew more than ours; mostly 0.
        moved: calls that we count in another quota than the platform, because a pack was recorded late.
        late_pack: the event of its purchase.
    """

    capability: str
    from_ms: int
    to_ms: int
    change: int
    moved: int = 0
    late_pack: str = ""


def windows(
    histories: Sequence[QuotaHistory], late_packs: Sequence[LatePack] = (), *, from_the_start: bool = True
) -> list[Window]:
    """The windows between the observations of an app, by capability and time.

    Calls that we took from one quota and the platform from another of the same pool cancel. A trial quota
    that both capabilities share makes one pool of them, until it is used up on both sides.

    Args:
        histories: of the quotas of one app.
        late_packs: packs whose purchase arrived late.
        from_the_start: False if there are earlier observations; the first ones here are then the beginning.
    """
    rounds = sorted({at_ms for history in histories for at_ms in history.times})
    shared = next((one for one in histories if one.quota == QuotaKey("", "")), None)
    began = from_the_start
    found: list[Window] = []
    apart_ms = 0
    if shared is not None:
        known = (at_ms for at_ms in rounds if all(one.difference_at(at_ms) is not None for one in histories))
        used_up = next((at_ms for at_ms in known if shared.is_used_up(at_ms)), None)
        together = [at_ms for at_ms in rounds if used_up is None or at_ms <= used_up]
        found += _Pool("", histories, late_packs).windows(together, began=began)
        if used_up is None:
            return found
        apart_ms, began = used_up, False
    for capability in CAPABILITIES:
        pool = [one for one in histories if one.quota.capability == capability]
        apart = [at_ms for at_ms in rounds if at_ms >= apart_ms] if pool else []
        found += _Pool(capability, pool, late_packs).windows(apart, began=began)
    return found


class _Pool:
    """The quotas of a pool, over time."""

    def __init__(
        self, capability: str, histories: Sequence[QuotaHistory], late_packs: Sequence[LatePack]
    ) -> None:
        self._capability = capability
        self._histories = histories
        quotas = {one.quota for one in histories}
        self._late_packs = [pack for pack in late_packs if pack.quota in quotas]

    def windows(self, rounds: Iterable[int], *, began: bool) -> list[Window]:
        """The windows of the pool. All quotas `began` equal, or else are first known at the first round."""
        found: list[Window] = []
        before_ms = 0
        before: dict[QuotaKey, int] = dict.fromkeys((one.quota for one in self._histories), 0)
        for at_ms in rounds:
            now = self._differences(at_ms)
            if now is None:
                continue
            if began:
                found.append(self._window(before_ms, at_ms, {one: now[one] - before[one] for one in now}))
            before_ms, before, began = at_ms, now, True
        return found

    def _differences(self, at_ms: int) -> dict[QuotaKey, int] | None:
        found: dict[QuotaKey, int] = {}
        for history in self._histories:
            difference = history.difference_at(at_ms)
            if difference is None:
                return None
            found[history.quota] = difference
        return found

    def _window(self, from_ms: int, to_ms: int, changes: Mapping[QuotaKey, int]) -> Window:
        change = sum(changes.values())
        for pack in self._late_packs:
            if changes[pack.quota] > 0 and from_ms < pack.recorded_at_ms and pack.starts_at_ms < to_ms:
                # What expires before it is no substitute: of that, the platform had less left.
                instead = sum(
                    changes[one.quota]
                    for one in self._histories
                    if changes[one.quota] < 0 and one.expires_at_ms > pack.expires_at_ms
                )
                moved = min(changes[pack.quota], -instead)
                if moved:
                    return Window(self._capability, from_ms, to_ms, change, moved, pack.event_id)
        return Window(self._capability, from_ms, to_ms, change)
