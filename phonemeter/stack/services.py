"""What the stack runs: Kafka, the engine and phonemeter's services, each with its command and its probe."""

import sys
from functools import partial
from typing import Final, Literal

from phonemeter.settings import CONFIG_VARIABLE, Settings
from phonemeter.stack.directory import StackDirectory
from phonemeter.stack.kafka.broker import Broker
from phonemeter.stack.probes import Probe, answers, listens
from phonemeter.stack.supervisor import Service

Name = Literal["kafka", "engine", "worker", "sink", "notifier"]
ALL: Final[tuple[Name, ...]] = ("kafka", "engine", "worker", "sink", "notifier")
"""Every service; the first two hold the data, the others need them."""

HOLD: Final[tuple[Name, ...]] = ALL[:2]
WORK: Final[tuple[Name, ...]] = ALL[2:]

PORTS: Final[dict[Name, tuple[str, ...]]] = {
    "kafka": ("kafka_port", "kafka_controller_port"),
    "engine": ("engine_native_port", "engine_http_port"),
    "worker": ("worker_port",),
    "sink": ("sink_metrics_port",),
    "notifier": ("notifier_port",),
}
"""The settings that name the ports of each service."""


def wanted(settings: Settings) -> tuple[Name, ...]:
    """The services that these settings ask for: without a file of routes the notifier has nothing to do."""
    return tuple(name for name in ALL if name != "notifier" or settings.alert_routes is not None)


def kafka(settings: Settings, directory: StackDirectory) -> Service:
    """The broker, its jars fetched and its storage formatted. Blocking.

    Raises:
        PhonemeterError: Java or Maven is missing, or one of them failed.
    """
    broker = Broker(
        directory.of("kafka"),
        settings.cache_dir,
        settings.kafka_port,
        settings.kafka_controller_port,
        settings.kafka_heap_mb,
    )
    return Service(
        "kafka",
        broker.prepare(),
        ready("kafka", settings),
        directory.log("kafka"),
        directory=directory.of("kafka"),
    )


def ours(name: Name, settings: Settings, directory: StackDirectory) -> Service:
    """One of phonemeter's own programs, told everything through its environment."""
    return Service(
        name,
        (sys.executable, "-m", "phonemeter", name),
        ready(name, settings),
        directory.log(name),
        # The file was read by the stack already, and its name may be relative to another directory.
        environ={**settings.to_environ(), CONFIG_VARIABLE: "", "PYTHONUNBUFFERED": "1"},
        directory=directory.of(name),
    )


def ready(name: Name, settings: Settings) -> Probe:
    """The probe that says whether a service does its work."""
    return {
        "kafka": partial(listens, settings.kafka_port),
        "engine": partial(answers, settings.engine_http_port, "/ping", body="Ok."),
        "worker": partial(answers, settings.worker_port, "/metrics"),
        "sink": partial(answers, settings.sink_metrics_port, "/metrics"),
        "notifier": partial(answers, settings.notifier_port, "/metrics"),
    }[name]
