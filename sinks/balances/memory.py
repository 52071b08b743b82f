"""The balances of all apps in memory: one thread adds up ledger entries, others read what they come to."""

import time
from collections.abc import Callable, Iterable, Sequence
from typing import Final, NamedTuple

from metering.events import Capability
from metering.ledger import Entry
from metering.live_balances import AppSums, LiveBalance
from metering.placement import partition_of
from sinks.position import BEFORE_ALL, Position

MS_PER_S: Final = 1_000
NEVER_MS: Final = -1

EventSeen = Callable[[str, int, int], None]
"""Is told of an event id that was waited for, with its partition and offset."""


class _Balances(NamedTuple):
    """The balances of an app, and its sums for what is asked more rarely."""

    quick: LiveBalance
    realtime: LiveBalance
    sums: AppSums


class BalanceMemory:
    """The balances, filled by one thread in the order of the log.

    What readers get never changes; a further entry replaces it. Beyond `apps_max`, further apps are left out
    and not known.

    Attributes:
        positions: by partition, the newest entry that was added up.
        left_out: entries of apps that are not kept, since the memory was filled.
        runs_on_clock: whether time passes by the clock; otherwise by the entries (rule 19).
    """

    def __init__(self, partitions: int, apps_max: int) -> None:
        self.positions: dict[int, Position] = dict.fromkeys(range(partitions), BEFORE_ALL)
        self.left_out = 0
        self.runs_on_clock = False
        self._apps_max = apps_max
        self._sums: dict[str, AppSums] = {}
        self._balances: dict[str, _Balances] = {}
        self._as_of_ms: dict[int, int] = {}
        self._newest_ms = NEVER_MS

    def __len__(self) -> int:
        return len(self._sums)

    @property
    def partitions(self) -> int:
        """The number of partitions of the log."""
        return len(self.positions)

    def sums(self, appid: str) -> AppSums | None:
        """The sums of an app, to add to; None if there is no place for a further app."""
        found = self._sums.get(appid)
        if found is None:
            if len(self._sums) >= self._apps_max:
                self.left_out += 1
                return None
            found = self._sums[appid] = AppSums()
        return found

    def note_time(self, time_ms: int, *, of_clock: bool = False) -> None:
        """Take the time of an entry; of the first clock tick it says that time passes by the clock."""
        self._newest_ms = max(self._newest_ms, time_ms)
        self.runs_on_clock = self.runs_on_clock or of_clock

    def take(self, partition: int, entries: Sequence[Entry], awaited: Iterable[str], seen: EventSeen) -> int:
        """Add up the entries of a ledger record that are newer than what was; returns their number.

        `seen` is told which of the `awaited` event ids are among them.
        """
        position, touched, taken = self.positions[partition], set[str](), 0
        for entry in entries:
            if (entry.offset, entry.line) <= position:
                continue
            position = Position(entry.offset, entry.line)
            taken += 1
            self.note_time(entry.time_ms, of_clock=entry.kind == "clock_start")
            if entry.event_id and entry.event_id in awaited:
                seen(entry.event_id, partition, entry.offset)
            sums = self.sums(entry.appid) if entry.appid else None
            if sums is not None:
                sums.take(entry)
                touched.add(entry.appid)
        self.publish(touched)
        self.positions[partition] = position
        return taken

    def publish(self, appids: Iterable[str]) -> None:
        """Let readers see what the sums of some apps have come to."""
        for appid in appids:
            sums = self._sums[appid]
            self._balances[appid] = _Balances(sums.balance("quick"), sums.balance("realtime"), sums)

    def publish_all(self) -> None:
        """Let readers see everything."""
        self.publish(self._sums)

    def confirm(self, partition: int, as_of_ms: int) -> None:
        """Note that everything which had arrived by a moment is added up."""
        self._as_of_ms[partition] = max(as_of_ms, self._as_of_ms.get(partition, NEVER_MS))

    def balance(self, appid: str, capability: Capability) -> LiveBalance | None:
        """The balance of an app; None if nothing is known of it."""
        found = self._balances.get(appid)
        if found is None:
            return None
        return found.quick if capability == "quick" else found.realtime

    def store_calls(self, appid: str, capability: Capability, store: str, day: int) -> int:
        """The calls of a store on a Shanghai day."""
        found = self._balances.get(appid)
        return 0 if found is None else found.sums.store_calls(capability, store, day)

    def partition_of(self, appid: str) -> int:
        """The partition in which everything about an app is."""
        return partition_of(appid.encode(), self.partitions)

    def as_of_ms(self, appid: str) -> int:
        """The moment by which everything that had arrived about an app is known; -1 if there is none."""
        return self._as_of_ms.get(self.partition_of(appid), NEVER_MS)

    def oldest_as_of_ms(self) -> int:
        """The same of the partition that is behind the others."""
        return min((self._as_of_ms.get(one, NEVER_MS) for one in self.positions), default=NEVER_MS)

    def now_ms(self, wall_ms: int) -> int:
        """Now for what is left (rule 19)."""
        return wall_ms if self.runs_on_clock or self._newest_ms < 0 else self._newest_ms


def wall_clock_ms() -> int:
    """Now, as the wall clock has it."""
    return time.time_ns() // 1_000_000
