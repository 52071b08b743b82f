"""Abnormal burn rates: a minute, or an hour of one client, with far more calls than in the history (rule 13).

Charged calls are counted by their own time, or by their arrival where the client's clock is ahead of it. The
history is the busiest minute, and the busiest client's hour, of each of the seven days before. Counts beyond
the limit enter it as the limit, so that an attack raises later limits by the factor at most. Calls in an
earlier minute or hour than the newest are not counted: late calls raise no alert.
"""

from typing import Final, Protocol

from msgspec import Struct

from metering.times import DAY_MS, HOUR_MS, MINUTE_MS, SHANGHAI_OFFSET_MS

HOUR_MINUTES: Final = HOUR_MS // MINUTE_MS
_DAY_MINUTES: Final = DAY_MS // MINUTE_MS
_SHANGHAI_OFFSET_MINUTES: Final = SHANGHAI_OFFSET_MS // MINUTE_MS

HISTORY_DAYS: Final = 7
"""Days of history: one of each weekday. No minute is abnormal before all are known."""

CLIENTS_MAX: Final = 8
"""Clients counted at a time: enough to find every client with more than a ninth of an hour's calls."""

REARMED_AFTER_MINUTES: Final = 60
"""Minutes without an abnormal one after which an episode is over."""


class BurnLimits(Protocol):
    """The limits of a burn rate: of `metering.rules.Rules`, or an app's own `AlertThresholds`."""

    @property
    def burn_minute_calls(self) -> int:
        """Minimum of calls in a minute that alert; 0 for no alerts."""

    @property
    def burn_client_calls(self) -> int:
        """The same for the calls of one client in an hour."""

    @property
    def burn_percent(self) -> int:
        """Percent of the busiest in the history that alert, if that is more than the minimum."""


class BurnRate(Struct, array_like=True, gc=False):
    """The burn rate of one capability of an app: how fast its calls are used.

    Attributes:
        minute: the newest minute in which a call was charged, since 1970.
        hour_ends: the first minute of the next hour.
        calls: calls in that minute.
        limit: calls in a minute that are abnormal; 0 if no number is.
        busiest: calls of the busiest minute of the day so far, without the newest minute.
        busiest_by_day: the same of the days before, newest first.
        abnormal_minute: the newest minute that reached the limit.
        clients: calls by client in the hour of the newest minute, counted by the Misra-Gries algorithm: never
            too high, and too low by at most a ninth of all calls of the hour.
        client_limit: calls of a client in an hour that are abnormal; 0 if no number is.
        client_busiest, client_busiest_by_day: calls of the busiest client's hour, like those of minutes.
        abnormal_clients: clients that reached the limit in this hour or the last, with the hour.
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
    def starting_at(minute: int, limits: BurnLimits) -> "BurnRate":
        """The burn rate before the first call, which is in this minute."""
        burn_rate = BurnRate(minute, (minute // HOUR_MINUTES + 1) * HOUR_MINUTES)
        burn_rate.set_limits(limits)
        return burn_rate

    @property
    def usual_calls(self) -> int:
        """Calls of the busiest minute of the days before."""
        return max(self.busiest_by_day, default=0)

    @property
    def client_usual_calls(self) -> int:
        """Calls of the busiest client's hour of the days before."""
        return max(self.client_busiest_by_day, default=0)

    def set_limits(self, limits: BurnLimits) -> None:
        """Compute the limits; a count that is beyond its new limit already does not alert."""
        percent = limits.burn_percent
        if len(self.busiest_by_day) == HISTORY_DAYS:
            self.limit = _limit(limits.burn_minute_calls, self.busiest_by_day, percent)
        self.client_limit = _limit(limits.burn_client_calls, self.client_busiest_by_day, percent)

    def close_minute(self, minute: int) -> bool:
        """Close the newest minute before a later one, which the caller sets; True if a new day begins."""
        if self.calls > self.busiest:
            self.busiest = max(self.busiest, _capped(self.calls, self.limit))
        if minute < self.hour_ends:
            return False
        days = _day(minute) - _day(self.minute)
        self._close_hour(minute // HOUR_MINUTES)
        if days:
            self._close_days(days)
        return days > 0

    def start_episode(self) -> bool:
        """Note that the newest minute reached the limit; True if this starts an episode."""
        begins = self.minute > self.abnormal_minute + REARMED_AFTER_MINUTES
        self.abnormal_minute = self.minute
        return begins

    def decrement_all(self) -> None:
        """Count a call of a client that does not fit, as Misra-Gries does: by decrementing all others."""
        self.clients = {client: calls - 1 for client, calls in self.clients.items() if calls > 1}

    def start_client_episode(self, client: str) -> bool:
        """Note that a client reached the limit in this hour; True if this starts an episode.

        Clients beyond `CLIENTS_MAX` start none.
        """
        others = tuple(each for each in self.abnormal_clients if each[0] != client)
        known = len(others) < len(self.abnormal_clients)
        if not known and len(others) >= CLIENTS_MAX:
            return False
        self.abnormal_clients = (*others, (client, self.minute // HOUR_MINUTES))
        return not known

    def _close_hour(self, hour: int) -> None:
        self.hour_ends = (hour + 1) * HOUR_MINUTES
        clients = self.clients
        if clients:
            calls = max(clients.values())
            if calls > self.client_busiest:
                self.client_busiest = max(self.client_busiest, _capped(calls, self.client_limit))
            self.clients = {}
        if self.abnormal_clients:
            self.abnormal_clients = tuple(each for each in self.abnormal_clients if each[1] >= hour - 1)

    def _close_days(self, days: int) -> None:
        idle = (0,) * min(days - 1, HISTORY_DAYS)
        self.busiest_by_day = (*idle, self.busiest, *self.busiest_by_day)[:HISTORY_DAYS]
        self.client_busiest_by_day = (*idle, self.client_busiest, *self.client_busiest_by_day)[:HISTORY_DAYS]
        self.busiest = self.client_busiest = 0


def _limit(least: int, by_day: tuple[int, ...], percent: int) -> int:
    scaled = max(by_day, default=0) * percent
    if scaled <= least * 100:
        return least
    return -(-scaled // 100) if least else 0


def _capped(calls: int, limit: int) -> int:
    return min(calls, limit) if limit else calls


def _day(minute: int) -> int:
    return (minute + _SHANGHAI_OFFSET_MINUTES) // _DAY_MINUTES
