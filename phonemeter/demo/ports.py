"""Ports for the demo's own stack: the usual ones, or others where something listens already."""

from typing import Any, Final

from phonemeter.settings import Settings, stack_clickhouse, stack_kafka
from phonemeter.stack.ports import listening
from phonemeter.stack.probes import HOST

PORTS: Final = (
    "kafka_port",
    "kafka_controller_port",
    "engine_native_port",
    "engine_http_port",
    "worker_port",
    "sink_metrics_port",
    "settler_port",
    "notifier_port",
    "wechat_port",
    "wechat_push_port",
    "gateway_port",
    "gateway_metrics_port",
    "console_port",
    "console_metrics_port",
    "wechat_sim_port",
)
STEP: Final = 10_000
"""A taken 8123 becomes 18123 or 28123: easy to recognise, and below the ports of outgoing connections."""

STEPS_MAX: Final = 2


def with_free_ports(settings: Settings) -> Settings:
    """The settings with free ports instead of taken ones, and the stack's own Kafka and ClickHouse.

    A port without a free alternative stays as it is; the stack then reports it.
    """
    ports: dict[str, Any] = {name: _free(getattr(settings, name)) for name in PORTS}
    return settings.replaced(
        **ports,
        kafka=stack_kafka(ports["kafka_port"]),
        clickhouse=stack_clickhouse(ports["engine_native_port"], settings.engine_password),
    )


def _free(port: int) -> int:
    candidates = (port + step * STEP for step in range(STEPS_MAX + 1))
    return next((one for one in candidates if _is_free(one)), port)


def _is_free(port: int) -> bool:
    try:
        with listening(HOST, port):
            return True
    except (OSError, OverflowError):
        return False
