"""Builders of events for back ends: checked CloudEvents as dicts, ready to publish.

Each raises `RefusedError` for a value that the metering would not accept. The names of `__all__` are from
other modules, to be found here as well.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Literal

from metering.events import CLOCK_KEY, Capability, PriceBasis
from metering.routing_policy import RoutingMode, StaleAnswer
from producers.cloud_events import SOURCE, CloudEvent, cloud_event, named_id, refusal, to_json
from producers.cloud_events import checked_event as _event
from producers.cloud_events import timestamp as _timestamp
from producers.tap_events import (
    ERRNO_DENIED,
    ERRNO_QUOTA_EXHAUSTED,
    authorization_decrypted,
    authorization_denied,
    authorization_failed,
    authorization_succeeded,
    client_hash,
    event_id,
)

__all__ = [
    "ERRNO_DENIED",
    "ERRNO_QUOTA_EXHAUSTED",
    "SOURCE",
    "CloudEvent",
    "authorization_decrypted",
    "authorization_denied",
    "authorization_failed",
    "authorization_succeeded",
    "client_hash",
    "cloud_event",
    "event_id",
    "named_id",
    "refusal",
    "to_json",
]


def pack_purchased(
    *,
    appid: str,
    pack_id: str,
    capability: Capability,
    calls: int,
    validity_days: int,
    price_micro_yuan: int,
    paid_at: datetime,
    order_id: str = "",
    starts_at: datetime | None = None,
    price_basis: PriceBasis = "paid",
    used_before: int = 0,
    time: datetime | None = None,
    source: str = SOURCE,
) -> CloudEvent:
    """A pack was bought.

    Args:
        appid: the mini-program that owns it.
        pack_id: the platform's name of the pack.
        capability: the capability it serves.
        calls: its size.
        validity_days: 90, 180 or 365 on the platform.
        price_micro_yuan: what was paid, in micro-yuan: an integer (¥7.5 is 7,500,000).
        paid_at: when it was paid, with a zone.
        order_id: the order that bought it.
        starts_at: when it begins, if an agency assigned it to begin later.
        price_basis: where the price is from; `unknown` with a price of 0.
        used_before: how many of its calls were used before the first event was published.
        time: when this is recorded; `paid_at` unless given.
        source: the name of your back end.
    """
    data: dict[str, Any] = {
        "pack_id": pack_id,
        "order_id": order_id,
        "capability": capability,
        "calls": calls,
        "validity_days": validity_days,
        "price_micro_yuan": price_micro_yuan,
        "paid_at": _timestamp(paid_at),
    }
    if starts_at is not None:
        data["starts_at"] = _timestamp(starts_at)
    if price_basis != "paid":
        data["price_basis"] = price_basis
    if used_before:
        data["used_before"] = used_before
    kind = "pack.purchased"
    return _event(kind, named_id(kind, appid, pack_id), appid, time or paid_at, source=source, data=data)


def pack_assigned(
    *,
    appid: str,
    pack_id: str,
    capability: Capability,
    calls: int,
    validity_days: int,
    price_micro_yuan: int,
    assigned_at: datetime,
    paid_at: datetime | None = None,
    order_id: str = "",
    starts_at: datetime | None = None,
    price_basis: PriceBasis = "paid",
    used_before: int = 0,
    time: datetime | None = None,
    source: str = SOURCE,
) -> CloudEvent:
    """An agency assigned a pack to an app.

    Args:
        appid: the mini-program that has it from then on.
        pack_id: the platform's name of the pack.
        capability: the capability it serves.
        calls: its size.
        validity_days: 90, 180 or 365 on the platform.
        price_micro_yuan: what the agency paid or charges for it, in micro-yuan.
        assigned_at: when it was assigned, with a zone; the 7 days of a cancellation count from then.
        paid_at: when the agency paid it; `assigned_at` where that is not known.
        order_id: the order that bought it.
        starts_at: when it begins, if not with its assignment.
        price_basis: where the price is from; `unknown` with a price of 0.
        used_before: how many of its calls this app used before the first event was published.
        time: when this is recorded; `assigned_at` unless given.
        source: the name of your back end.
    """
    bought = pack_purchased(
        appid=appid,
        pack_id=pack_id,
        capability=capability,
        calls=calls,
        validity_days=validity_days,
        price_micro_yuan=price_micro_yuan,
        paid_at=paid_at or assigned_at,
        order_id=order_id,
        starts_at=starts_at,
        price_basis=price_basis,
        used_before=used_before,
        source=source,
    )
    at = _timestamp(assigned_at)
    kind, data = "pack.assigned", {**bought["data"], "assigned_at": at}
    return _event(
        kind, named_id(kind, appid, pack_id, at), appid, time or assigned_at, source=source, data=data
    )


def pack_refunded(
    *,
    appid: str,
    pack_id: str,
    time: datetime,
    by: Literal["owner", "platform"] = "owner",
    source: str = SOURCE,
) -> CloudEvent:
    """A refund of a pack was asked for at `time`; `by="platform"`: the platform took the pack back then."""
    return _given_back("pack.refunded", appid, pack_id, time, by, source)


def pack_assignment_cancelled(
    *,
    appid: str,
    pack_id: str,
    time: datetime,
    by: Literal["owner", "platform"] = "owner",
    source: str = SOURCE,
) -> CloudEvent:
    """The cancellation of an assignment was asked for at `time`; `by="platform"`: it was done then."""
    return _given_back("pack.assignment_cancelled", appid, pack_id, time, by, source)


def _given_back(kind: str, appid: str, pack_id: str, time: datetime, by: str, source: str) -> CloudEvent:
    data, names = {"pack_id": pack_id}, [kind, appid, pack_id, _timestamp(time)]
    if by != "owner":
        data["by"] = by
        names.append(by)
    return _event(kind, named_id(*names), appid, time, source=source, data=data)


def account_registered(
    *,
    appid: str,
    entity_type: str,
    time: datetime,
    name: str = "",
    category: str = "",
    source: str = SOURCE,
) -> CloudEvent:
    """The owner of an app from `time` on, who decides whether it is exempt (rule 9)."""
    kind = "account.registered"
    data = {"name": name, "entity_type": entity_type, "category": category}
    return _event(kind, named_id(kind, appid, _timestamp(time)), appid, time, source=source, data=data)


def account_opened(
    *,
    appid: str,
    trial_used: int,
    time: datetime,
    capability: Capability | None = None,
    source: str = SOURCE,
) -> CloudEvent:
    """An app that is in use already is taken up: calls of its trial quota were used before (rule 16).

    Args:
        appid: the mini-program.
        trial_used: how many calls of the trial quota were used before the first event was published.
        time: the moment as of which that was so.
        capability: needed where each capability has a trial quota of its own (`trial_scope`).
        source: the name of your back end.
    """
    kind = "account.opened"
    data: dict[str, Any] = {"trial_used": trial_used}
    if capability is not None:
        data["capability"] = capability
    identifier = named_id(kind, appid, capability or "", str(trial_used), _timestamp(time))
    return _event(kind, identifier, appid, time, source=source, data=data)


def fact_corrected(
    *,
    appid: str,
    event_id: str,
    time: datetime,
    void: bool = False,
    changed: Mapping[str, object] | None = None,
    note: str = "",
    correction_id: str = "",
    source: str = SOURCE,
) -> CloudEvent:
    """An earlier fact of the app was wrong: it is void, or some of its fields are others (rule 15).

    Args:
        appid: the mini-program.
        event_id: the id of the fact, which may be a correction as well: the whole id, as it was published.
        time: the moment of the correction; of several of one fact the later one counts.
        void: the fact never was.
        changed: the fields of its data as they should have been, and its `time`; moments with a zone.
        note: why, for people.
        correction_id: an id of your own, under which it may be sent again; the same fact, fields and time
            have the same one otherwise.
        source: the name of your back end.
    """
    kind = "fact.corrected"
    fields = {
        name: _timestamp(value) if isinstance(value, datetime) else value
        for name, value in sorted((changed or {}).items())
    }
    data: dict[str, Any] = {"event_id": event_id}
    if void:
        data["void"] = True
    if fields:
        data["set"] = fields
    if note:
        data["note"] = note
    told = to_json(dict(fields)).decode() if fields else "void"
    identifier = correction_id or named_id(kind, appid, event_id, told, _timestamp(time))
    return _event(kind, identifier, appid, time, source=source, data=data)


def account_migrated(*, appid: str, to: str, time: datetime, source: str = SOURCE) -> CloudEvent:
    """An app has another appid from `time` on: what its packs and its trial quota hold leaves it (rule 16).

    `phonemeter migrate` also carries it over to the other app.
    """
    kind = "account.migrated"
    return _event(kind, named_id(kind, appid, to), appid, time, source=source, data={"to": to})


def account_alerting_set(
    *,
    appid: str,
    time: datetime,
    levels_percent: Sequence[int] | None = None,
    expiry_days: Sequence[int] | None = None,
    run_out_lead_days: int | None = None,
    burn_minute_calls: int | None = None,
    burn_client_calls: int | None = None,
    burn_percent: int | None = None,
    source: str = SOURCE,
) -> CloudEvent:
    """An app's own alert thresholds; what is not given stays as it is."""
    kind = "account.alerting_set"
    given: dict[str, Any] = {
        "levels_percent": None if levels_percent is None else list(levels_percent),
        "expiry_days": None if expiry_days is None else list(expiry_days),
        "run_out_lead_days": run_out_lead_days,
        "burn_minute_calls": burn_minute_calls,
        "burn_client_calls": burn_client_calls,
        "burn_percent": burn_percent,
    }
    data = {name: value for name, value in given.items() if value is not None}
    return _event(kind, named_id(kind, appid, _timestamp(time)), appid, time, source=source, data=data)


