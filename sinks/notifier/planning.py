"""What a notifier does next for a partition that it owns, decided from what is known and the time. Pure."""

from collections import defaultdict
from collections.abc import Iterator, Mapping
from typing import Final, NamedTuple

import msgspec

from metering.times import DAY_MS, SECOND_MS
from sinks.notifier.deliveries import Deliveries
from sinks.notifier.records import Asked, Chain, RouteState, State
from sinks.notifier.routes import ChannelName, Route
from sinks.notifier.schedule import Policy, next_attempt_ms

AT_ONCE: Final[Mapping[ChannelName, int]] = {"webhook": 8}
"""Attempts of a route that may be under way together; one for every other channel."""

PACE_MS: Final[Mapping[ChannelName, int]] = {
    "wecom": 3_000,
    "dingtalk": 3_000,
    "feishu": 3_000,
    "slack": 1_000,
}
"""Pause between two messages of a route: these robots take twenty a minute, Slack one a second."""

MESSAGE_ALERTS_MAX: Final = 50
"""Alerts in one message."""

SETTLED_AFTER_MS: Final = 2 * SECOND_MS
"""What is held goes so long after its time: what was asked for just before it may be read just after it."""

GRACE_MS: Final = 3 * SECOND_MS
"""An attempt begins within so long of its record, or not at all. After that and its own time, others who find
no outcome repeat it."""

FORGOTTEN_AFTER_MS: Final = 400 * DAY_MS
"""What was delivered so long ago is no longer kept: an alert so old is not published again."""


class Limits(NamedTuple):
    """The pauses between attempts, and how long one may take, in milliseconds."""

    policy: Policy
    timeout_ms: int


class Outcome(NamedTuple):
    """What became of an attempt; `gone` says that the receiver wants nothing ever again."""

    delivered: bool
    reason: str
    retry_after_ms: int | None = None
    gone: bool = False


def begun(
    known: Deliveries,
    routes: Mapping[str, Route],
    busy: Mapping[str, int],
    last_begun_ms: Mapping[str, int],
    now_ms: int,
) -> Iterator[Chain]:
    """The attempts to begin now.

    Args:
        known: what the partition says.
        routes: of the file, by name.
        busy: attempts under way, by route.
        last_begun_ms: when the newest attempt of a route began.
        now_ms: the time.
    """
    room = {
        name: AT_ONCE.get(route.channel, 1) - busy.get(name, 0)
        for name, route in routes.items()
        if name not in known.disabled and now_ms - last_begun_ms.get(name, 0) >= PACE_MS.get(route.channel, 0)
    }
    for chain in _candidates(known, routes, now_ms):
        if room.get(chain.route, 0) > 0:
            room[chain.route] -= 1
            yield chain


def given_up(known: Deliveries, routes: Mapping[str, Route], now_ms: int) -> Iterator[Chain]:
    """What can't be delivered, because its route was disabled or is no longer in the file."""
    for chain in _candidates(known, routes, now_ms):
        if chain.route in known.disabled:
            why = f"the route is disabled: {known.disabled[chain.route].reason}"
        elif chain.route not in routes:
            why = "the file of routes has no such route any more"
        else:
            continue
        yield msgspec.structs.replace(chain, state="dead", attempt=chain.attempt - 1, reason=why)


def interrupted(known: Deliveries, mine: frozenset[str], limits: Limits, now_ms: int) -> Iterator[Chain]:
    """Attempts of which nobody will tell what became: whoever made them ended before it could say."""
    for chain in list(_open(known)):
        over_ms = chain.at_ms + limits.timeout_ms + GRACE_MS
        if chain.state == "sending" and chain.id not in mine and now_ms >= over_ms:
            outcome = Outcome(
                delivered=False, reason="the notifier ended during the attempt; it may have arrived"
            )
            yield concluded(chain, outcome, limits, now_ms)


def is_stale(chain: Chain, now_ms: int) -> bool:
    """Whether an attempt may not begin any more: whoever recorded its beginning stood still meanwhile."""
    return now_ms - chain.at_ms > GRACE_MS


