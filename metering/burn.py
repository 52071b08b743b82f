"""Abnormal burn: one minute, or one client in an hour, that takes far more calls than its history.

Counted are calls as they are charged, by their own time, or by that of their arrival at the broker where it
is earlier, because the client's clock is ahead. The history is the busiest minute, and the busiest
client's hour, of each of the seven days before; what went beyond the limit enters it as the limit, so that
an attack teaches at most as much as the factor allows. A minute that lies behind the newest one is not
counted, and neither is a call in an hour that is over: late calls raise nothing.
"""

from typing import Final, Protocol

from msgspec import Struct

from metering.times import DAY_MS, HOUR_MS, MINUTE_MS, SHANGHAI_OFFSET_MS

HOUR_MINUTES: Final = HOUR_MS // MINUTE_MS
_DAY_MINUTES: Final = DAY_MS // MINUTE_MS
_SHANGHAI_OFFSET_MINUTES: Final = SHANGHAI_OFFSET_MS // MINUTE_MS

HISTORY_DAYS: Final = 7
"""Days of history, so that there is one of each weekday. A minute can't be abnormal before all are known."""

CLIENTS_MAX: Final = 8
"""Clients counted at a time: one with more than a ninth of an hour's calls can't hide among the others."""

REARMED_AFTER_MINUTES: Final = 60
"""An episode of abnormal minutes is over when so many have passed without one."""


class BurnLimits(Protocol):
    """From when on burn is abnormal: what `metering.rules.Rules` says, or an app's own `Alerting`."""

    @property
    def burn_minute_calls(self) -> int:
        """Calls in a minute that alert at the least; 0 for no alerts."""

    @property
    def burn_client_calls(self) -> int:
        """The same for the calls of one client in an hour."""

    @property
    def burn_percent(self) -> int:
        """Percent of the busiest in the history that alert, if that is more."""


class Burn(Struct, array_like=True, gc=False):
    """How fast one capability of an app takes calls: at most 8 clients and 7 days are known of it.

    Attributes:
        minute: the newest minute in which a call was charged, since 1970.
        hour_ends: the minute with which the next hour begins.
        calls: calls in that minute.
        limit: calls in a minute that are abnormal; 0 if none are.
        busiest: calls of today's busiest minute so far, without the newest.
        busiest_by_day: the same of the days before, newest first.
        abnormal_minute: the newest minute that reached the limit.
        clients: calls by client in the hour of the newest minute, counted by Misra and Gries: never more
            than there were, and fewer by at most a ninth of all calls of the hour.
        client_limit: calls of a client in an hour that are abnormal; 0 if none are.
        client_busiest, client_busiest_by_day: calls of the busiest client's hour, like those of minutes.
        abnormal_clients: who reached the limit in which hour, of this and the last hour.
    """

    minute: int
    hour_ends: int
    calls: int = 0
    limit: int = 0
    busiest: int = 0
    busiest_by_day: tuple[int, ...] = ()
    abnormal_minute: int = 0
    clients: dict[str, int] = {}
    client_limit: int = 0
    client_busiest: int = 0
    client_busiest_by_day: tuple[int, ...] = ()
    abnormal_clients: tuple[tuple[str, int], ...] = ()

    @staticmethod
    def begun(minute: int, limits: BurnLimits) -> "Burn":
        """What is known at the first call."""
        burn = Burn(minute, (minute // HOUR_MINUTES + 1) * HOUR_MINUTES)
        burn.limit_by(limits)
        return burn

    @property
    def usual(self) -> int:
        """Calls of the busiest minute of the days before."""
        return max(self.busiest_by_day, default=0)

    @property
    def client_usual(self) -> int:
        """Calls of the busiest client's hour of the days before."""
        return max(self.client_busiest_by_day, default=0)

    def limit_by(self, limits: BurnLimits) -> None:
        """Work out from when on burn is abnormal; for a count that is beyond it already, from the next on."""
        percent = limits.burn_percent
        if len(self.busiest_by_day) == HISTORY_DAYS:
            self.limit = _limit(limits.burn_minute_calls, self.busiest_by_day, percent)
        self.client_limit = _limit(limits.burn_client_calls, self.client_busiest_by_day, percent)

    def turn(self, minute: int) -> bool:
        """Leave the newest minute for this one, before it is set; whether the day ends, and limits change."""
        if self.calls > self.busiest:
            self.busiest = max(self.busiest, _clipped(self.calls, self.limit))
        if minute < self.hour_ends:
            return False
        days = _day(minute) - _day(self.minute)
        self._turn_hour(minute // HOUR_MINUTES)
        if days:
            self._turn_days(days)
        return days > 0

    def begins_episode(self) -> bool:
        """Note that the newest minute reached the limit; whether none did for long before it."""
        begins = self.minute > self.abnormal_minute + REARMED_AFTER_MINUTES
        self.abnormal_minute = self.minute
        return begins

    def count_against_all(self) -> None:
        """Let a call of a client for whom there is no room count against those who are counted."""
        self.clients = {client: calls - 1 for client, calls in self.clients.items() if calls > 1}

    def begins_episode_of(self, client: str) -> bool:
        """Note that a client reached the limit in this hour; whether it did neither before nor in the last.

        Of more clients than can be noted, those beyond begin none.
        """
        others = tuple(each for each in self.abnormal_clients if each[0] != client)
        known = len(others) < len(self.abnormal_clients)
        if not known and len(others) >= CLIENTS_MAX:
            return False
        self.abnormal_clients = (*others, (client, self.minute // HOUR_MINUTES))
        return not known

    def _turn_hour(self, hour: int) -> None:
        self.hour_ends = (hour + 1) * HOUR_MINUTES
        clients = self.clients
        if clients:
            calls = max(clients.values())
            if calls > self.client_busiest:
                self.client_busiest = max(self.client_busiest, _clipped(calls, self.client_limit))
            self.clients = {}
        if self.abnormal_clients:
            self.abnormal_clients = tuple(each for each in self.abnormal_clients if each[1] >= hour - 1)

    def _turn_days(self, days: int) -> None:
        idle = (0,) * min(days - 1, HISTORY_DAYS)
        self.busiest_by_day = (*idle, self.busiest, *self.busiest_by_day)[:HISTORY_DAYS]
        self.client_busiest_by_day = (*idle, self.client_busiest, *self.client_busiest_by_day)[:HISTORY_DAYS]
        self.busiest = self.client_busiest = 0


def _limit(least: int, by_day: tuple[int, ...], percent: int) -> int:
    scaled = max(by_day, default=0) * percent
    if scaled <= least * 100:
        return least
    return -(-scaled // 100) if least else 0


def _clipped(calls: int, limit: int) -> int:
    return min(calls, limit) if limit else calls


def _day(minute: int) -> int:
    return (minute + _SHANGHAI_OFFSET_MINUTES) // _DAY_MINUTES
