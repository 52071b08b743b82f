"""The part of the gateway that decides from memory, put together."""

from prometheus_client import CollectorRegistry

from sinks.balances.decider import RouteDecider
from sinks.balances.hold_desk import HoldDesk
from sinks.balances.holds import HoldSource
from sinks.balances.keeper import BalanceKeeper, KeeperPlaces
from sinks.balances.memory import MS_PER_S
from sinks.balances.metrics import BalanceMetrics
from sinks.balances.part import RoutingPart
from sinks.balances.settings import RouteSettings


def routing_part(
    settings: RouteSettings, holds: HoldSource, billing_starts_ms: int, registry: CollectorRegistry
) -> RoutingPart:
    """The part for a gateway; `registry` is that of the gateway's metrics."""
    metrics, desk = BalanceMetrics(registry), HoldDesk(holds)
    places = KeeperPlaces(settings.kafka_access, settings.clickhouse, settings.route_apps_max)
    keeper = BalanceKeeper(places, desk, metrics)
    decider = RouteDecider(keeper, desk, settings.route_stale_s * MS_PER_S, billing_starts_ms)
    return RoutingPart(keeper, desk, decider, metrics)
