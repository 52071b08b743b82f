"""A seeded month of one app at a platform of its own, with causes of differences injected into what we hear.

The platform here shares nothing with the rules. Taps lie in slots of twenty minutes, at whose ends the
platform's counts are read, and told where they changed or once an hour. A slot has at most one injected
cause: opposite ones between two observations cancel, and nobody could tell them. What looks like a cause and
is none, as two real taps of one client, is everywhere else.
"""

import random
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from metering.ledger import Entry
from metering.partition import meter
from metering.partition_state import PartitionState
from metering.rules import Rules
from metering.times import DAY_MS, HOUR_MS, MINUTE_MS, SECOND_MS
from tests.metering.building import arrived, at, event, purchased

SLOT_MS: Final = 20 * MINUTE_MS
SLOTS_A_DAY: Final = DAY_MS // SLOT_MS
DAYS: Final = 30
TRIAL: Final = 300
RULES: Final = Rules(trial_calls=TRIAL)

MORE_THERE: Final = ("lost_callback", "exchange_failed", "code_unused")
MORE_HERE: Final = ("double_tap", "legacy", "test_build")
INJECTED: Final = (*MORE_THERE, *MORE_HERE, "lag", "late_event")


@dataclass
class PlatformPack:
    """A pack as the platform has it."""

    pack_id: str
    capability: str
    size: int
    starts_ms: int
    ends_ms: int
    recorded_ms: int | None
    """The time at which our log hears of it; None for never."""

    used: int = 0


@dataclass
class Platform:
    """The platform's own accounts: a trial quota for both capabilities, then the pack that expires first."""

    packs: list[PlatformPack]
    trial_used: int = 0

    def grant(self, capability: str, time_ms: int) -> PlatformPack | bool | None:
        """Count a call: True for one of the trial quota, the pack of one, None if nothing is left."""
        if self.trial_used < TRIAL:
            self.trial_used += 1
            return True
        fitting = self._fitting(capability, time_ms)
        if not fitting:
            return None
        pack = min(fitting, key=lambda one: (one.ends_ms, one.starts_ms, one.pack_id))
        pack.used += 1
        return pack

    def holds(self, capability: str, time_ms: int) -> bool:
        """Return whether it would grant some calls more."""
        left = sum(pack.size - pack.used for pack in self._fitting(capability, time_ms))
        return TRIAL - self.trial_used + left > 20

    def _fitting(self, capability: str, time_ms: int) -> list[PlatformPack]:
        return [
            pack
            for pack in self.packs
            if pack.capability == capability
            and pack.starts_ms <= time_ms < pack.ends_ms
            and pack.used < pack.size
        ]


@dataclass
class Month:
    """A month as our log has it, and all that was done to it."""

    entries: list[Entry] = field(default_factory=list)
    calls: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    """Injected calls by cause."""

    events: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    """Their events by cause."""

    difference: int = 0
    """Calls that the platform counts more than we do at the end."""


