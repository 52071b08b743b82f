"""The expected alerts of a log, by an independent model that shares no code with `metering`.

It examines all packs, days and minutes again at every event, instead of keeping counters.
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
    """An alert or recovery; equal ones would be a duplicate."""

    appid: str
    capability: str
    kind: str
    reason: str
    time: int
    remaining: int
    pack_id: str
    details: tuple[tuple[str, Any], ...]


class AlertModel(Model):
    """The model with the expected alerts in `alerts`."""

    def __init__(
        self,
        *,
        alerting: Json | None = None,
        refusal_quiet_ms: int = 300_000,
        **parameters: Any,  # noqa: ANN401 - those of the model
    ) -> None:
        super().__init__(**parameters)
        self.refusal_quiet_ms = refusal_quiet_ms
        self.alerting = DEFAULT_ALERTING | (alerting or {})
        self.alerts: list[Alert] = []

    def finish(self) -> list[Alert]:
        """All alerts, after every app was advanced to the last tick."""
        self.figures()
        return self.alerts

    def new_app(self, appid: str) -> Json:
        app = super().new_app(appid) | {"reached": 0, "alerting": dict(self.alerting)}
        app["trial_seen"] = sum(app["trial"].values())
        for capability in ("quick", "realtime"):
            app[capability]["watch"] = Watch()
        return app

    def lapse(self, app: Json, now: int) -> None:
        """Advance the time: every start, warning and expiry on the way, in order, before any lapse."""
        due = [
            moment
            for capability in ("quick", "realtime")
            for pack in app[capability]["packs"]
            if not pack["refunded"]
            for moment in moments(capability, pack, app["alerting"]["expiry_days"])
            if app["reached"] < moment[0] <= now
        ]
        due += [
            (app[capability]["watch"].quiet_until, QUIET, capability, 0, 0, "", 0, None)
            for capability in ("quick", "realtime")
            if app["reached"] < app[capability]["watch"].quiet_until <= now
        ]
        for time, what, capability, *_, days, pack in sorted(due, key=lambda moment: moment[:-1]):
            if what == STARTS:
                pack["counted"] = True
                self.topped_up(app, capability, time)
                self.was_started(app, capability, time, time)
            elif what == QUIET:
                self.recovers(app, capability, time)
            elif what == EXPIRES:
                pack["counted"] = False
                if pack["left"]:
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
            if pack["left"]:
                self.was_started(app, capability, pack["starts"], time)
            if pack["left"] and pack["before"]:
                self.arm(app, capability)
                self.had_fallen(app, capability, time)
        if not past(app, time):
            self.fell(app, capability, time)

    def was_tapped(self, app: Json, event: Json, capability: str, time: int) -> None:
        if event["type"] == "phone.authorization.succeeded":
            self.was_granted(app, capability, time)
        elif event["type"] == "phone.authorization.failed" and event["data"].get("errno") == 1_400_001:
            self.was_refused(app, capability, time)

    def was_refused(self, app: Json, capability: str, time: int) -> None:
        watch = app[capability]["watch"]
        if not past(app, time):
            refused = min(time, self.arrived)
            watch.refusals.append(refused)
            if watch.is_refused():
                watch.quiet_since = watch.quiet_until = 0
                if not watch.told_refused:
                    watch.told_refused = True
                    remaining = self.balance(app, capability)
                    self.tell(app, capability, "alert refused", time, remaining, errno=1_400_001)
            elif watch.told_refused and refused >= watch.quiet_since:
                self.is_quiet(app, watch)

    def was_granted(self, app: Json, capability: str, time: int) -> None:
        watch = app[capability]["watch"]
        waits = watch.is_refused()
        watch.grants.append(min(time, self.arrived))
        if waits and not watch.is_refused():
            self.is_quiet(app, watch)

    def is_quiet(self, app: Json, watch: "Watch") -> None:
        """From the newest success on; the time is that of the app's clock, whatever the success has."""
        watch.quiet_since = max(watch.grants)
        watch.quiet_until = app["clock"] + self.refusal_quiet_ms

    def was_started(self, app: Json, capability: str, start: int, time: int) -> None:
        watch = app[capability]["watch"]
        watch.grants.append(min(start, self.arrived))
        if watch.told_refused and max(watch.refusals) < watch.grants[-1]:
            self.recovers(app, capability, time)

    def recovers(self, app: Json, capability: str, time: int) -> None:
        watch = app[capability]["watch"]
        if watch.told_refused:
            watch.told_refused = False
            watch.quiet_since = watch.quiet_until = 0
            self.tell(app, capability, "recovery refused", time, self.balance(app, capability))

    def was_refunded(self, app: Json, pack: Json, time: int) -> None:
        pack["counted"] = False
        for capability in ("quick", "realtime"):
            if pack in app[capability]["packs"] and not past(app, time):
                self.fell(app, capability, time)

    def was_taken_over(self, app: Json, capability: str, called: int, time: int) -> None:
        self.day_counts(app, capability, called, time)

    def was_charged(self, app: Json, event: Json, capability: str, time: int) -> None:
        quota = "account" if self.trial_scope == "account" else capability
        of_trial = sum(app["trial"].values()) < app["trial_seen"]
        if of_trial and not app[capability]["watch"].minutes:
            self.arm(app, capability)
            if app["opened"][quota][1]:
                self.had_fallen(app, capability, time)
        if self.day_counts(app, capability, time, time):
            self.minute_counts(app, capability, time, event["data"].get("client", ""))
        if app[capability]["trial_charged"]:
            self.arm(app, capability)
        app["trial_seen"] = sum(app["trial"].values())
        if not past(app, time):
            shared = of_trial and self.trial_scope == "account"
            for each in ("quick", "realtime") if shared else (capability,):
                self.fell(app, each, time)

    def was_noticed(self, app: Json, data: Json, time: int) -> None:
        if not app["exempt"] and not past(app, time):
            said = {name: data[name] for name in data if name.endswith(("_max", "_micro_yuan"))}
            left = self.balance(app, data["capability"])
            from_ms = 1_692_979_200_000
            self.tell(
                app,
                data["capability"],
                "alert charge_notice",
                time,
                left,
                **said,
                charged_from_ms=from_ms,
                name="",
            )

    def was_uncovered(self, app: Json, capability: str, time: int, reason: str) -> None:
        watch = app[capability]["watch"]
        if not watch.uncovered and not left(app, capability) and not past(app, time):
            watch.uncovered = True
            self.tell(app, capability, "alert uncovered", time, 0, why=reason)

    def set_alerting(self, app: Json, data: Json, time: int) -> None:
        app["alerting"] |= data
        for capability in ("quick", "realtime"):
            if app[capability]["packs"] or app[capability]["trial_charged"]:
                levels = app[capability]["watch"].levels
                for level in [level for level in levels if level not in app["alerting"]["levels_percent"]]:
                    del levels[level]
                for level in app["alerting"]["levels_percent"]:
                    levels.setdefault(level, "armed")
                if not past(app, time):
                    self.fell(app, capability, time)

    def was_opened(self, app: Json, capability: str, time: int, *, fewer: bool) -> None:
        app["trial_seen"] = sum(app["trial"].values())
        if fewer:
            self.topped_up(app, capability, time)
        self.had_fallen(app, capability, time)

    def arm(self, app: Json, capability: str) -> None:
        for level in app["alerting"]["levels_percent"]:
            app[capability]["watch"].levels.setdefault(level, "armed")

    def had_fallen(self, app: Json, capability: str, time: int) -> None:
        """Tell once what calls from before the log had come to."""
        levels = app[capability]["watch"].levels
        low = [level for level in levels if levels[level] == "armed" and self.low(app, capability, level)]
        for level in sorted(low):
            if level > min(low) or not past(app, time):
                levels[level] = "fired"
        if low and not past(app, time):
            self.tell_level(app, capability, "alert", time, min(low))

    def fell(self, app: Json, capability: str, time: int) -> None:
        levels = app[capability]["watch"].levels
        for level, is_now in levels.items():
            if is_now == "armed" and self.low(app, capability, level):
                levels[level] = "fired"
                self.tell_level(app, capability, "alert", time, level)

    def topped_up(self, app: Json, capability: str, time: int) -> None:
        watch = app[capability]["watch"]
        for level in app["alerting"]["levels_percent"]:
            if not self.low(app, capability, level):
                if watch.levels.get(level) == "fired":
                    self.tell_level(app, capability, "recovery", time, level)
                watch.levels[level] = "armed"
        if watch.run_out and not self.runs_out(app, capability, watch.newest_day):
            watch.run_out = False
            self.tell(app, capability, "recovery run_out", time, self.balance(app, capability))
        if watch.uncovered and left(app, capability):
            watch.uncovered = False
            self.tell(app, capability, "recovery uncovered", time, self.balance(app, capability))

    def day_counts(self, app: Json, capability: str, called: int, time: int) -> bool:
        watch = app[capability]["watch"]
        day = shanghai_day(called)
        if day > watch.newest_day:
            if day < shanghai_day(app["clock"]) - WEEK:
                return False
            watch.first_day = watch.first_day or day
            watch.newest_day = day
            if not watch.run_out and not past(app, time) and self.runs_out(app, capability, day):
                watch.run_out = True
                days, calls = recent(watch, day)
                total = self.balance(app, capability)
                self.tell(
                    app,
                    capability,
                    "alert run_out",
                    time,
                    total,
                    hours_left=total * days * 24 // calls,
                )
        watch.calls[day] += 1
        return True

    def runs_out(self, app: Json, capability: str, day: int) -> bool:
        days, calls = recent(app[capability]["watch"], day)
        total = self.balance(app, capability)
        return bool(calls and total * days < app["alerting"]["run_out_lead_days"] * calls)

    def trial_left(self, app: Json, capability: str) -> int:
        return int(app["trial"]["account" if self.trial_scope == "account" else capability])

    def balance(self, app: Json, capability: str) -> int:
        return left(app, capability) + self.trial_left(app, capability)

    def size(self, app: Json, capability: str) -> int:
        """Of all quotas that hold calls; one that is used up does not count."""
        packs = sum(pack["calls"] for pack in app[capability]["packs"] if pack["counted"] and pack["left"])
        return int(packs + (self.trial_calls if self.trial_left(app, capability) else 0))

    def low(self, app: Json, capability: str, level: int) -> bool:
        return 100 * self.balance(app, capability) <= level * self.size(app, capability)

    def minute_counts(self, app: Json, capability: str, time: int, client: str) -> None:
        watch, alerting = app[capability]["watch"], app["alerting"]
        # A clock ahead of the broker's is not trusted, though the alert has the call's time.
        counted = min(time, self.arrived)
        minute = counted // 60_000
        if watch.minutes and minute > watch.newest_minute:
            watch.leave_minute(minute, alerting)
        watch.newest_minute = max(watch.newest_minute, minute)
        watch.first_burn_day = watch.first_burn_day or shanghai_day(counted)
        remaining = self.balance(app, capability)
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
        size, balance = self.size(app, capability), self.balance(app, capability)
        self.tell(app, capability, f"{kind} level", time, balance, level_percent=level, size=size)

    def tell(
        self, app: Json, capability: str, what: str, time: int, remaining: int, **details: int | str
    ) -> None:
        kind, reason = what.split()
        pack_id = str(details.pop("pack_id", ""))
        more = tuple(sorted(details.items()))
        self.alerts.append(Alert(app["appid"], capability, kind, reason, time, remaining, pack_id, more))


