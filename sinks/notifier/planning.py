"""The next steps for the deliveries of an owned partition, decided from their state and the time. Pure."""

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from typing import Final, NamedTuple

import msgspec

from metering.alerts import RECIPIENT
from metering.times import DAY_MS, SECOND_MS
from sinks.notifier.deliveries import Deliveries
from sinks.notifier.records import (
    FINAL_STATES,
    Delivery,
    DeliveryRequest,
    RouteState,
    State,
    delivery_id_of,
)
from sinks.notifier.routes import ChannelName, Route
from sinks.notifier.schedule import Policy, next_attempt_ms

CONCURRENT_ATTEMPTS_MAX: Final[Mapping[ChannelName, int]] = {"webhook": 8}
"""Attempts of a route that may be under way at the same time; one for every other channel."""

MESSAGE_INTERVAL_MS: Final[Mapping[ChannelName, int]] = {
    "wecom": 3_000,
    "dingtalk": 3_000,
    "feishu": 3_000,
    "slack": 1_000,
}
"""Interval between two messages of a route: these robots take twenty a minute, Slack one a second."""

MESSAGE_ALERTS_MAX: Final = 50
"""Alerts in one message."""

HELD_DELAY_MS: Final = 2 * SECOND_MS
"""Delay of held messages, since a request from just before their time may be read just after it."""

STALE_AFTER_MS: Final = 3 * SECOND_MS
"""Age at which the record of an attempt no longer lets it begin: its notifier may be a zombie."""

UNKNOWN_RECIPIENT_MS: Final = 60 * SECOND_MS
"""Time for which a delivery to an unknown recipient waits: another notifier may know it already."""

RETENTION_MS: Final = 400 * DAY_MS
"""Age at which records of finished deliveries are removed: an alert so old is not published again."""


class AttemptLimits(NamedTuple):
    """The pauses between attempts, and the longest duration of one in milliseconds."""

    policy: Policy
    timeout_ms: int


class AttemptOutcome(NamedTuple):
    """The outcome of an attempt; `gone` means that the receiver wants no messages any more."""

    delivered: bool
    reason: str
    retry_after_ms: int | None = None
    gone: bool = False


def attempts_to_begin(
    deliveries: Deliveries,
    routes: Mapping[str, Route],
    under_way: Mapping[str, int],
    last_began_ms: Mapping[str, int],
    now_ms: int,
) -> Iterator[Delivery]:
    """The attempts to begin now, given the attempts under way and the last beginning of one, by route."""
    began = Counter(under_way)
    for delivery in _due_attempts(deliveries, routes, now_ms):
        name, route = delivery.route, routes.get(delivery.route)
        if (
            route is not None
            and name not in deliveries.disabled_routes
            and now_ms - last_began_ms.get(name, 0) >= MESSAGE_INTERVAL_MS.get(route.channel, 0)
            and began[name] < CONCURRENT_ATTEMPTS_MAX.get(route.channel, 1)
        ):
            began[name] += 1
            yield delivery


def deliveries_to_give_up(
    deliveries: Deliveries, routes: Mapping[str, Route], now_ms: int, *, recipients_known: bool = True
) -> Iterator[Delivery]:
    """The due deliveries whose route was disabled, or is no longer there."""
    for delivery in _due_attempts(deliveries, routes, now_ms):
        disabled = deliveries.disabled_routes.get(delivery.route)
        if disabled is not None:
            reason = f"the route is disabled: {disabled.reason}"
        elif delivery.route in routes:
            continue
        elif not delivery.route.startswith(RECIPIENT):
            reason = "the routes file has no such route any more"
        elif recipients_known and now_ms - delivery.due_ms >= UNKNOWN_RECIPIENT_MS:
            reason = "the owner has no such recipient any more"
        else:
            continue
        yield msgspec.structs.replace(delivery, state="dead", attempt=delivery.attempt - 1, reason=reason)


def interrupted_attempts(
    deliveries: Deliveries, under_way: frozenset[str], limits: AttemptLimits, now_ms: int
) -> Iterator[Delivery]:
    """The attempts, not among those under way here, whose notifier ended before it recorded an outcome."""
    for delivery in deliveries.open_deliveries():
        end_ms = delivery.at_ms + limits.timeout_ms + STALE_AFTER_MS
        if delivery.state == "sending" and delivery.id not in under_way and now_ms >= end_ms:
            outcome = AttemptOutcome(
                delivered=False, reason="the notifier ended during the attempt; it may have arrived"
            )
            yield conclude(delivery, outcome, limits, now_ms)


