"""A Kafka cluster in KRaft mode, each node a process that can be killed, frozen, stopped and emptied."""

import os
import shutil
import subprocess
import uuid
from base64 import urlsafe_b64encode
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Final

from confluent_kafka import KafkaException
from kafka.admin import (
    ACL,
    ACLOperation,
    ACLPermissionType,
    ACLResourcePatternType,
    ResourcePattern,
    ResourceType,
)

from kafka_access.access import KafkaAccess
from phonemeter.kafka_admin import admin
from phonemeter.settings import load
from phonemeter.stack.kafka.broker import java
from phonemeter.stack.kafka.install import installed_libs
from phonemeter.stack.launch import child_command
from phonemeter.stack.probes import HOST
from streams.admin_client import admin_client
from tests import kafka_classes
from tests.brokers.authority import Authority
from tests.brokers.properties import ADMIN, BROKER, NodePorts, node_properties
from tests.torture.processes import Program
from tests.waiting import blocking_until

HEAP_MB: Final = 256
STARTS_S_MAX: Final = 240.0
ANSWERS_S_MAX: Final = 5.0


@dataclass(frozen=True, slots=True)
class Node:
    """A node: its number, its ports, its process, and where its data is."""

    number: int
    ports: NodePorts
    program: Program
    data: Path


class Cluster:
    """A cluster of `size` nodes, which are formatted here and started by `start`.

    Topics have a replica on each node, and with three of them two must have what is acknowledged.
    `accounts` has passwords by name, for PLAIN and SCRAM; `extra` is configuration of every node that wins.
    Accounts have no rights but those that a test gives them, except ADMIN.
    """

    def __init__(
        self,
        directory: Path,
        size: int,
        accounts: Mapping[str, str] = MappingProxyType({}),
        extra: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        self.authority = Authority(directory / "authority")
        self.accounts = {BROKER: "broker-password", ADMIN: "admin-password", **accounts}
        self._id = urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
        self._java = java(installed_libs(load().cache_dir), HEAP_MB)
        all_ports = [NodePorts() for _ in range(size)]
        self.nodes: list[Node] = []
        for number, own in enumerate(all_ports, 1):
            home = directory / f"node-{number}"
            home.mkdir(parents=True)
            entries = node_properties(number, all_ports, self.authority, self.accounts, home / "data")
            properties = home / "server.properties"
            properties.write_text("".join(f"{key}={value}\n" for key, value in {**entries, **extra}.items()))
            command = (*self._java, f"-XX:ErrorFile={home}/jvm-error-%p.log", "kafka.Kafka", str(properties))
            program = Program(f"broker-{number}", command, _environ(), home, home / "broker.log")
            self.nodes.append(Node(number, own, program, home / "data"))
        with ThreadPoolExecutor(size) as threads:
            list(threads.map(self.format, self.nodes))

    @property
    def secure(self) -> str:
        """The bootstrap servers for SASL over TLS."""
        return ",".join(f"{HOST}:{node.ports.secure}" for node in self.nodes)

    @property
    def mutual(self) -> str:
        """The bootstrap servers for TLS with a certificate of the client."""
        return ",".join(f"{HOST}:{node.ports.mutual}" for node in self.nodes)

    @property
    def open(self) -> str:
        """The bootstrap servers without login or TLS, with all rights."""
        return ",".join(f"{HOST}:{node.ports.open}" for node in self.nodes)

    def settings_of(self, account: str) -> dict[str, str]:
        """The settings of phonemeter with which an account logs in, without their prefix."""
        return {
            "kafka": self.secure,
            "kafka_security": "sasl_tls",
            "kafka_ca_file": str(self.authority.file),
            "kafka_user": account,
            "kafka_password": self.accounts[account],
        }

    def allow(self, account: str, *rights: tuple[ResourceType, str, ACLOperation]) -> None:
        """Give an account rights on all resources of a kind whose name begins so, or on the one cluster."""
        with admin(KafkaAccess(self.open)) as client:
            client.create_acls([_right(account, *right) for right in rights])

    def format(self, node: Node) -> None:
        """Format the directory of a node that has none, with the accounts that log in by SCRAM."""
        accounts = [
            f"--add-scram={mechanism}=[name={name},password={password}]"
            for mechanism in ("SCRAM-SHA-256", "SCRAM-SHA-512")
            for name, password in self.accounts.items()
        ]
        config = ("--config", str(node.data.with_name("server.properties")))
        command = (*self._java, "kafka.tools.StorageTool", "format", f"--cluster-id={self._id}", *config)
        ended = subprocess.run(
            child_command((*command, *accounts)),
            env={**os.environ, **_environ()},
            capture_output=True,
            text=True,
            timeout=STARTS_S_MAX,
            check=False,
        )
        assert ended.returncode == 0, ended.stdout + ended.stderr

    def empty(self, node: Node) -> None:
        """Kill a node and remove all that it has, as a new disk would; it is formatted again."""
        node.program.kill(stay_away=True)
        shutil.rmtree(node.data)
        self.format(node)

    def start(self) -> None:
        """Start the nodes that are not running, and wait until all are brokers."""
        for node in self.nodes:
            node.program.start()
        blocking_until(self.whole, STARTS_S_MAX, f"the brokers of {self.open} run")

    def kill(self) -> None:
        """Kill all nodes, which is quicker than to end them: the last ones would wait for a majority."""
        for node in self.nodes:
            node.program.kill(stay_away=True)

    def whole(self) -> bool:
        """Return true if all nodes are brokers, and every replica is in sync."""
        try:
            found = admin_client(KafkaAccess(self.open), "tests").list_topics(timeout=ANSWERS_S_MAX)
        except KafkaException:
            return False
        partitions = [one for topic in found.topics.values() for one in topic.partitions.values()]
        return len(found.brokers) == len(self.nodes) and all(
            len(one.isrs) == len(one.replicas) for one in partitions
        )


@contextmanager
def running(
    directory: Path,
    size: int,
    accounts: Mapping[str, str] = MappingProxyType({}),
    extra: Mapping[str, str] = MappingProxyType({}),
) -> Iterator[Cluster]:
    """A cluster that runs within the block."""
    cluster = Cluster(directory, size, accounts, extra)
    try:
        cluster.start()
        yield cluster
    finally:
        cluster.kill()


def _right(account: str, kind: ResourceType, name: str, operation: ACLOperation) -> ACL:
    whole = (
        ACLResourcePatternType.LITERAL if kind is ResourceType.CLUSTER else ACLResourcePatternType.PREFIXED
    )
    pattern = ResourcePattern(kind, name, whole)
    return ACL(f"User:{account}", "*", operation, ACLPermissionType.ALLOW, pattern)


def _environ() -> dict[str, str]:
    return {"JDK_JAVA_OPTIONS": os.environ.get("JDK_JAVA_OPTIONS") or kafka_classes.java_options()}
