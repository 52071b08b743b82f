"""Every metric of every service in one list, made from the code that exports them.

`python -m phonemeter.metrics` brings docs/reference/metrics.md up to date; a test compares them.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, NamedTuple

from prometheus_client import CollectorRegistry
from prometheus_client.metrics import MetricWrapperBase

from dashboards.console.metrics import Metrics as ConsoleMetrics
from dashboards.console.metrics import OutboxMetrics
from dashboards.http.metrics import ReadsMetrics
from dashboards.wechat_pay.metrics import WechatPayMetrics
from http_service.process_metrics import OF_EVERY_SERVICE
from metering.health import Verdict
from phonemeter.audit.metrics import AuditMetrics
from phonemeter.engine.metrics import EngineMetrics
from producers.emission import Totals
from producers.gateway.health import Health as GatewayHealth
from producers.gateway.metrics import Metrics as GatewayMetrics
from producers.metrics import Metrics as EmitMetrics
from producers.wechat.health import Health as WechatHealth
from producers.wechat.metrics import Metrics as WechatMetrics
from sinks.balances.metrics import BalanceMetrics
from sinks.metrics import Metrics as SinkMetrics
from sinks.notifier.metrics import Metrics as NotifierMetrics
from sinks.settler.metrics import Metrics as SettlerMetrics
from streams import metrics as worker

PAGE: Final = Path(__file__).parents[1] / "docs" / "reference" / "metrics.md"
FIRST_TABLE: Final = "## Worker\n"

UNITS: Final = {
    "timestamp_seconds": "seconds since 1970",
    "out_of_calls": "apps",
    "refused_authorizations": "authorizations",
    "rows_inserted": "rows",
    "calls_left": "calls",
    "dead_letters": "letters",
    "packs": "packs",
    "inserts": "INSERTs",
    "micro_yuan": "micro-yuan",
    **{unit: unit for unit in ("seconds", "bytes", "records", "rows", "calls", "entries", "events", "apps")},
}
"""Units by the ending of a name; the first match counts, and without one the metric is a plain number."""


class Metric(NamedTuple):
    """One metric: which service has it, and what it is."""

    service: str
    name: str
    kind: str
    labels: tuple[str, ...]
    unit: str
    meaning: str


def registries() -> dict[str, CollectorRegistry]:
    """The registry of each service, and of the command emit, as at its start."""
    return {
        "worker": worker.REGISTRY,
        "sink": SinkMetrics().registry,
        "audit": AuditMetrics().registry,
        "settler": SettlerMetrics().registry,
        "notifier": NotifierMetrics().registry,
        "wechat": _wechat().registry,
        "gateway": _gateway().registry,
        "console": _console().registry,
        "reads": ReadsMetrics().registry,
        "engine": EngineMetrics(Path(), confined=True).registry,
        "emit": EmitMetrics(lambda: Totals(0, 0, 0, 0)).registry,
    }


def _wechat() -> WechatMetrics:
    metrics = WechatMetrics()
    metrics.judge_by(WechatHealth(metrics, poll_interval_s=1).verdict)
    return metrics


def _gateway() -> GatewayMetrics:
    metrics = GatewayMetrics()
    metrics.judge_by(GatewayHealth(tuple, lambda: True).verdict)
    BalanceMetrics(metrics.registry).watch(lambda: -1, lambda: 0)
    return metrics


def _console() -> ConsoleMetrics:
    metrics = ConsoleMetrics()
    metrics.judge_by(lambda: Verdict("console"))
    OutboxMetrics(metrics.registry)
    WechatPayMetrics(metrics.registry)
    return metrics


def listed() -> list[Metric]:
    """Every metric by service, but for those that all services have."""
    return [metric for name, registry in registries().items() for metric in _of(name, registry)]


def tables() -> str:
    """The list as the page has it."""
    return "\n".join(_table(service) for service in registries())


def _of(service: str, registry: CollectorRegistry) -> Iterator[Metric]:
    collectors: Any = registry._collector_to_names  # noqa: SLF001 - nothing public lists the collectors
    for collector in collectors:
        for family in collector.collect():
            if not family.name.startswith(OF_EVERY_SERVICE):
                name = f"{family.name}_total" if family.type == "counter" else family.name
                meaning = family.documentation.replace("|", "\\|")
                yield Metric(
                    service, name, family.type, _labels(collector, family), _unit(family.name), meaning
                )


def _labels(collector: Any, family: Any) -> tuple[str, ...]:  # noqa: ANN401 - attributes that are not public
    """The label names, which samples have only once there are some; our own collectors' are in the family."""
    holder = collector if isinstance(collector, MetricWrapperBase) else family
    return tuple(holder._labelnames)  # noqa: SLF001 - nothing public has them


def _unit(name: str) -> str:
    return next((unit for ending, unit in UNITS.items() if name.endswith(f"_{ending}")), "")


def _table(service: str) -> str:
    rows = [
        f"| `{one.name}` | {one.kind} | {', '.join(f'`{label}`' for label in one.labels)} | {one.unit} "
        f"| {one.meaning} |"
        for one in listed()
        if one.service == service
    ]
    head = ["| metric | type | labels | unit | meaning |", "|---|---|---|---|---|"]
    return "\n".join([f"## {service.capitalize()}", "", *head, *rows, ""])


def page() -> str:
    """The whole page: the part written by hand, then the tables."""
    by_hand, _, _ = PAGE.read_text(encoding="utf-8").partition(FIRST_TABLE)
    return by_hand + tables()


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