def is_stale(delivery: Delivery, now_ms: int) -> bool:
    """Return whether an attempt was recorded too long ago to begin, as after a pause of the process."""
    return now_ms - delivery.at_ms > STALE_AFTER_MS


def conclude(delivery: Delivery, outcome: AttemptOutcome, limits: AttemptLimits, now_ms: int) -> Delivery:
    """The delivery after an attempt: delivered, waiting for the next attempt, or dead."""
    state: State = "delivered"
    due_ms: int | None = now_ms
    if not outcome.delivered:
        due_ms = (
            None
            if outcome.gone
            else next_attempt_ms(
                limits.policy,
                delivery.id,
                delivery.attempt - delivery.earlier_attempts,
                delivery.since_ms,
                now_ms,
                outcome.retry_after_ms,
            )
        )
        state = "waiting" if due_ms is not None else "dead"
    return msgspec.structs.replace(
        delivery, at_ms=now_ms, state=state, due_ms=due_ms or now_ms, reason=outcome.reason
    )


def disable_route(delivery: Delivery, outcome: AttemptOutcome, now_ms: int) -> RouteState:
    """The record that disables a route whose receiver answered that it is gone."""
    return RouteState(at_ms=now_ms, route=delivery.route, disabled=True, reason=outcome.reason)


def valid_record(deliveries: Deliveries, delivery_id: str) -> Delivery | None:
    """The record to publish again for a delivery whose newest one is void; None: no valid one exists.

    An attempt of an earlier epoch is adopted, because its record would be void if it were published now.
    """
    delivery = deliveries.by_id.get(delivery_id)
    if delivery is not None and delivery.state == "sending":
        return msgspec.structs.replace(delivery, owner=deliveries.owner)
    return delivery


def expired_deliveries(deliveries: Deliveries, now_ms: int) -> Iterator[Delivery]:
    """The finished deliveries whose records can be removed."""
    for delivery in deliveries.by_id.values():
        if delivery.state in FINAL_STATES and now_ms - delivery.at_ms > RETENTION_MS:
            yield delivery


def _due_attempts(deliveries: Deliveries, routes: Mapping[str, Route], now_ms: int) -> list[Delivery]:
    """The attempts that are due, oldest first, the first ones of pending requests included."""
    further = [
        msgspec.structs.replace(
            delivery, at_ms=now_ms, state="sending", attempt=delivery.attempt + 1, owner=deliveries.owner
        )
        for delivery in deliveries.open_deliveries()
        if delivery.state == "waiting" and delivery.due_ms <= now_ms
    ]
    return sorted(
        [*further, *_first_attempts(deliveries, routes, now_ms)],
        key=lambda delivery: (delivery.due_ms, delivery.id),
    )


def _first_attempts(deliveries: Deliveries, routes: Mapping[str, Route], now_ms: int) -> Iterator[Delivery]:
    digests: dict[tuple[str, int], list[DeliveryRequest]] = defaultdict(list)
    for (alert_id, route), request in deliveries.pending.items():
        begins_ms = request.due_ms + HELD_DELAY_MS if request.held else request.due_ms
        if begins_ms > now_ms or deliveries.is_acknowledged(alert_id):
            continue
        if request.held:
            digests[route, request.due_ms].append(request)
        else:
            yield _first_attempt(deliveries, routes, delivery_id_of(request), [request], now_ms)
    for (route, due_ms), held in digests.items():
        for start in range(0, len(held), MESSAGE_ALERTS_MAX):
            part = held[start : start + MESSAGE_ALERTS_MAX]
            # An alert is in one message per route, so the first one makes the id unique.
            delivery_id = f"digest_{due_ms}_{part[0].alert.id}_{route}"
            yield _first_attempt(deliveries, routes, delivery_id, part, now_ms)


def _first_attempt(
    deliveries: Deliveries,
    routes: Mapping[str, Route],
    delivery_id: str,
    requests: list[DeliveryRequest],
    now_ms: int,
) -> Delivery:
    route = requests[0].route
    return Delivery(
        at_ms=now_ms,
        id=delivery_id,
        route=route,
        channel=routes[route].channel if route in routes else "",
        alerts=tuple(request.alert.id for request in requests),
        state="sending",
        attempt=1,
        since_ms=now_ms,
        due_ms=requests[0].due_ms,
        owner=deliveries.owner,
    )