def account_agreement_set(
    *, appid: str, policy: Literal["report", "follow"], time: datetime, source: str = SOURCE
) -> CloudEvent:
    """An app's policy on differences to WeChat's count that stay: show them, or book them as well."""
    kind = "account.agreement_set"
    identifier = named_id(kind, appid, policy, _timestamp(time))
    return _event(kind, identifier, appid, time, source=source, data={"policy": policy})


def account_charge_notice_requested(
    *,
    appid: str,
    capability: Capability,
    monthly_calls_max: int,
    price_min_micro_yuan: int,
    price_max_micro_yuan: int,
    charged_from: datetime,
    time: datetime,
    name: str = "",
    source: str = SOURCE,
) -> CloudEvent:
    """A charge notice to the owner of an app, which the notifier sends by the routes of alerts (rule 21).

    Args:
        appid: the app.
        capability: the capability that is charged.
        monthly_calls_max: the recent use in words: so many calls a month at most.
        price_min_micro_yuan: the least price of a successful call.
        price_max_micro_yuan: the highest one.
        charged_from: the start of charging.
        time: the moment of the request; one that arrives more than a day later is not sent.
        name: the app's name.
        source: the name of your back end.
    """
    kind = "account.charge_notice_requested"
    data: dict[str, Any] = {
        "capability": capability,
        "monthly_calls_max": monthly_calls_max,
        "price_min_micro_yuan": price_min_micro_yuan,
        "price_max_micro_yuan": price_max_micro_yuan,
        "charged_from": _timestamp(charged_from),
    }
    if name:
        data["name"] = name
    identifier = named_id(kind, appid, to_json(data).decode(), _timestamp(time))
    return _event(kind, identifier, appid, time, source=source, data=data)


