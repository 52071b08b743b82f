"""The services of the stack: Kafka, the engine and phonemeter's own, each with its command and probes."""

import sys
from functools import partial
from typing import Final, Literal

from phonemeter.settings import TOLD_ALL, Settings
from phonemeter.stack.directory import StackDirectory
from phonemeter.stack.kafka.broker import Broker
from phonemeter.stack.liveness import Liveness
from phonemeter.stack.probes import Probe, answers, answers_metadata, answers_queries, listens
from phonemeter.stack.supervisor import ServiceSpec

ServiceName = Literal[
    "kafka", "engine", "worker", "sink", "settler", "notifier", "wechat-sim", "wechat", "gateway", "console"
]
ALL: Final[tuple[ServiceName, ...]] = (
    "kafka",
    "engine",
    "worker",
    "sink",
    "settler",
    "notifier",
    "wechat-sim",
    "wechat",
    "gateway",
    "console",
)
"""Every service; the first two have the data, the others need them."""

DATA: Final[tuple[ServiceName, ...]] = ALL[:2]
STAGES: Final[tuple[ServiceName, ...]] = ALL[2:]

PORTS: Final[dict[ServiceName, tuple[str, ...]]] = {
    "kafka": ("kafka_port", "kafka_controller_port"),
    "engine": ("engine_native_port", "engine_http_port"),
    "worker": ("worker_port",),
    "sink": ("sink_metrics_port",),
    "settler": ("settler_port",),
    "notifier": ("notifier_port",),
    "wechat-sim": ("wechat_sim_port",),
    "wechat": ("wechat_port", "wechat_push_port"),
    "gateway": ("gateway_port", "gateway_metrics_port"),
    "console": ("console_port", "console_metrics_port"),
}
"""The settings that name the ports of each service."""


def service_names(settings: Settings) -> tuple[ServiceName, ...]:
    """The services for these settings; without a notifier where nobody is told, and of WeChat as asked."""
    unasked: dict[ServiceName, bool] = {
        "notifier": not settings.runs_notifier,
        "wechat-sim": not settings.wechat_sim,
        "wechat": settings.wechat_apps is None,
    }
    return tuple(name for name in ALL if not unasked.get(name, False))


def kafka(settings: Settings, directory: StackDirectory) -> ServiceSpec:
    """The broker, its jars fetched and its storage formatted. Blocking.

    Raises:
        OperationError: the jars could not be fetched, or the storage not formatted.
    """
    broker = Broker(
        directory.of("kafka"),
        settings.cache_dir,
        settings.kafka_port,
        settings.kafka_controller_port,
        settings.kafka_heap_mb,
    )
    return ServiceSpec(
        "kafka",
        broker.prepare(),
        readiness_probe("kafka", settings),
        directory.log("kafka"),
        directory=directory.of("kafka"),
        liveness=Liveness(liveness_probe("kafka", settings)),
    )


def program(name: ServiceName, settings: Settings, directory: StackDirectory) -> ServiceSpec:
    """One of phonemeter's own services, which gets its settings through its environment."""
    return ServiceSpec(
        name,
        (sys.executable, "-m", "phonemeter", name),
        readiness_probe(name, settings),
        directory.log(name),
        # The stack has read the file already, and its path may be relative to another directory.
        environ={**settings.to_environ(), **TOLD_ALL, "PYTHONUNBUFFERED": "1"},
        directory=directory.of(name),
        liveness=Liveness(liveness_probe(name, settings)),
    )


def liveness_probe(name: ServiceName, settings: Settings) -> Probe:
    """The probe of a service that was ready.

    A worker, sink, settler or notifier that breaks a promise is not restarted, because it waits for something
    else. So the probe asks its page `/livez`, which checks nothing but the service itself.
    """
    return {
        "kafka": partial(answers_metadata, settings.kafka_access),
        "engine": partial(answers_queries, settings.clickhouse, settings.engine_http_port),
        "worker": partial(answers, settings.worker_port, "/livez"),
        "sink": partial(answers, settings.sink_metrics_port, "/livez"),
        "settler": partial(answers, settings.settler_port, "/livez"),
        "notifier": partial(answers, settings.notifier_port, "/livez"),
        "wechat-sim": partial(answers, settings.wechat_sim_port, "/livez"),
        "wechat": partial(answers, settings.wechat_port, "/livez"),
        "gateway": partial(answers, settings.gateway_metrics_port, "/livez"),
        "console": partial(answers, settings.console_metrics_port, "/livez"),
    }[name]


def readiness_probe(name: ServiceName, settings: Settings) -> Probe:
    """The probe of a service that is starting."""
    return {
        "kafka": partial(listens, settings.kafka_port),
        "engine": partial(answers, settings.engine_http_port, "/ping", body="Ok."),
        "worker": partial(answers, settings.worker_port, "/readyz"),
        "sink": partial(answers, settings.sink_metrics_port, "/readyz"),
        "settler": partial(answers, settings.settler_port, "/readyz"),
        "notifier": partial(answers, settings.notifier_port, "/readyz"),
        "wechat-sim": partial(answers, settings.wechat_sim_port, "/livez"),
        "wechat": partial(answers, settings.wechat_port, "/readyz"),
        "gateway": partial(answers, settings.gateway_metrics_port, "/readyz"),
        "console": partial(answers, settings.console_metrics_port, "/readyz"),
    }[name]
