"""The routing policy: what an owner decides about the paid button, per app and capability."""

from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import Meta, Struct, structs

RoutingMode = Literal["balance", "wechat", "sms", "manual"]
"""`balance` decides by what is left; the others are the owner's fixed answer."""

StaleAnswer = Literal["estimate", "wechat", "sms", "manual"]
"""The answer while what is known is stale; `estimate` decides by what should be left by now."""

STORE_BUDGETS_MAX: Final = 100
"""Limit of stores with a budget, which are in the state and in each entry about the policy."""

REFUSAL_PAUSE_S: Final = 300
"""Five minutes, like the quiet period of the alert (rule 18): at most 12 members an hour meet a refusal."""

_Calls = Annotated[int, Meta(ge=0, le=1_000_000_000)]


class StoreBudget(Struct, frozen=True, gc=False):
    """The calls that a store may take on a Shanghai day; of each without its own if `store` is empty."""

    calls: _Calls
    store: Annotated[str, Meta(max_length=64)] = ""


class RoutingChoices(Struct, frozen=True, gc=False):
    """Settings of a routing policy by an owner; what is absent stays as it is."""

    mode: RoutingMode | None = None
    reserve_calls: _Calls | None = None
    lead_minutes: Annotated[int, Meta(ge=0, le=525_600)] | None = None
    sms_left: _Calls | None = None
    ask_known_members: bool | None = None
    store_budgets: Annotated[list[StoreBudget], Meta(max_length=STORE_BUDGETS_MAX)] | None = None
    when_stale: StaleAnswer | None = None
    refusal_pause_s: Annotated[int, Meta(ge=10, le=86_400)] | None = None


class RoutingPolicy(Struct, frozen=True, array_like=True, gc=False):
    """The routing policy in force for a capability of an app.

    Attributes:
        mode: a fixed answer, or the balance.
        reserve_calls: at so many calls left, or fewer, nobody is sent to WeChat.
        lead_minutes: nor with a run-out nearer than this; 0 turns it off.
        sms_left: short messages that can still be sent, as told last; None if nobody counts them.
        ask_known_members: whether the paid button is for members whose number is on file, too.
        store_budgets: at most one per store.
        when_stale: the answer while what is known is stale.
        refusal_pause_s: time after a refusal by the platform in which nobody is sent to WeChat.
    """

    mode: RoutingMode = "balance"
    reserve_calls: int = 0
    lead_minutes: int = 0
    sms_left: int | None = None
    ask_known_members: bool = False
    store_budgets: tuple[StoreBudget, ...] = ()
    when_stale: StaleAnswer = "estimate"
    refusal_pause_s: int = REFUSAL_PAUSE_S

    def with_choices(self, choices: RoutingChoices) -> "RoutingPolicy":
        """The policy after an owner's choices."""
        chosen: dict[str, Any] = {
            name: value
            for name in RoutingPolicy.__struct_fields__
            if (value := getattr(choices, name)) is not None
        }
        if choices.store_budgets is not None:
            chosen["store_budgets"] = tuple(choices.store_budgets)
        return structs.replace(self, **chosen)

    def budget_of(self, store: str) -> int | None:
        """The calls that a store may take on a day; None without a budget, and without a store."""
        if not store:
            return None
        of_others: int | None = None
        for budget in self.store_budgets:
            if budget.store == store:
                return budget.calls
            if not budget.store:
                of_others = budget.calls
        return of_others

    def to_details(self) -> dict[str, Any]:
        """The `details` of a ledger entry that has the policy."""
        return {name: value for name, value in structs.asdict(self).items() if value is not None}

    @staticmethod
    def from_details(details: object) -> "RoutingPolicy":
        """Read the policy from the decoded `details` of a ledger entry."""
        return RoutingPolicy().with_choices(msgspec.convert(details, RoutingChoices))


DEFAULT_POLICY: Final = RoutingPolicy()
"""The policy of an app whose owner has set none."""