def account_routing_set(
    *,
    appid: str,
    capability: Capability,
    time: datetime,
    mode: RoutingMode | None = None,
    reserve_calls: int | None = None,
    lead_minutes: int | None = None,
    sms_left: int | None = None,
    ask_known_members: bool | None = None,
    store_budgets: Mapping[str, int] | None = None,
    when_stale: StaleAnswer | None = None,
    refusal_pause_s: int | None = None,
    source: str = SOURCE,
) -> CloudEvent:
    """The routing policy of an app, to WeChat or elsewhere (rule 20); what is not given stays as it is.

    Args:
        appid: the app.
        capability: the capability that it is about.
        time: the moment from which it holds.
        mode: a fixed answer, or `balance`.
        reserve_calls: calls left at which nobody is sent to WeChat any more.
        lead_minutes: a run-out nearer than this sends nobody either; 0 turns it off.
        sms_left: short messages that can still be sent.
        ask_known_members: whether members whose number is on file are asked, too.
        store_budgets: calls a day by store, in place of all before; the empty store is each other one.
        when_stale: the answer while what is known of the balance is stale.
        refusal_pause_s: seconds after a refusal by WeChat in which nobody is sent to it.
        source: the name of your back end.
    """
    kind = "account.routing_set"
    budgets = None
    if store_budgets is not None:
        budgets = [{"store": store, "calls": calls} for store, calls in sorted(store_budgets.items())]
    given: dict[str, Any] = {
        "capability": capability,
        "mode": mode,
        "reserve_calls": reserve_calls,
        "lead_minutes": lead_minutes,
        "sms_left": sms_left,
        "ask_known_members": ask_known_members,
        "store_budgets": budgets,
        "when_stale": when_stale,
        "refusal_pause_s": refusal_pause_s,
    }
    data = {name: value for name, value in given.items() if value is not None}
    identifier = named_id(kind, appid, to_json(data).decode(), _timestamp(time))
    return _event(kind, identifier, appid, time, source=source, data=data)


def usage_observed(
    *,
    appid: str,
    capability: Capability,
    time: datetime,
    used: int,
    size: int,
    pack_id: str = "",
    source: str = SOURCE,
) -> CloudEvent:
    """The count of the platform's usage interface for one pack, or for the trial if `pack_id` is empty."""
    kind = "platform.usage_observed"
    identifier = named_id(kind, appid, capability, pack_id, _timestamp(time))
    data = {"capability": capability, "pack_id": pack_id, "used": used, "size": size}
    return _event(kind, identifier, appid, time, source=source, data=data)


def clock_ticked(*, time: datetime, source: str = SOURCE) -> CloudEvent:
    """Time passed for every app; the producer sends it to every partition."""
    kind = "clock.ticked"
    return _event(kind, named_id(kind, _timestamp(time)), CLOCK_KEY, time, source=source, data=None)
