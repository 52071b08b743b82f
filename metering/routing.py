"""The routing decision: which way a member signs up, asked before the paid button is shown.

It is a pure function of what is known of a capability, the owner's policy, the request and the hysteresis
that the decision before left. What it is to guarantee is in `metering/README.md`, rule 20.
"""

from collections.abc import Sequence
from typing import Final, Literal, NamedTuple, get_args

from msgspec import Struct

from metering.routing_policy import DEFAULT_POLICY, RoutingPolicy
from metering.times import DAY_MS, MINUTE_MS, SECOND_MS, shanghai_midnight

RouteName = Literal["wechat", "sms", "manual"]
"""`wechat` is the paid component; `manual` costs nothing: a number on file, or one that is typed in."""

RoutingReason = Literal[
    "enough",
    "exempt",
    "free",
    "set_by_owner",
    "known_member",
    "used_up",
    "reserve_reached",
    "run_out_near",
    "store_budget_spent",
    "platform_refused",
    "probe",
    "stale",
    "not_known",
]
ROUTING_REASONS: Final[tuple[RoutingReason, ...]] = get_args(RoutingReason)

HOLDS_MAX_MS: Final = 10 * SECOND_MS
"""A refusal or a top-up does not reach an answer that somebody keeps: none is kept for longer."""

HOLDS_STALE_MS: Final = 2 * SECOND_MS

STALE_AFTER_MS: Final = MINUTE_MS

CALLS_A_SECOND: Final = 10
"""The burst that an answer has to outlast at least, also of an app that usually has few calls."""

STORE_CALLS_A_SECOND: Final = 1

BURST_TIMES: Final = 10
"""A burst is so many times the mean use."""

STALE_TIMES: Final = 2
"""So many times the mean use is taken to have happened since what is known."""

CLEAR_PART: Final = 10
"""The balance is clear of the reserve by a tenth of it, and a run-out of the lead time in the same way."""

NEVER_EXPIRES_MS: Final = 2**62


class QuotaBalance(Struct, frozen=True, gc=False):
    """The known balance of the trial quota or of a pack.

    Attributes:
        left: calls left by the ledger.
        platform_left: calls left by the platform's newest count of it, less those that the ledger took from
            it since; None if the platform has told none.
    """

    left: int
    starts_at_ms: int = 0
    expires_at_ms: int = NEVER_EXPIRES_MS
    platform_left: int | None = None

    @property
    def granted(self) -> int:
        """Calls that the platform will grant: its own count is the authority (rule 17)."""
        return self.left if self.platform_left is None else max(0, self.platform_left)


