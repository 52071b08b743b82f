"""A second reading of the rules, slow and simple, to hold the first against.

It shares no code with `metering`: it reads the JSON itself, keeps everything in plain dicts, and looks at all
packs and all calls whenever something happens. What it gives has the shape of `phonemeter rate --json`.
"""

import json
from collections.abc import Iterable
from datetime import datetime
from typing import Any, NamedTuple

DAY_MS = 86_400_000

Json = dict[str, Any]


class Outcome(NamedTuple):
    """What became of one call."""

    kind: str
    pack_id: str = ""
    cost: int = 0
    reason: str = ""


def ms(text: str) -> int:
    moment = datetime.fromisoformat(text)
    return int(moment.replace(microsecond=0).timestamp()) * 1_000 + moment.microsecond // 1_000


class Model:
    """Feed it events with `read`, then ask for `figures` or look at `outcomes`."""

    def __init__(
        self,
        *,
        billing_start_ms: int,
        trial_calls: int,
        trial_scope: str,
        allowed_lateness_ms: int,
        duplicate_window_ms: int,
    ) -> None:
        self.billing_start_ms = billing_start_ms
        self.trial_calls = trial_calls
        self.trial_scope = trial_scope
        self.allowed_lateness_ms = allowed_lateness_ms
        self.duplicate_window_ms = duplicate_window_ms
        self.tick_ms = 0
        self.arrived = 0
        self.rejected = 0
        self.apps: dict[str, Json] = {}
        self.outcomes: dict[tuple[str, int], Outcome] = {}
        """By app and place in the log."""

    def read_all(self, values: Iterable[bytes]) -> None:
        for place, value in enumerate(values):
            self.read(place, value)

    def read(self, place: int, value: bytes, arrived: int | None = None) -> None:
        """Take in one event, which arrived as it happened unless the broker's time is given."""
        try:
            event = json.loads(value)
        except ValueError:
            self.rejected += 1
            return
        time = ms(event["time"])
        self.arrived = time if arrived is None else arrived
        if event["type"] == "clock.ticked":
            self.tick_ms = max(self.tick_ms, time)
            return
        app = self.apps.get(event["subject"]) or self.new_app(event["subject"])
        now = max(app["clock"], self.tick_ms, time)
        capability = event["data"].get("capability")
        if self.seen_before(app, event["id"], now):
            if capability:
                app[capability]["duplicates"] += 1
            return
        self.apps[event["subject"]] = app
        app["clock"] = now
        app["ids"][event["id"]] = now
        self.lapse(app, now)
        if event["type"].startswith("phone.authorization."):
            self.tap(app, event, place, time, capability)
        else:
            self.manage(app, event, now, time)

    def tap(self, app: Json, event: Json, place: int, time: int, capability: str) -> None:
        outcome = event["type"].removeprefix("phone.authorization.")
        if outcome == "succeeded":
            self.call(app, event, place, time, capability)
        else:
            app[capability][outcome] += 1

    def manage(self, app: Json, event: Json, now: int, time: int) -> None:
        kind, data = event["type"], event["data"]
        if kind == "pack.purchased":
            self.buy(app, data, data["capability"], now, time)
        elif kind == "pack.refunded":
            self.refund(app, data["pack_id"], time)
        elif kind == "account.registered":
            app["exempt"] = data["entity_type"] == "government"
        elif kind == "account.alerting_set":
            self.set_alerting(app, data, time)

    def new_app(self, appid: str) -> Json:
        use = (
            "succeeded charged trial_charged free exempt uncovered denied failed duplicates amount_micro_yuan"
        )
        quotas = ["account"] if self.trial_scope == "account" else ["quick", "realtime"]
        return {
            "appid": appid,
            "clock": 0,
            "exempt": False,
            "ids": {},
            "trial": dict.fromkeys(quotas, self.trial_calls),
            "quick": dict.fromkeys(use.split(), 0) | {"packs": []},
            "realtime": dict.fromkeys(use.split(), 0) | {"packs": []},
            "uncovered": [],
        }

    def seen_before(self, app: Json, event_id: str, now: int) -> bool:
        seen = app["ids"].get(event_id)
        return seen is not None and now - seen <= self.duplicate_window_ms

    def lapse(self, app: Json, now: int) -> None:
        for pack in app["quick"]["packs"] + app["realtime"]["packs"]:
            if pack["left"] and now >= pack["expires"] + self.allowed_lateness_ms:
                pack["lapsed"] = pack["left"]
                pack["left"] = 0

    def call(self, app: Json, event: Json, place: int, time: int, capability: str) -> None:
        use = app[capability]
        use["succeeded"] += 1
        quota = "account" if self.trial_scope == "account" else capability
        if time < self.billing_start_ms:
            use["free"] += 1
            outcome = Outcome("free")
        elif app["exempt"]:
            use["exempt"] += 1
            outcome = Outcome("exempt")
        elif app["trial"][quota] > 0:
            app["trial"][quota] -= 1
            use["trial_charged"] += 1
            outcome = Outcome("trial_charge")
            self.was_charged(app, event, capability, time)
        else:
            covering = [pack for pack in use["packs"] if pack["starts"] <= time < pack["expires"]]
            charged = [pack for pack in covering if pack["left"] > 0]
            if charged:
                pack = min(charged, key=lambda each: (each["expires"], each["starts"], each["id"]))
                outcome = Outcome("charge", pack["id"], self.charge(use, pack))
                self.was_charged(app, event, capability, time)
            else:
                use["uncovered"] += 1
                app["uncovered"].append((time, place, capability))
                outcome = Outcome("uncovered", reason=why(covering))
                self.was_uncovered(app, capability, time, outcome.reason)
        self.outcomes[event["subject"], place] = outcome

    def charge(self, use: Json, pack: Json) -> int:
        before = pack["amount"]
        pack["left"] -= 1
        pack["amount"] = pack["price"] * (pack["calls"] - pack["left"]) // pack["calls"]
        cost = int(pack["amount"] - before)
        use["charged"] += 1
        use["amount_micro_yuan"] += cost
        return cost

    def buy(self, app: Json, data: Json, capability: str, now: int, recorded: int) -> None:
        if any(pack["id"] == data["pack_id"] for pack in app["quick"]["packs"] + app["realtime"]["packs"]):
            return
        starts = max(ms(data.get("starts_at") or data["paid_at"]), self.billing_start_ms)
        pack = {
            "id": data["pack_id"],
            "calls": data["calls"],
            "left": data["calls"],
            "price": data["price_micro_yuan"],
            "paid": ms(data["paid_at"]),
            "starts": starts,
            "counted": starts <= now < starts + data["validity_days"] * DAY_MS,
            "expires": starts + data["validity_days"] * DAY_MS,
            "lapsed": 0,
            "refunded": False,
            "amount": 0,
        }
        use = app[capability]
        use["packs"].append(pack)
        for call in sorted(app["uncovered"]):
            time, place, of = call
            if of == capability and pack["starts"] <= time < pack["expires"] and pack["left"]:
                app["uncovered"].remove(call)
                use["uncovered"] -= 1
                cost = self.charge(use, pack)
                self.outcomes[app["appid"], place] = Outcome("charge", pack["id"], cost, "taken_over")
                self.was_taken_over(app, capability, time, recorded)
        self.was_bought(app, capability, pack, recorded)
        self.lapse(app, now)

    def refund(self, app: Json, pack_id: str, time: int) -> None:
        for pack in app["quick"]["packs"] + app["realtime"]["packs"]:
            untouched = pack["left"] == pack["calls"]
            if pack["id"] == pack_id and untouched and time - pack["paid"] <= 7 * DAY_MS:
                pack["left"] = 0
                pack["refunded"] = True
                self.was_refunded(app, pack, time)

    def was_charged(self, app: Json, event: Json, capability: str, time: int) -> None:
        """These six are for whoever watches the model."""

    def was_uncovered(self, app: Json, capability: str, time: int, reason: str) -> None: ...

    def was_taken_over(self, app: Json, capability: str, called: int, time: int) -> None: ...

    def was_bought(self, app: Json, capability: str, pack: Json, time: int) -> None: ...

    def was_refunded(self, app: Json, pack: Json, time: int) -> None: ...

    def set_alerting(self, app: Json, data: Json, time: int) -> None: ...

    def figures(self) -> Json:
        for app in self.apps.values():
            app["clock"] = max(app["clock"], self.tick_ms)
            self.lapse(app, app["clock"])
        return {
            "apps": {appid: self.figures_of(app) for appid, app in self.apps.items()},
            "rejected": self.rejected,
        }

    def figures_of(self, app: Json) -> Json:
        trial = {"size": self.trial_calls * len(app["trial"]), "remaining": sum(app["trial"].values())}
        return {"trial": trial} | {
            capability: app[capability]
            | {
                "packs": [
                    {
                        "pack_id": pack["id"],
                        "calls": pack["calls"],
                        "remaining": pack["left"],
                        "lapsed": pack["lapsed"],
                        "status": status(pack, app["clock"]),
                        "starts": pack["starts"],
                        "expires": pack["expires"],
                        "amount_micro_yuan": pack["amount"],
                    }
                    for pack in sorted(
                        app[capability]["packs"], key=lambda p: (p["expires"], p["starts"], p["id"])
                    )
                ]
            }
            for capability in ("quick", "realtime")
        }


def why(covering: list[Json]) -> str:
    if any(pack["lapsed"] for pack in covering):
        return "too_late"
    return "exhausted" if any(not pack["refunded"] for pack in covering) else "no_pack"


def status(pack: Json, now: int) -> str:
    if pack["refunded"]:
        return "refunded"
    if pack["lapsed"]:
        return "lapsed"
    if not pack["left"]:
        return "exhausted"
    return "pending" if now < pack["starts"] else "active"
