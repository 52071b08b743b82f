"""Which alerts a log has to give, by a second reading of the rules that shares no code with `metering`.

It looks at all packs, all days and all minutes again whenever something happens, instead of keeping counters.
"""

from collections import Counter
from typing import Any, NamedTuple

from tests.metering.model import DAY_MS, Json, Model

SHANGHAI_MS = 8 * 3_600_000
WEEK = 7
CLIENTS = 8

DEFAULT_ALERTING: Json = {
    "levels_percent": [20, 10, 5, 0],
    "expiry_days": [15, 7, 3, 1, 0],
    "run_out_lead_days": 7,
    "burn_minute_calls": 60,
    "burn_client_calls": 30,
    "burn_percent": 300,
}


class Alert(NamedTuple):
    """One alert or recovery; two that are equal would be one alert given twice."""

    appid: str
    capability: str
    kind: str
    reason: str
    time: int
    remaining: int
    pack_id: str
    details: tuple[tuple[str, Any], ...]


class AlertModel(Model):
    """A model that also writes down, in `alerts`, what a person has to be told."""

    def __init__(self, *, alerting: Json | None = None, **parameters: Any) -> None:  # noqa: ANN401 - those of the model
        super().__init__(**parameters)
        self.alerting = DEFAULT_ALERTING | (alerting or {})
        self.alerts: list[Alert] = []

    def finish(self) -> list[Alert]:
        """All alerts, time having passed for every app up to the last tick."""
        self.figures()
        return self.alerts

    def new_app(self, appid: str) -> Json:
        app = super().new_app(appid) | {"reached": 0, "alerting": dict(self.alerting)}
        for capability in ("quick", "realtime"):
            app[capability]["watch"] = Watch()
        return app

    def lapse(self, app: Json, now: int) -> None:
        """Time passes: every start, warning and expiry on the way, in order, before anything lapses."""
        due = [
            moment
            for capability in ("quick", "realtime")
            for pack in app[capability]["packs"]
            if not pack["refunded"]
            for moment in moments(capability, pack, app["alerting"]["expiry_days"])
            if app["reached"] < moment[0] <= now
        ]
        for time, what, capability, *_, days, pack in sorted(due, key=lambda moment: moment[:-1]):
            if what == STARTS:
                pack["counted"] = True
                self.topped_up(app, capability, time)
            elif what == EXPIRES:
                pack["counted"] = False
                self.fell(app, capability, time)
            elif time >= pack["starts"]:
                self.tell(
                    app,
                    capability,
                    "alert expiry",
                    time,
                    pack["left"],
                    pack_id=pack["id"],
                    days=days,
                    expires_at_ms=pack["expires"],
                )
        app["reached"] = max(app["reached"], now)
        super().lapse(app, now)

    def was_bought(self, app: Json, capability: str, pack: Json, time: int) -> None:
        if pack["counted"]:
            self.topped_up(app, capability, time)
        self.fell(app, capability, time)

    def was_refunded(self, app: Json, pack: Json, time: int) -> None:
        pack["counted"] = False
        for capability in ("quick", "realtime"):
            if pack in app[capability]["packs"]:
                self.fell(app, capability, time)

    def was_taken_over(self, app: Json, capability: str, called: int, time: int) -> None:
        self.day_counts(app, capability, called, time)

    def was_charged(self, app: Json, event: Json, capability: str, time: int) -> None:
        self.day_counts(app, capability, time, time)
        self.minute_counts(app, capability, time, event["data"].get("client", ""))
        self.fell(app, capability, time)

    def was_uncovered(self, app: Json, capability: str, time: int, reason: str) -> None:
        watch = app[capability]["watch"]
        if not watch.uncovered and not left(app, capability):
            watch.uncovered = True
            self.tell(app, capability, "alert uncovered", time, 0, why=reason)

    def set_alerting(self, app: Json, data: Json, time: int) -> None:
        app["alerting"] |= data
        for capability in ("quick", "realtime"):
            if app[capability]["packs"]:
                levels = app[capability]["watch"].levels
                for level in [level for level in levels if level not in app["alerting"]["levels_percent"]]:
                    del levels[level]
                for level in app["alerting"]["levels_percent"]:
                    levels.setdefault(level, "armed")
                self.fell(app, capability, time)

    def fell(self, app: Json, capability: str, time: int) -> None:
        levels = app[capability]["watch"].levels
        for level, is_now in levels.items():
            if is_now == "armed" and low(app, capability, level):
                levels[level] = "fired"
                self.tell_level(app, capability, "alert", time, level)

    def topped_up(self, app: Json, capability: str, time: int) -> None:
        watch = app[capability]["watch"]
        for level in app["alerting"]["levels_percent"]:
            if not low(app, capability, level):
                if watch.levels.get(level) == "fired":
                    self.tell_level(app, capability, "recovery", time, level)
                watch.levels[level] = "armed"
        if watch.run_out and not self.runs_out(app, capability, watch.newest_day):
            watch.run_out = False
            self.tell(app, capability, "recovery run_out", time, left(app, capability))
        if watch.uncovered and left(app, capability):
            watch.uncovered = False
            self.tell(app, capability, "recovery uncovered", time, left(app, capability))

    def day_counts(self, app: Json, capability: str, called: int, time: int) -> None:
        watch = app[capability]["watch"]
        day = shanghai_day(called)
        if day > watch.newest_day:
            watch.first_day = watch.first_day or day
            watch.newest_day = day
            if not watch.run_out and self.runs_out(app, capability, day):
                watch.run_out = True
                days, calls = recent(watch, day)
                total = left(app, capability) + self.trial_left(app, capability)
                self.tell(
                    app,
                    capability,
                    "alert run_out",
                    time,
                    total,
                    hours_left=total * days * 24 // calls,
                )
        watch.calls[day] += 1

    def runs_out(self, app: Json, capability: str, day: int) -> bool:
        days, calls = recent(app[capability]["watch"], day)
        total = left(app, capability) + self.trial_left(app, capability)
        return bool(calls and total * days < app["alerting"]["run_out_lead_days"] * calls)

    def trial_left(self, app: Json, capability: str) -> int:
        return int(app["trial"]["account" if self.trial_scope == "account" else capability])

    def minute_counts(self, app: Json, capability: str, time: int, client: str) -> None:
        watch, alerting = app[capability]["watch"], app["alerting"]
        # A clock that is ahead of the broker's is not believed, though the alert still has the call's time.
        counted = min(time, self.arrived)
        minute = counted // 60_000
        if watch.minutes and minute > watch.newest_minute:
            watch.leave_minute(minute, alerting)
        watch.newest_minute = max(watch.newest_minute, minute)
        watch.first_burn_day = watch.first_burn_day or shanghai_day(counted)
        remaining = left(app, capability) + self.trial_left(app, capability)
        if minute == watch.newest_minute:
            watch.minutes[minute] += 1
            limit = watch.minute_limit(alerting)
            if watch.minutes[minute] == limit:
                if minute - watch.abnormal_minute > 60:
                    usual = watch.usual(watch.busiest_minutes)
                    self.tell(app, capability, "alert minute_burn", time, remaining, calls=limit, usual=usual)
                watch.abnormal_minute = minute
        if client and minute // 60 == watch.newest_minute // 60:
            limit = watch.client_limit(alerting)
            if watch.client_counts(client) == limit and watch.client_begins(client):
                usual = watch.usual(watch.busiest_clients)
                self.tell(
                    app,
                    capability,
                    "alert client_burn",
                    time,
                    remaining,
                    client=client,
                    calls=limit,
                    usual=usual,
                )

    def tell_level(self, app: Json, capability: str, kind: str, time: int, level: int) -> None:
        size = sum(pack["calls"] for pack in app[capability]["packs"] if pack["counted"])
        self.tell(
            app, capability, f"{kind} level", time, left(app, capability), level_percent=level, size=size
        )

    def tell(
        self, app: Json, capability: str, what: str, time: int, remaining: int, **details: int | str
    ) -> None:
        kind, reason = what.split()
        pack_id = str(details.pop("pack_id", ""))
        more = tuple(sorted(details.items()))
        self.alerts.append(Alert(app["appid"], capability, kind, reason, time, remaining, pack_id, more))