class KnownBalance(Struct, frozen=True, gc=False):
    """The known balance of a capability of an app.

    Attributes:
        as_of_ms: the moment as of which it is known.
        quotas: the trial quota, and the packs that hold calls, pending and expired ones included.
        platform_left: calls left by a count of the platform that covers the whole capability, less those that
            the ledger took since; None without one.
        platform_at_ms: the time of that count.
        calls_a_day: forecast of the use.
        run_out_ms: forecast of the moment without a quota for a call; None if there is none in sight.
        refused_ms: the newest refusal by the platform (rule 18); -1 without one.
        succeeded_ms: the newest succeeded authorization.
        topped_up_ms: the newest start of a pack that holds calls.
        billing_starts_ms: before it calls are free (rule 3).
    """

    as_of_ms: int
    quotas: tuple[QuotaBalance, ...] = ()
    platform_left: int | None = None
    platform_at_ms: int = -1
    calls_a_day: int = 0
    run_out_ms: int | None = None
    refused_ms: int = -1
    succeeded_ms: int = -1
    topped_up_ms: int = -1
    is_exempt: bool = False
    billing_starts_ms: int = 0

    def left_at(self, now_ms: int) -> int:
        """Calls left at a moment, of the quotas that are active then (rule 19)."""
        left = sum(
            quota.granted for quota in self.quotas if quota.starts_at_ms <= now_ms < quota.expires_at_ms
        )
        if self.platform_left is None or self.topped_up_ms >= self.platform_at_ms:
            return left
        return min(left, max(0, self.platform_left))

    def used_since(self, now_ms: int) -> int:
        """Calls that are taken to have been used since the moment as of which this is known."""
        elapsed_ms = max(0, now_ms - self.as_of_ms)
        return -(-STALE_TIMES * self.calls_a_day * elapsed_ms // DAY_MS)

    def is_refused(self) -> bool:
        """Return whether nothing came after the newest refusal that shows that calls are granted."""
        return self.refused_ms >= 0 and self.refused_ms >= max(self.succeeded_ms, self.topped_up_ms)


class RouteRequest(NamedTuple):
    """The question, and what the answer depends on besides policy and balance.

    Attributes:
        now_ms: the clock.
        store: in which the member is; empty if that was not said.
        is_known_member: the member's number is on file.
        held: calls that others hold and have not confirmed, of all quotas that this capability can use.
        store_calls: calls of the store since midnight in Shanghai, with those that are held for it.
    """

    now_ms: int
    store: str = ""
    is_known_member: bool = False
    held: int = 0
    store_calls: int = 0


class Hysteresis(NamedTuple):
    """The memory that one decision about a capability of an app leaves for the next.

    Attributes:
        near_reserve: the reserve was reached, and the balance has not been clear of it since.
        near_run_out: the same of the lead time.
        probed_ms: the moment of the newest probe.
    """

    near_reserve: bool = False
    near_run_out: bool = False
    probed_ms: int = -1


START: Final = Hysteresis()


class RoutingDecision(NamedTuple):
    """The answer to a request.

    Attributes:
        left: calls left, those that are held included; None if nothing is known.
        run_out_ms: forecast; None if there is none in sight.
        holds_for_ms: for how long the answer may be kept; 0 if it is for this member alone.
        is_degraded: what is known is stale, or nothing is known.
        after: for the next decision about this capability of the app.
    """

    route: RouteName
    reason: RoutingReason
    left: int | None
    run_out_ms: int | None
    holds_for_ms: int
    is_degraded: bool
    after: Hysteresis


def decide(
    known: KnownBalance | None,
    request: RouteRequest,
    policy: RoutingPolicy = DEFAULT_POLICY,
    before: Hysteresis = START,
    *,
    stale_after_ms: int = STALE_AFTER_MS,
) -> RoutingDecision:
    """Decide which way a member signs up; `known` is None if nothing is known of the app."""
    return _Deciding(known, request, policy, before, stale_after_ms).decide()


class _Deciding:
    """The decision about one request."""

    def __init__(
        self,
        known: KnownBalance | None,
        request: RouteRequest,
        policy: RoutingPolicy,
        before: Hysteresis,
        stale_after_ms: int,
    ) -> None:
        self._known = known
        self._request = request
        self._policy = policy
        self._before = self._after = before
        self._is_stale = known is None or request.now_ms - known.as_of_ms > stale_after_ms
        self._left = None if known is None else self._left_of(known)

    def decide(self) -> RoutingDecision:
        """The decision: the owner's word first, then the platform's, then the balance."""
        policy, known = self._policy, self._known
        if policy.mode != "balance":
            return self._answer(policy.mode, "set_by_owner")
        if self._request.is_known_member and not policy.ask_known_members:
            return self._answer("manual", "known_member")
        if known is None:
            return self._answer(self._stale_route(), "not_known")
        now_ms = self._request.now_ms
        if now_ms < known.billing_starts_ms:
            return self._answer("wechat", "free", (known.billing_starts_ms,))
        paused_until_ms = known.refused_ms + policy.refusal_pause_s * SECOND_MS
        if known.refused_ms >= 0 and known.refused_ms >= known.topped_up_ms and now_ms < paused_until_ms:
            return self._away("platform_refused", (paused_until_ms,))
        answer = self._by_balance(known)
        return self._probing(answer) if answer.route == "wechat" and known.is_refused() else answer

    def _left_of(self, known: KnownBalance) -> int:
        left = known.left_at(self._request.now_ms)
        return max(0, left - known.used_since(self._request.now_ms)) if self._is_stale else left

    def _by_balance(self, known: KnownBalance) -> RoutingDecision:
        if known.is_exempt:
            return self._answer("wechat", "exempt")
        if self._is_stale and self._policy.when_stale != "estimate":
            return self._answer(self._stale_route(), "stale")
        changes_ms = _changes_after(self._request.now_ms, known.quotas)
        shortage = self._shortage(known)
        if shortage is not None:
            return self._away(shortage, changes_ms)
        budget = self._policy.budget_of(self._request.store)
        if budget is not None and self._request.store_calls >= budget:
            return self._away("store_budget_spent", (_next_midnight(self._request.now_ms),))
        return self._enough(known, budget, changes_ms)

    def _shortage(self, known: KnownBalance) -> RoutingReason | None:
        """The reason for which the balance is too low, with hysteresis; None if it is not."""
        policy, before = self._policy, self._before
        reserve = policy.reserve_calls
        free = self._free()
        near_reserve = free <= reserve + (max(1, reserve // CLEAR_PART) if before.near_reserve else 0)
        lead_ms = policy.lead_minutes * MINUTE_MS
        near_run_out = lead_ms > 0 and (
            known.run_out_ms is not None
            and known.run_out_ms - self._request.now_ms
            < lead_ms + (lead_ms // CLEAR_PART if before.near_run_out else 0)
        )
        self._after = Hysteresis(near_reserve, near_run_out, before.probed_ms)
        if near_reserve:
            return "used_up" if free <= 0 else "reserve_reached"
        return "run_out_near" if near_run_out else None

    def _free(self) -> int:
        return (self._left or 0) - self._request.held

    def _enough(
        self, known: KnownBalance, budget: int | None, changes_ms: tuple[int, ...]
    ) -> RoutingDecision:
        """The answer that there is enough, for as long as a burst can't reach a limit."""
        now_ms = self._request.now_ms
        calls = self._free() - self._policy.reserve_calls
        burst_a_day = max(CALLS_A_SECOND * DAY_MS // SECOND_MS, BURST_TIMES * known.calls_a_day)
        until_ms = [*changes_ms, now_ms + calls * DAY_MS // burst_a_day]
        if self._policy.lead_minutes and known.run_out_ms is not None:
            until_ms.append(known.run_out_ms - self._policy.lead_minutes * MINUTE_MS)
        if budget is not None:
            calls = budget - self._request.store_calls
            until_ms += [_next_midnight(now_ms), now_ms + calls * SECOND_MS // STORE_CALLS_A_SECOND]
        return self._answer("wechat", "enough", until_ms)

    def _probing(self, answer: RoutingDecision) -> RoutingDecision:
        """Send one member per pause after a refusal, which would stand for ever where no top-up is told."""
        now_ms = self._request.now_ms
        next_ms = self._before.probed_ms + self._policy.refusal_pause_s * SECOND_MS
        if self._before.probed_ms >= 0 and now_ms < next_ms:
            return self._away("platform_refused", (next_ms,))
        self._after = answer.after._replace(probed_ms=now_ms)
        return self._answer("wechat", "probe", (now_ms,))

    def _away(self, reason: RoutingReason, until_ms: Sequence[int] = ()) -> RoutingDecision:
        """The answer not to ask WeChat.

        Where no short message can be sent and nothing is certain, WeChat decides: it refuses by itself.
        """
        if self._has_sms():
            return self._answer("sms", reason, until_ms)
        is_certain = not self._is_stale or reason == "platform_refused"
        return self._answer("manual", reason, until_ms) if is_certain else self._answer("wechat", "stale")

    def _stale_route(self) -> RouteName:
        """The answer while next to nothing is known: WeChat refuses by itself, for nothing."""
        chosen = self._policy.when_stale
        if chosen == "estimate" or (chosen == "sms" and not self._has_sms()):
            return "wechat"
        return chosen

    def _has_sms(self) -> bool:
        return self._policy.sms_left is None or self._policy.sms_left > 0

    def _answer(
        self, route: RouteName, reason: RoutingReason, until_ms: Sequence[int] = ()
    ) -> RoutingDecision:
        holds_ms = HOLDS_STALE_MS if self._is_stale else HOLDS_MAX_MS
        for moment_ms in until_ms:
            holds_ms = min(holds_ms, max(0, moment_ms - self._request.now_ms))
        return RoutingDecision(
            "manual" if route == "sms" and not self._has_sms() else route,
            reason,
            self._left,
            None if self._known is None else self._known.run_out_ms,
            holds_ms,
            self._is_stale,
            self._after,
        )


def _changes_after(now_ms: int, quotas: Sequence[QuotaBalance]) -> tuple[int, ...]:
    """The moments at which quotas begin and end."""
    edges = (edge for quota in quotas for edge in (quota.starts_at_ms, quota.expires_at_ms))
    return tuple(edge for edge in edges if edge > now_ms)


def _next_midnight(now_ms: int) -> int:
    return shanghai_midnight(now_ms) + DAY_MS