class MonthMaker:
    """The making of a month from a seed."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)  # noqa: S311 - a seeded month
        self._month = Month()
        self._arrivals: list[tuple[int, int, bytes]] = []
        self._number = 0
        self._published: dict[tuple[str, str], tuple[int, int]] = {}
        self._platform = Platform(
            [
                # Used up about the tenth day, before the next one is recorded.
                PlatformPack("first", "quick", 350, at(1), at(91), at(1)),
                PlatformPack("late", "quick", 500, at(8), at(98), at(12)),
                # Expires before the others and is recorded when it has been used for days.
                PlatformPack("short", "quick", 150, at(15), at(25), at(16.5)),
                PlatformPack("calm", "realtime", 5_000, at(0), at(365), at(0)),
                # Nobody tells our log of it.
                PlatformPack("untold", "quick", 5_000, at(20), at(120), None),
            ]
        )
        self._counted_late = 0

    def month(self) -> Month:
        """Make it."""
        chosen = self._random
        slots = chosen.sample(range(40, DAYS * SLOTS_A_DAY - 40, 3), 80)
        causes = {slot: INJECTED[number % len(INJECTED)] for number, slot in enumerate(slots)}
        for pack in self._platform.packs:
            if pack.recorded_ms is not None:
                told = purchased(
                    pack.recorded_ms, pack.pack_id, calls=pack.size, starts_at=pack.starts_ms,
                    days=(pack.ends_ms - pack.starts_ms) // DAY_MS, capability=pack.capability,
                    event_id=f"bought-{pack.pack_id}",
                )  # fmt: skip
                self._arrives(pack.recorded_ms, told)
        self._observe(at())
        for slot in range(DAYS * SLOTS_A_DAY):
            self._play_slot(slot, causes.get(slot), next_to_lag=causes.get(slot - 1) == "lag")
            self._observe(at() + (slot + 1) * SLOT_MS)
        self._arrivals.sort()
        records = arrived((arrives_ms, value) for arrives_ms, _, value in self._arrivals)
        metered = meter(PartitionState(0), records, RULES)
        assert not metered.dead_letters
        self._month.entries = metered.entries
        counted = sum(e.calls for e in metered.entries if e.kind in ("charge", "trial_charge"))
        used = self._platform.trial_used + sum(pack.used for pack in self._platform.packs)
        self._month.difference = used - counted
        return self._month

    def _play_slot(self, slot: int, cause: str | None, *, next_to_lag: bool) -> None:
        chosen, begin_ms = self._random, at() + slot * SLOT_MS
        hour = slot * SLOT_MS // HOUR_MS % 24
        for _ in range(chosen.randrange(4) if hour < 16 else 0):
            time_ms = begin_ms + chosen.randrange(5 * SECOND_MS, SLOT_MS - 15 * MINUTE_MS)
            self._tap(time_ms, "realtime" if chosen.random() < 0.2 else "quick")
        if cause is None and not next_to_lag and chosen.random() < 0.2:
            self._decoy(begin_ms)
        if self._counted_late:
            self._platform.grant("quick", begin_ms)
            self._counted_late = 0
        if cause is not None:
            self._inject(cause, begin_ms)

    def _inject(self, cause: str, begin_ms: int) -> None:
        chosen, month = self._random, self._month
        time_ms = begin_ms + chosen.randrange(6 * MINUTE_MS, 15 * MINUTE_MS)
        if not self._platform.holds("quick", time_ms):
            return
        is_told = begin_ms < at(20)
        if cause == "lag":
            # A tap that both count makes the platform tell its count at the end of the slot.
            self._tap(time_ms, "quick")
            self._counted_late = 1
            event_id = self._emit(begin_ms + SLOT_MS - 10 * SECOND_MS)
            month.calls[cause if is_told else "lag, untold"] += 1
            if not is_told:
                month.events["untold"].add(event_id)
        elif cause in MORE_THERE:
            for number in range(chosen.randint(1, 3)):
                self._platform.grant("quick", time_ms + number)
                month.calls[cause] += 1
                if cause != "lost_callback":
                    month.events[cause].add(self._fail_exchange(cause, time_ms + number))
        elif cause == "late_event" and is_told:
            self._platform.grant("quick", time_ms)
            arrives_ms = time_ms + chosen.randrange(3 * HOUR_MS, 8 * HOUR_MS)
            month.events[cause].add(self._emit(time_ms, arrives_ms=arrives_ms))
        elif is_told:
            self._inject_more_here(cause, time_ms)

    def _inject_more_here(self, cause: str, time_ms: int) -> None:
        month = self._month
        self._platform.grant("quick", time_ms)
        self._emit(time_ms, client=f"client-{time_ms}")
        later_ms = time_ms + 2 * SECOND_MS
        if cause == "double_tap":
            event_id = self._emit(later_ms, client=f"client-{time_ms}")
        elif cause == "legacy":
            event_id = self._emit(later_ms, source="/backend/till/legacy")
        else:
            event_id = self._emit(later_ms, env="develop")
        month.events[cause].add(event_id)
        month.calls[cause] += 1

    def _decoy(self, begin_ms: int) -> None:
        """Add something that looks like a cause, and is counted alike, or is no call on either side."""
        time_ms = begin_ms + self._random.randrange(6 * MINUTE_MS, 15 * MINUTE_MS)
        which = self._random.randrange(5)
        if which == 0:
            for later_ms in (0, 3 * SECOND_MS):
                self._tap(time_ms + later_ms, "quick", client=f"twice-{time_ms}")
        elif which == 1:
            self._tap(time_ms, "quick", env="trial")
        elif which == 2:
            self._tap(time_ms, "quick", source="/backend/till/legacy")
        elif which == 3:
            self._arrives(time_ms, self._event("phone.authorization.denied", time_ms, {"errno": 103})[1])
        else:
            self._arrives(time_ms, self._event("phone.authorization.failed", time_ms, {"errno": 104})[1])

    def _tap(
        self, time_ms: int, capability: str, *, source: str = "/tests", env: str = "release", client: str = ""
    ) -> None:
        """A tap of which both sides know."""
        pack = self._platform.grant(capability, time_ms)
        if pack is None:
            data = {"errno": 1_400_001, "capability": capability}
            self._arrives(time_ms, self._event("phone.authorization.failed", time_ms, data)[1])
            return
        event_id = self._emit(time_ms, source=source, capability=capability, env=env, client=client)
        if isinstance(pack, PlatformPack) and (pack.recorded_ms is None or time_ms < pack.recorded_ms):
            self._month.events[pack.pack_id].add(event_id)

    def _emit(
        self, time_ms: int, *, arrives_ms: int | None = None, source: str = "/tests", **data: str
    ) -> str:
        event_id, value = self._event("phone.authorization.succeeded", time_ms, data, source=source)
        self._arrives(time_ms + 200 if arrives_ms is None else arrives_ms, value)
        return event_id

    def _fail_exchange(self, cause: str, time_ms: int) -> str:
        errno, source = (40_029, "/tests") if cause == "exchange_failed" else (0, "/tests/exchange")
        event_id, value = self._event("phone.authorization.failed", time_ms, {"errno": errno}, source=source)
        self._arrives(time_ms + 200, value)
        return event_id

    def _event(
        self, kind: str, time_ms: int, data: Mapping[str, object], *, source: str = "/tests"
    ) -> tuple[str, bytes]:
        self._number += 1
        event_id = f"tap-{self._number}"
        given = {"capability": "quick", **data}
        return event_id, event(kind, time_ms, given, id=event_id, source=source)

    def _observe(self, time_ms: int) -> None:
        counts = {
            ("quick", ""): (self._platform.trial_used, TRIAL),
            ("realtime", ""): (self._platform.trial_used, TRIAL),
        }
        for pack in self._platform.packs:
            if pack.starts_ms <= time_ms:
                counts[pack.capability, pack.pack_id] = (pack.used, pack.size)
        for (capability, pack_id), (used, size) in counts.items():
            told_used, told_ms = self._published.get((capability, pack_id), (-1, 0))
            if used != told_used or time_ms - told_ms >= HOUR_MS:
                self._published[capability, pack_id] = (used, time_ms)
                data = {"capability": capability, "pack_id": pack_id, "used": used, "size": size}
                self._arrives(time_ms + 1, event("platform.usage_observed", time_ms, data))

    def _arrives(self, time_ms: int, value: bytes) -> None:
        self._arrivals.append((time_ms, len(self._arrivals), value))