class Watch:
    """What is remembered of one capability, for ever and in full."""

    def __init__(self) -> None:
        self.levels: dict[int, str] = {}
        self.calls: Counter[int] = Counter()
        self.first_day = 0
        self.newest_day = 0
        self.run_out = False
        self.uncovered = False
        self.minutes: Counter[int] = Counter()
        self.newest_minute = 0
        self.first_burn_day = 0
        self.abnormal_minute = 0
        self.busiest_minutes: Counter[int] = Counter()
        self.clients: dict[str, int] = {}
        self.abnormal_clients: dict[str, int] = {}
        self.busiest_clients: Counter[int] = Counter()

    def leave_minute(self, following: int, alerting: Json) -> None:
        """The newest minute is over, and perhaps its hour: note how busy they were, up to the limits."""
        day = shanghai_day(self.newest_minute * 60_000)
        calls = capped(self.minutes[self.newest_minute], self.minute_limit(alerting))
        self.busiest_minutes[day] = max(self.busiest_minutes[day], calls)
        if following // 60 > self.newest_minute // 60:
            calls = capped(max(self.clients.values(), default=0), self.client_limit(alerting))
            self.busiest_clients[day] = max(self.busiest_clients[day], calls)
            self.clients = {}
            for client, hour in list(self.abnormal_clients.items()):
                if hour < following // 60 - 1:
                    del self.abnormal_clients[client]

    def usual(self, busiest: Counter[int]) -> int:
        today = shanghai_day(self.newest_minute * 60_000)
        return max(busiest[day] for day in range(today - WEEK, today))

    def minute_limit(self, alerting: Json) -> int:
        age = shanghai_day(self.newest_minute * 60_000) - self.first_burn_day
        return limit(alerting, "burn_minute_calls", self.usual(self.busiest_minutes)) if age >= WEEK else 0

    def client_limit(self, alerting: Json) -> int:
        return limit(alerting, "burn_client_calls", self.usual(self.busiest_clients))

    def client_counts(self, client: str) -> int:
        """Misra and Gries: who is counted, or finds a free counter, counts up; else all count down."""
        if client in self.clients or len(self.clients) < CLIENTS:
            self.clients[client] = self.clients.get(client, 0) + 1
            return self.clients[client]
        for other in list(self.clients):
            self.clients[other] -= 1
            if self.clients[other] == 0:
                del self.clients[other]
        return -1

    def client_begins(self, client: str) -> bool:
        hour = self.newest_minute // 60
        if client in self.abnormal_clients:
            self.abnormal_clients[client] = hour
            return False
        if len(self.abnormal_clients) == CLIENTS:
            return False
        self.abnormal_clients[client] = hour
        return True


