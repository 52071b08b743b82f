"""Freshness of the figures: up to when everything that had arrived is in them.

Told by offsets, since arrival times need reading: events that had arrived when the log was looked at are
metered once the worker is behind its end of then; what it published is stored once the sink is behind the end
of the ledger's log of then.
"""

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

Offsets = Mapping[int, int]
"""By partition."""

LOOKS_MAX: Final = 1_000


@dataclass(frozen=True, slots=True)
class LogProgress:
    """One look at the logs of events and of the ledger.

    Attributes:
        at_ms: when it began.
        event_ends, ledger_ends: the ends of the logs.
        metered: the next event to meter.
        stored: the next ledger record to store.
    """

    at_ms: int
    event_ends: Offsets
    metered: Offsets
    ledger_ends: Offsets
    stored: Offsets


@dataclass(slots=True)
class Completeness:
    """Follows the looks.

    Attributes:
        until_ms: everything that had arrived by then is stored; None while that is not known.
    """

    until_ms: int | None = None
    _to_meter: deque[LogProgress] = field(default_factory=lambda: deque(maxlen=LOOKS_MAX))
    _to_store: deque[tuple[int, Offsets]] = field(default_factory=lambda: deque(maxlen=LOOKS_MAX))

    def add(self, look: LogProgress) -> None:
        """Take up a look. Those that wait longest are forgotten if there are too many."""
        for at_ms, ends in list(self._to_store):
            if _has_reached(look.stored, ends):
                self._to_store.popleft()
                self.until_ms = at_ms
            else:
                break
        self._to_meter.append(look)
        metered_until: int | None = None
        while self._to_meter and _has_reached(look.metered, self._to_meter[0].event_ends):
            metered_until = self._to_meter.popleft().at_ms
        if metered_until is None:
            return
        if _has_reached(look.stored, look.ledger_ends):
            self._to_store.clear()
            self.until_ms = metered_until
        else:
            self._to_store.append((metered_until, look.ledger_ends))


def _has_reached(offsets: Offsets, ends: Offsets) -> bool:
    return all(offsets.get(partition, 0) >= end for partition, end in ends.items())
