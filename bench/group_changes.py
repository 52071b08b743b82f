"""Changes of a consumer group, and the longest pause of partitions that stay and of those that move."""

import asyncio
import os
import re
import signal
import time
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any, Final, Literal, NamedTuple

from bench.figures import Figure, tell
from bench.processes import Program, program
from phonemeter.settings import Settings
from phonemeter.stack.probes import http_get

PARTITIONS: Final = 6
"""Divides by two and by three: Faust leaves partitions where they are unless that spreads them better."""

PAUSE_S_MAX: Final = 3.0
SETTLE_S: Final = 8.0
LIMIT_S: Final = 90.0
OWNED_METRICS: Final = {
    "worker": "phonemeter_worker_next_offset",
    "sink": "phonemeter_sink_lag_records",
}
"""The metric of each kind of member that has a sample per partition that it owns."""

Owners = Mapping[str, frozenset[int]]
"""The partitions that each member has."""


class Change(NamedTuple):
    """A change of the group, with the owners before and after it."""

    name: str
    began_s: float
    ended_s: float
    before: Owners
    after: Owners

    def stayed(self) -> frozenset[int]:
        """The partitions that kept their owner."""
        kept = (owned & self.after.get(name, frozenset()) for name, owned in self.before.items())
        return frozenset().union(*kept)

    def pause_s(self, moments_s: Mapping[int, Sequence[float]], partitions: frozenset[int]) -> float:
        """The longest pause of these partitions, given the moments of each at which it got on."""
        return max(
            (
                later - earlier
                for one in partitions
                for earlier, later in pairwise(moments_s[one])
                if self.began_s <= (earlier + later) / 2 <= self.ended_s
            ),
            default=0.0,
        )


class Group(NamedTuple):
    """A group of workers or sinks that is to be changed."""

    kind: Literal["worker", "sink"]
    members: Sequence[Program]

    async def changes(self, settings: Settings) -> list[Change]:
        """Have one more member join and be stopped, and another one join and be killed."""
        found = []
        owners = await self._divided(self.members)
        for signal_number, end in ((signal.SIGTERM, "is stopped"), (signal.SIGKILL, "is killed")):
            began_s = time.time()
            with program(settings, self.kind, len(self.members) + 1) as more:
                joined = await self._divided([*self.members, more])
                name = f"a {self.kind} joins before it {end}"
                found.append(Change(name, began_s, time.time(), owners, joined))
                began_s = time.time()
                os.kill(more.pid, signal_number)
                owners = await self._divided(self.members)
                found.append(Change(f"a {self.kind} {end}", began_s, time.time(), joined, owners))
        return found

    async def _divided(self, members: Sequence[Program]) -> Owners:
        """The owners once each of the members has partitions, they have all, and keep them for a while."""
        deadline_s = time.monotonic() + LIMIT_S
        since_s = time.monotonic()
        last: dict[str, frozenset[int]] = {}
        while time.monotonic() < deadline_s:
            owners = {one.name: await asyncio.to_thread(self._owned, one) for one in members}
            if owners != last or not _all_owned(owners):
                since_s, last = time.monotonic(), owners
            elif time.monotonic() - since_s > SETTLE_S:
                return owners
            await asyncio.sleep(0.2)
        raise RuntimeError(f"the {self.kind}s did not divide the partitions within {LIMIT_S:.0f} s: {last}")

    def _owned(self, member: Program) -> frozenset[int]:
        sample = rf'^{OWNED_METRICS[self.kind]}{{partition="(\d+)"}} '
        try:
            page = http_get(member.port, "/metrics")[1]
        except OSError:
            return frozenset()
        return frozenset(map(int, re.findall(sample, page, re.MULTILINE)))


def longest_pauses(changes: Sequence[Change], moments_s: Mapping[int, Sequence[float]]) -> dict[str, float]:
    """The longest pauses by the name of the change and by what became of the partitions."""
    pauses = {}
    for change in changes:
        stayed = change.stayed()
        moved = frozenset(moments_s) - stayed
        tell(f"{change.name}: partitions {sorted(stayed)} stayed, {sorted(moved)} moved")
        pauses[f"{change.name}, partitions that stay"] = change.pause_s(moments_s, stayed)
        pauses[f"{change.name}, partitions that move"] = change.pause_s(moments_s, moved)
    return pauses


def pause_figures(
    benchmark: str, runs: Sequence[tuple[Mapping[str, float], bool]], under: Mapping[str, Any]
) -> Iterator[Figure]:
    """A figure per change and kind of partitions, of the pauses of each run and whether its outcome is right.

    Partitions that stay have a longest pause that is allowed; those that move may take longer.
    """
    correct = all(is_right for _, is_right in runs)
    for name in runs[0][0]:
        yield Figure(
            figure=f"{benchmark}: longest pause, {name}",
            values=tuple(pauses[name] for pauses, _ in runs),
            unit="s",
            target=PAUSE_S_MAX if "stay" in name else None,
            correct=correct,
            under=under,
        )


def _all_owned(owners: Owners) -> bool:
    owned = [one for each in owners.values() for one in each]
    return all(owners.values()) and sorted(owned) == list(range(PARTITIONS))
