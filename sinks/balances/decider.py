"""The decisions of one gateway: what is in memory, what is held, the owner's policy and the last decision."""

from collections.abc import Callable
from typing import Final, NamedTuple

from metering.events import Capability
from metering.live_balances import LiveBalance
from metering.routing import START, Hysteresis, KnownBalance, RouteRequest, RoutingDecision, decide
from metering.times import shanghai_day
from sinks.balances.hold_desk import HoldDesk
from sinks.balances.holds import HOLDS_MAX, HoldLimits, sharing
from sinks.balances.keeper import BalanceKeeper
from sinks.balances.memory import BalanceMemory, wall_clock_ms

UNLIMITED: Final = frozenset({"exempt", "free"})
"""Reasons for which any number of calls may be held."""


class RouteQuestion(NamedTuple):
    """The question of a back end, which way a member signs up."""

    appid: str
    capability: Capability
    store: str = ""
    is_known_member: bool = False


class RouteAnswer(NamedTuple):
    """The answer, with the calls that were held, and the moment as of which the balance is known."""

    decision: RoutingDecision
    held: int
    as_of_ms: int


class RouteDecider:
    """Decides from memory alone."""

    def __init__(
        self,
        keeper: BalanceKeeper,
        desk: HoldDesk,
        stale_after_ms: int,
        billing_starts_ms: int,
        wall_ms: Callable[[], int] = wall_clock_ms,
    ) -> None:
        self._keeper = keeper
        self._desk = desk
        self._stale_after_ms = stale_after_ms
        self._billing_starts_ms = billing_starts_ms
        self._wall_ms = wall_ms
        self._before: dict[tuple[str, Capability], Hysteresis] = {}

    def answer(self, asked: RouteQuestion) -> RouteAnswer:
        """Decide, and remember what the next decision depends on."""
        memory, key = self._keeper.memory, (asked.appid, asked.capability)
        wall_ms = self._wall_ms()
        live = memory.balance(*key) if memory else None
        if memory is None or live is None:
            request = RouteRequest(wall_ms, asked.store, asked.is_known_member)
            return RouteAnswer(decide(None, request), 0, -1)
        now_ms, as_of_ms = memory.now_ms(wall_ms), memory.as_of_ms(asked.appid)
        sharing_calls = sharing(asked.capability, trial_shared=live.trial_shared)
        held = self._desk.held(asked.appid, sharing_calls)
        decision = decide(
            self._known(live, asked, now_ms, as_of_ms - wall_ms + now_ms),
            RouteRequest(
                now_ms, asked.store, asked.is_known_member, held, self._store_calls(memory, asked, now_ms)
            ),
            live.policy,
            self._before.get(key, START),
            stale_after_ms=self._stale_after_ms,
        )
        if decision.after is not self._before.get(key, START):
            self._before[key] = decision.after
        return RouteAnswer(decision, held, as_of_ms)

    def limits(self, asked: RouteQuestion) -> tuple[RouteAnswer, HoldLimits]:
        """The limits of holds, and the answer without them: the database counts those of all gateways."""
        memory, key = self._keeper.memory, (asked.appid, asked.capability)
        wall_ms = self._wall_ms()
        # In this order: an event through that offset is in the balance that is read next.
        through = memory.positions[memory.partition_of(asked.appid)].offset if memory else -1
        live = memory.balance(*key) if memory else None
        if memory is None or live is None:
            answer = RouteAnswer(decide(None, RouteRequest(wall_ms, asked.store)), 0, -1)
            return answer, HoldLimits(0, (asked.capability,), through)
        now_ms, as_of_ms = memory.now_ms(wall_ms), memory.as_of_ms(asked.appid)
        known = self._known(live, asked, now_ms, as_of_ms - wall_ms + now_ms)
        store_calls, policy = self._calls_of_store(memory, asked, now_ms), live.policy
        request = RouteRequest(now_ms, asked.store, store_calls=store_calls)
        before = START._replace(probed_ms=self._before.get(key, START).probed_ms)
        decision = decide(known, request, policy, before, stale_after_ms=self._stale_after_ms)
        if decision.reason == "probe":
            self._before[key] = self._before.get(key, START)._replace(probed_ms=now_ms)
        free = HOLDS_MAX if decision.reason in UNLIMITED else known.left_at(now_ms) - policy.reserve_calls
        budget = policy.budget_of(asked.store)
        limits = HoldLimits(
            free,
            sharing(asked.capability, trial_shared=live.trial_shared),
            through,
            None if budget is None else budget - store_calls,
        )
        return RouteAnswer(decision, 0, as_of_ms), limits

    def _known(self, live: LiveBalance, asked: RouteQuestion, now_ms: int, as_of_ms: int) -> KnownBalance:
        calls_a_day, run_out_ms = self._keeper.forecast(asked.appid, asked.capability)
        told = live.platform
        return KnownBalance(
            as_of_ms,
            live.quotas,
            None if told is None else told.left,
            -1 if told is None else told.at_ms,
            calls_a_day,
            run_out_ms,
            live.refused_ms,
            live.succeeded_ms,
            live.topped_up_ms(now_ms),
            live.is_exempt,
            self._billing_starts_ms,
        )

    def _store_calls(self, memory: BalanceMemory, asked: RouteQuestion, now_ms: int) -> int:
        """The calls of the store today, with those that are held for it."""
        if not asked.store:
            return 0
        held = self._desk.held_for_store(asked.appid, asked.capability, asked.store)
        return held + self._calls_of_store(memory, asked, now_ms)

    def _calls_of_store(self, memory: BalanceMemory, asked: RouteQuestion, now_ms: int) -> int:
        if not asked.store:
            return 0
        return memory.store_calls(asked.appid, asked.capability, asked.store, shanghai_day(now_ms))