STARTS, NEARS, EXPIRES = range(3)


def moments(capability: str, pack: Json, expiry_days: list[int]) -> list[tuple[Any, ...]]:
    """When time does something that a person is told of; what comes first at a moment sorts first."""
    order = (pack["expires"], pack["starts"], pack["id"])
    if pack["left"] == 0:
        return [(pack["expires"], EXPIRES, capability, *order, 0, pack)]
    return [
        (pack["starts"], STARTS, capability, *order, 0, pack),
        *(
            (pack["expires"] - days * DAY_MS, NEARS, capability, *order, days, pack)
            for days in set(expiry_days)
        ),
        (pack["expires"], EXPIRES, capability, *order, 0, pack),
    ]


def left(app: Json, capability: str) -> int:
    return sum(pack["left"] for pack in app[capability]["packs"] if pack["counted"])


def low(app: Json, capability: str, level: int) -> bool:
    size = sum(pack["calls"] for pack in app[capability]["packs"] if pack["counted"])
    return bool(100 * left(app, capability) <= level * size)


def recent(watch: Watch, day: int) -> tuple[int, int]:
    """How many complete days there are to go by, up to seven, and their calls."""
    days = min(WEEK, day - watch.first_day)
    return days, sum(watch.calls[day - back] for back in range(1, days + 1))


def shanghai_day(time: int) -> int:
    return (time + SHANGHAI_MS) // DAY_MS


def limit(alerting: Json, name: str, usual: int) -> int:
    least = int(alerting[name])
    return max(least, (usual * int(alerting["burn_percent"]) + 99) // 100) if least else 0


def capped(calls: int, limit: int) -> int:
    return min(calls, limit) if limit else calls