class Watch:
    """The complete history of one capability."""

    def __init__(self) -> None:
        self.levels: dict[int, str] = {}
        self.calls: Counter[int] = Counter()
        self.first_day = 0
        self.newest_day = 0
        self.run_out = False
        self.uncovered = False
        self.refusals: list[int] = []
        self.grants: list[int] = []
        self.told_refused = False
        self.quiet_since = 0
        self.quiet_until = 0
        self.minutes: Counter[int] = Counter()
        self.newest_minute = 0
        self.first_burn_day = 0
        self.abnormal_minute = 0
        self.busiest_minutes: Counter[int] = Counter()
        self.clients: dict[str, int] = {}
        self.abnormal_clients: dict[str, int] = {}
        self.busiest_clients: Counter[int] = Counter()

    def is_refused(self) -> bool:
        return bool(self.refusals) and max(self.refusals) >= max(self.grants, default=0)

    def leave_minute(self, following: int, alerting: Json) -> None:
        """Close the newest minute, and perhaps its hour, with their calls up to the limits."""
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
        """Count by Misra-Gries: a known or free counter goes up; otherwise all go down."""
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


STARTS, NEARS, EXPIRES, QUIET = range(4)


def moments(capability: str, pack: Json, expiry_days: list[int]) -> list[tuple[Any, ...]]:
    """A moment at which time may raise an alert; sorts by moment, then by rank."""
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


def past(app: Json, time: int) -> bool:
    """An event that is so late that it tells nothing about now."""
    return bool(app["clock"] - time > DAY_MS)


def left(app: Json, capability: str) -> int:
    return sum(pack["left"] for pack in app[capability]["packs"] if pack["counted"])


def recent(watch: Watch, day: int) -> tuple[int, int]:
    """The number of complete days, up to seven, and their calls."""
    days = min(WEEK, day - watch.first_day)
    return days, sum(watch.calls[day - back] for back in range(1, days + 1))


def shanghai_day(time: int) -> int:
    return (time + SHANGHAI_MS) // DAY_MS


def limit(alerting: Json, name: str, usual: int) -> int:
    least = int(alerting[name])
    return max(least, (usual * int(alerting["burn_percent"]) + 99) // 100) if least else 0


def capped(calls: int, limit: int) -> int:
    return min(calls, limit) if limit else calls
