"""The routing policy in force of an app, per capability (rule 20)."""

from typing import Any, Final

from msgspec import Struct

from dashboards.reads.asking import Ask
from metering.events import CAPABILITIES, Capability
from metering.routing_policy import RoutingPolicy

_POLICIES: Final = (
    "SELECT capability, toUnixTimestamp64Milli(set_at), "  # noqa: S608 - our own names
    f"{', '.join(RoutingPolicy.__struct_fields__)} FROM routing "
    "WHERE appid = %(appid)s ORDER BY capability"
)


class PolicyInForce(Struct, frozen=True):
    """The policy of a capability, and when it was set last; None if it never was."""

    capability: Capability
    policy: RoutingPolicy
    set_at_ms: int | None


def read_policies(ask: Ask, appid: str) -> list[PolicyInForce]:
    """The policy of each capability; none if the ledger has no entry about the app."""
    found = []
    for capability, set_at_ms, *values in ask(_POLICIES, {"appid": appid}):
        details: dict[str, Any] = dict(zip(RoutingPolicy.__struct_fields__, values, strict=True))
        details["store_budgets"] = [
            {"store": store, "calls": calls} for store, calls in sorted(details["store_budgets"].items())
        ]
        policy = RoutingPolicy.from_details(details)
        found.append(PolicyInForce(CAPABILITIES[CAPABILITIES.index(capability)], policy, set_at_ms))
    return found
