"""An independent model of the rules, slow and simple, to compare the rules with.

It shares no code with `metering`: it parses the JSON itself, keeps everything in plain dicts, and examines
all packs and calls at every event. Its results have the shape of `phonemeter rate --json`.
"""

import json
from collections.abc import Iterable
from datetime import datetime
from typing import Any, NamedTuple

DAY_MS = 86_400_000

Json = dict[str, Any]


class Outcome(NamedTuple):
    """The outcome of one call."""

    kind: str
    pack_id: str = ""
    cost: int = 0
    reason: str = ""


def ms(text: str) -> int:
    moment = datetime.fromisoformat(text)
    return int(moment.replace(microsecond=0).timestamp()) * 1_000 + moment.microsecond // 1_000


class Model:
    """The model: feed it with `read`, then compare `figures` or `outcomes`."""

    def __init__(
        self,
        *,
        billing_start_ms: int,
        trial_calls: int,
        trial_scope: str,
        allowed_lateness_ms: int,
        duplicate_window_ms: int,
        remembered_ids_max: int = 2_500_000,
        chunk_ids: int = 512,
        in_order: bool = False,
    ) -> None:
        self.billing_start_ms = billing_start_ms
        self.trial_calls = trial_calls
        self.trial_scope = trial_scope
        self.allowed_lateness_ms = allowed_lateness_ms
        self.duplicate_window_ms = duplicate_window_ms
        self.remembered_ids_max = remembered_ids_max
        self.chunk_ids = chunk_ids
        self.in_order = in_order
        """True if facts come in the order of their effective time, and are decided as settlements would."""
        self.seen: list[tuple[str, str, int]] = []
        """Apps, ids and times, of which the first `forgotten` are forgotten."""
        self.seen_at: dict[tuple[str, str], int] = {}
        """The last place of an app's id in `seen`."""
        self.forgotten = 0
        self.tick_ms = 0
        self.arrived = 0
        self.rejected = 0
        self.apps: dict[str, Json] = {}
        self.outcomes: dict[tuple[str, int], Outcome] = {}
        """By app and offset."""

    def read_all(self, values: Iterable[bytes]) -> None:
        for place, value in enumerate(values):
            self.read(place, value)

    def read(self, place: int, value: bytes, arrived: int | None = None) -> None:
        """Meter one event, which arrived at its own time unless the broker's time is given."""
        try:
            event = json.loads(value)
        except ValueError:
            self.rejected += 1
            return
        time = ms(event["time"])
        self.arrived = time if arrived is None else arrived
        if event["type"] == "clock.ticked":
            self.tick(time)
            return
        app = self.apps.get(event["subject"]) or self.new_app(event["subject"])
        now = max(app["clock"], self.tick_ms, time)
        capability = event["data"].get("capability")
        self.forget_too_many()
        identity = event["subject"], event["id"]
        if self.seen_at.get(identity, -1) >= self.forgotten:
            if capability:
                app[capability]["duplicates"] += 1
            return
        horizon = max((when for _, _, when in self.seen[: self.forgotten]), default=0)
        if time <= horizon and event.get("beyondhorizon") != "count":
            self.rejected += 1
            return
        self.apps[event["subject"]] = app
        app["clock"] = now
        self.seen_at[identity] = len(self.seen)
        self.seen.append((*identity, now))
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
        self.was_tapped(app, event, capability, time)

    def manage(self, app: Json, event: Json, now: int, time: int) -> None:
        kind, data = event["type"], event["data"]
        if kind in {"pack.purchased", "pack.assigned"}:
            if kind == "pack.assigned":
                data = {**data, "paid_at": data.get("assigned_at") or event["time"], "assigned": True}
            self.buy(app, data, data["capability"], now, time)
        elif kind in {"pack.refunded", "pack.assignment_cancelled"}:
            self.refund(app, data["pack_id"], time, now, platform=data.get("by") == "platform")
        elif kind == "account.registered":
            if (time, event["id"]) >= app["registered"]:
                app |= {
                    "exempt": data["entity_type"] == "government",
                    "registered": (time, event["id"]),
                }
        elif kind == "account.opened":
            self.open(app, data, time)
        elif kind == "platform.usage_observed" and data.get("covers") != "capability":
            self.observe(app, data, data["capability"], time, now)
        elif kind == "account.alerting_set":
            self.set_alerting(app, data, time)
        elif kind == "account.charge_notice_requested":
            self.was_noticed(app, data, time)

    def new_app(self, appid: str) -> Json:
        calls = "succeeded charged trial_charged free exempt uncovered corrected"
        use = f"{calls} denied failed duplicates amount_micro_yuan"
        quotas = ["account"] if self.trial_scope == "account" else ["quick", "realtime"]
        return {
            "appid": appid,
            "clock": 0,
            "exempt": False,
            "registered": (-1, ""),
            "trial": dict.fromkeys(quotas, self.trial_calls),
            "opened": dict.fromkeys(quotas, (-1, 0)),
            "counts": {},
            "quick": dict.fromkeys(use.split(), 0) | {"packs": []},
            "realtime": dict.fromkeys(use.split(), 0) | {"packs": []},
            "uncovered": [],
            "early": {},
        }

    def tick(self, time: int) -> None:
        if time <= self.tick_ms:
            return
        self.tick_ms = time
        for app in self.apps.values():
            app["clock"] = max(app["clock"], time)
            self.lapse(app, app["clock"])
        self.forget_too_many()
        while len(self.seen) >= self.forgotten + self.chunk_ids:
            oldest = self.seen[self.forgotten : self.forgotten + self.chunk_ids]
            if any(time - when <= self.duplicate_window_ms for _, _, when in oldest):
                break
            self.forgotten += self.chunk_ids

    def forget_too_many(self) -> None:
        while len(self.seen) - self.remembered_ids_max >= self.forgotten + self.chunk_ids:
            self.forgotten += self.chunk_ids

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
        pack["left"] -= 1
        pack["taken"] += 1
        number = int(pack["calls"] - pack["left"])
        price, size = int(pack["price"]), int(pack["calls"])
        cost = price * number // size - price * (number - 1) // size
        pack["amount"] += cost
        use["charged"] += 1
        use["amount_micro_yuan"] += cost
        return cost

    def buy(self, app: Json, data: Json, capability: str, now: int, recorded: int) -> None:
        known = [
            pack for pack in app["quick"]["packs"] + app["realtime"]["packs"] if pack["id"] == data["pack_id"]
        ]
        if known and not (self.in_order and is_assigned_again(known[0], data)):
            return
        for use in (app["quick"], app["realtime"]):
            use["packs"] = [pack for pack in use["packs"] if pack not in known]
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
            "here": ms(data["paid_at"]) if data.get("assigned") else 0,
            "refunded": False,
            "taken": 0,
            "amount": 0,
            "before": 0,
        }
        use = app[capability]
        use["packs"].append(pack)
        stated = (recorded, data["used_before"], capability) if data.get("used_before") else (-1, 0, "")
        told = max(stated, app["counts"].pop(pack["id"], (-1, 0, "")), key=lambda count: count[:2])
        if told == stated or told[2] == capability:
            pack["opened"] = told[:2]
            pack["before"] = min(told[1], pack["calls"])
        else:
            pack["opened"] = stated[:2]
            pack["before"] = min(stated[1], pack["calls"])
        pack["left"] -= pack["before"]
        taken_back = self.waiting_refund(app, pack, capability)
        if pack["refunded"]:
            return
        self.take_over(app, pack, capability, recorded, taken_back)
        if taken_back is None:
            self.was_bought(app, capability, pack, recorded)
            self.lapse(app, now)
            return
        if taken_back >= pack["expires"] + self.allowed_lateness_ms:
            pack["lapsed"] = pack["left"]
        pack |= {"left": 0, "refunded": True, "refunded_at": taken_back}
        self.was_refunded(app, pack, recorded)

    def waiting_refund(self, app: Json, pack: Json, capability: str) -> int | None:
        """Decide the refunds that waited for a pack: return the time of one by the platform that is given."""
        waiting: list[tuple[int, bool]] = [
            (time, platform)
            for (name, platform), time in app["early"].items()
            if name == pack["id"] and time >= pack["here"]
        ]
        for _, platform in waiting:
            del app["early"][pack["id"], platform]
        for refund, platform in sorted(waiting):
            if platform:
                return refund
            if self.gives_back(app, pack, capability, refund):
                pack |= {"left": 0, "refunded": True, "refunded_at": refund, "counted": False}
                return None
        return None

    def take_over(self, app: Json, pack: Json, capability: str, recorded: int, before: int | None) -> None:
        use = app[capability]
        for call in sorted(app["uncovered"]):
            time, place, of = call
            if before is not None and time >= before:
                continue
            if of == capability and pack["starts"] <= time < pack["expires"] and pack["left"]:
                app["uncovered"].remove(call)
                use["uncovered"] -= 1
                cost = self.charge(use, pack)
                self.outcomes[app["appid"], place] = Outcome("charge", pack["id"], cost, "taken_over")
                self.was_taken_over(app, capability, time, recorded)

    def gives_back(self, app: Json, pack: Json, capability: str, refund: int) -> bool:
        """Return whether a refund from before the purchase was recorded is given, as of its own time."""
        used = any(
            of == capability and pack["starts"] <= time < min(refund, pack["expires"])
            for time, _, of in app["uncovered"]
        )
        lapsed = refund >= pack["expires"] + self.allowed_lateness_ms
        return not used and not pack["before"] and not lapsed and refund - pack["paid"] <= 7 * DAY_MS

    def refund(self, app: Json, pack_id: str, time: int, now: int, *, platform: bool) -> None:
        packs = app["quick"]["packs"] + app["realtime"]["packs"]
        packs = [pack for pack in packs if time >= pack["here"]]
        if all(pack["id"] != pack_id for pack in packs):
            key = (pack_id, platform)
            app["early"][key] = min(time, app["early"].get(key, time))
        for pack in packs:
            if pack["id"] != pack_id or pack["refunded"]:
                continue
            untouched = pack["left"] == pack["calls"]
            if platform or (untouched and time - pack["paid"] <= 7 * DAY_MS):
                if time < pack["expires"] + self.allowed_lateness_ms <= now:
                    pack["lapsed"] = 0
                pack |= {"left": 0, "refunded": True, "refunded_at": time}
                self.was_refunded(app, pack, time)

    def open(self, app: Json, data: Json, time: int) -> None:
        """Take what a person says was used of a trial quota before this log."""
        quota = "account" if self.trial_scope == "account" else data.get("capability")
        used = data["trial_used"]
        if quota is None or (time, used) < app["opened"][quota]:
            return
        if used - app["opened"][quota][1] <= app["trial"][quota]:
            self.opens(app, quota, used, time)

    def observe(self, app: Json, data: Json, capability: str, time: int, now: int) -> None:
        """Take a count of the platform for what was used before this log, if that has no call of it yet."""
        packs = app["quick"]["packs"] + app["realtime"]["packs"]
        name = data.get("pack_id", "")
        if app[capability]["succeeded"]:
            return
        if not name:
            quota = "account" if self.trial_scope == "account" else capability
            used = min(data["used"], self.trial_calls)
            untouched = app["trial"][quota] + app["opened"][quota][1] == self.trial_calls
            if untouched and (time, used) > app["opened"][quota]:
                self.opens(app, quota, used, time)
        elif all(pack["id"] != name for pack in packs):
            known = app["counts"].get(name, (-1, 0, ""))
            app["counts"][name] = max(known, (time, data["used"], capability), key=lambda count: count[:2])
        else:
            self.observe_pack(app, name, data["used"], capability, time, now)

    def observe_pack(self, app: Json, name: str, count: int, capability: str, time: int, now: int) -> None:
        for pack in app[capability]["packs"]:
            used = min(count, pack["calls"])
            untouched = pack["left"] + pack["before"] == pack["calls"]
            gone = pack["refunded"] or pack["lapsed"] or (not pack["left"] and now >= pack["expires"])
            if pack["id"] == name and untouched and not gone and (time, used) > pack["opened"]:
                fewer = used < pack["before"]
                pack |= {"opened": (time, used), "before": used, "left": pack["calls"] - used}
                self.was_opened(app, capability, time, fewer=fewer)

    def opens(self, app: Json, quota: str, used: int, time: int) -> None:
        fewer = used < app["opened"][quota][1]
        app["trial"][quota] -= used - app["opened"][quota][1]
        app["opened"][quota] = (time, used)
        for capability in ("quick", "realtime") if quota == "account" else (quota,):
            self.was_opened(app, capability, time, fewer=fewer)

    def was_opened(self, app: Json, capability: str, time: int, *, fewer: bool) -> None:
        """Hook for subclasses, like the others below."""

    def was_charged(self, app: Json, event: Json, capability: str, time: int) -> None:
        """Hook for subclasses."""

    def was_tapped(self, app: Json, event: Json, capability: str, time: int) -> None: ...

    def was_noticed(self, app: Json, data: Json, time: int) -> None: ...

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
        trial = {
            "size": self.trial_calls * len(app["trial"]),
            "remaining": sum(app["trial"].values()),
            "used_before": sum(used for _, used in app["opened"].values()),
        }
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
                        "used_before": pack["before"],
                    }
                    for pack in sorted(
                        app[capability]["packs"], key=lambda p: (p["expires"], p["starts"], p["id"])
                    )
                ]
            }
            for capability in ("quick", "realtime")
        }


def is_assigned_again(known: Json, data: Json) -> bool:
    """Return whether a pack was given back untouched before it is assigned (rule 16)."""
    was_given_back = known["refunded"] and not known["taken"] and not known["before"]
    return bool(data.get("assigned") and was_given_back and known["refunded_at"] <= ms(data["paid_at"]))


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