def concluded(chain: Chain, outcome: Outcome, limits: Limits, now_ms: int) -> Chain:
    """A chain after an attempt: delivered, waiting for the next one, or dead."""
    state: State = "delivered" if outcome.delivered else "waiting"
    due_ms: int | None = now_ms
    if not outcome.delivered:
        due_ms = (
            None
            if outcome.gone
            else next_attempt_ms(
                limits.policy,
                chain.id,
                chain.attempt - chain.before,
                chain.since_ms,
                now_ms,
                outcome.retry_after_ms,
            )
        )
        state = "waiting" if due_ms is not None else "dead"
    return msgspec.structs.replace(
        chain, at_ms=now_ms, state=state, due_ms=due_ms or now_ms, reason=outcome.reason
    )


def route_gone(chain: Chain, outcome: Outcome, now_ms: int) -> RouteState:
    """That a receiver has said that it wants nothing ever again."""
    return RouteState(at_ms=now_ms, route=chain.route, disabled=True, reason=outcome.reason)


def corrected(known: Deliveries, name: str) -> Chain | None:
    """What to write of a chain whose newest record does not count; None: that there is no such chain.

    An attempt of an earlier owner is adopted, because what is written in its name now would not count either.
    """
    chain = known.chains.get(name)
    if chain is not None and chain.state == "sending":
        return msgspec.structs.replace(chain, owner=known.owner)
    return chain


def forgotten(known: Deliveries, now_ms: int) -> Iterator[Chain]:
    """Delivered chains so old that their records can go."""
    for chain in known.chains.values():
        if chain.state == "delivered" and now_ms - chain.at_ms > FORGOTTEN_AFTER_MS:
            yield chain


def oldest_due_ms(known: Deliveries) -> int | None:
    """Since when the oldest waits that could have been delivered."""
    due = [asked.due_ms for place, asked in known.pending.items() if not known.settled(place[0])]
    due += [chain.since_ms for chain in _open(known)]
    return min(due, default=None)


def _open(known: Deliveries) -> Iterator[Chain]:
    """Chains that are not over and that nobody has acknowledged."""
    for name in known.open:
        chain = known.chains[name]
        if not all(known.settled(alert) for alert in chain.alerts):
            yield chain


def _candidates(known: Deliveries, routes: Mapping[str, Route], now_ms: int) -> list[Chain]:
    """The attempts that are due, of chains and of what is in none yet; oldest first."""
    again = [
        msgspec.structs.replace(
            chain, at_ms=now_ms, state="sending", attempt=chain.attempt + 1, owner=known.owner
        )
        for chain in _open(known)
        if chain.state == "waiting" and chain.due_ms <= now_ms
    ]
    return sorted(
        [*again, *_first_attempts(known, routes, now_ms)], key=lambda chain: (chain.due_ms, chain.id)
    )


def _first_attempts(known: Deliveries, routes: Mapping[str, Route], now_ms: int) -> Iterator[Chain]:
    together: dict[tuple[str, int], list[Asked]] = defaultdict(list)
    for (alert, route), asked in known.pending.items():
        begins_ms = asked.due_ms + SETTLED_AFTER_MS if asked.held else asked.due_ms
        if begins_ms > now_ms or known.settled(alert):
            continue
        if asked.held:
            together[route, asked.due_ms].append(asked)
        else:
            yield _first(known, routes, f"alert_{alert}_{route}", [asked], now_ms)
    for (route, due_ms), held in together.items():
        for start in range(0, len(held), MESSAGE_ALERTS_MAX):
            part = held[start : start + MESSAGE_ALERTS_MAX]
            # An alert is in one message only, so that its first one names the message as no other does.
            name = f"digest_{due_ms}_{part[0].alert.id}_{route}"
            yield _first(known, routes, name, part, now_ms)


def _first(
    known: Deliveries, routes: Mapping[str, Route], name: str, asked: list[Asked], now_ms: int
) -> Chain:
    route = asked[0].route
    return Chain(
        at_ms=now_ms,
        id=name,
        route=route,
        channel=routes[route].channel if route in routes else "",
        alerts=tuple(one.alert.id for one in asked),
        state="sending",
        attempt=1,
        since_ms=now_ms,
        due_ms=asked[0].due_ms,
        owner=known.owner,
    )


def open_alerts(known: Deliveries) -> int:
    """How many alerts are to be delivered and are not yet."""
    pending = sum(1 for alert, _ in known.pending if not known.settled(alert))
    return pending + sum(len(chain.alerts) for chain in _open(known))


def dead_chains(known: Deliveries) -> int:
    """How many chains were given up that nobody has acknowledged."""
    return sum(
        1 for name in known.dead if not all(known.settled(alert) for alert in known.chains[name].alerts)
    )
