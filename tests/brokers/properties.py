"""The configuration of a cluster's nodes: each is broker and controller, and checks rights."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from phonemeter.stack.kafka.broker import SMALL_MACHINE
from phonemeter.stack.probes import HOST
from tests import ports
from tests.brokers.authority import Authority

BROKER: Final = "broker"
ADMIN: Final = "admin"
ANONYMOUS: Final = "ANONYMOUS"
"""Kafka's name for who comes without a login."""

_MODULES: Final = "org.apache.kafka.common.security"
_SCRAM: Final = f"{_MODULES}.scram.ScramLoginModule"


@dataclass(frozen=True, slots=True)
class NodePorts:
    """The ports of a node.

    Attributes:
        secure: SASL over TLS: SCRAM-SHA-256, SCRAM-SHA-512, PLAIN, OAUTHBEARER with unsigned tokens.
        mutual: TLS with a certificate of the client, whose common name is the account.
        open: neither login nor TLS, with all rights: for the test itself.
        controller: for the other nodes.
    """

    secure: int = field(default_factory=ports.free_port)
    mutual: int = field(default_factory=ports.free_port)
    open: int = field(default_factory=ports.free_port)
    controller: int = field(default_factory=ports.free_port)


def node_properties(
    number: int, nodes: Sequence[NodePorts], authority: Authority, accounts: Mapping[str, str], data: Path
) -> dict[str, str]:
    """The configuration of the node of that number, from 1 on, in a cluster of `nodes`."""
    own = nodes[number - 1]
    listeners = {"SECURE": own.secure, "MUTUAL": own.mutual, "OPEN": own.open}
    replicas = len(nodes)
    least = "2" if replicas > 2 else "1"
    return {
        **SMALL_MACHINE,
        "process.roles": "broker,controller",
        "node.id": str(number),
        "controller.quorum.voters": ",".join(
            f"{voter}@{HOST}:{node.controller}" for voter, node in enumerate(nodes, 1)
        ),
        "listeners": _addresses({**listeners, "CONTROLLER": own.controller}),
        "advertised.listeners": _addresses(listeners),
        "listener.security.protocol.map": "SECURE:SASL_SSL,MUTUAL:SSL,OPEN:PLAINTEXT,CONTROLLER:SSL",
        "controller.listener.names": "CONTROLLER",
        "inter.broker.listener.name": "SECURE",
        "log.dirs": str(data),
        **_security(authority, accounts),
        "default.replication.factor": str(replicas),
        "min.insync.replicas": least,
        "offsets.topic.replication.factor": str(replicas),
        "transaction.state.log.replication.factor": str(replicas),
        "transaction.state.log.min.isr": least,
        "share.coordinator.state.topic.replication.factor": str(replicas),
        "share.coordinator.state.topic.min.isr": least,
        # Each listener has its own.
        "num.network.threads": "1",
        # Leaders move when a test moves them.
        "auto.leader.rebalance.enable": "false",
        # On a busy machine no node is to be given up for being slow.
        "controller.quorum.election.timeout.ms": "2000",
        "controller.quorum.fetch.timeout.ms": "5000",
        "broker.session.timeout.ms": "6000",
        # A broker that stands still leaves the replicas in sync soon.
        "replica.lag.time.max.ms": "5000",
        "offsets.retention.check.interval.ms": "1000",
    }


def _security(authority: Authority, accounts: Mapping[str, str]) -> dict[str, str]:
    secure = "listener.name.secure"
    login = f'username="{BROKER}" password="{accounts[BROKER]}"'
    plain = " ".join(f'user_{name}="{password}"' for name, password in accounts.items())
    return {
        "ssl.keystore.type": "PEM",
        "ssl.keystore.location": str(authority.issue(BROKER).both),
        "ssl.truststore.type": "PEM",
        "ssl.truststore.location": str(authority.file),
        "ssl.principal.mapping.rules": "RULE:^CN=([^,]+).*$/$1/",
        "listener.name.mutual.ssl.client.auth": "required",
        "listener.name.controller.ssl.client.auth": "required",
        "sasl.mechanism.inter.broker.protocol": "SCRAM-SHA-512",
        "sasl.enabled.mechanisms": "SCRAM-SHA-256,SCRAM-SHA-512,PLAIN,OAUTHBEARER",
        f"{secure}.scram-sha-256.sasl.jaas.config": f"{_SCRAM} required {login};",
        f"{secure}.scram-sha-512.sasl.jaas.config": f"{_SCRAM} required {login};",
        f"{secure}.plain.sasl.jaas.config": f"{_MODULES}.plain.PlainLoginModule required {login} {plain};",
        f"{secure}.oauthbearer.sasl.jaas.config": f"{_MODULES}.oauthbearer.OAuthBearerLoginModule required;",
        f"{secure}.oauthbearer.sasl.server.callback.handler.class": f"{_MODULES}.oauthbearer.internals."
        "unsecured.OAuthBearerUnsecuredValidatorCallbackHandler",
        "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
        "super.users": ";".join(f"User:{name}" for name in (BROKER, ADMIN, ANONYMOUS)),
    }


def _addresses(listeners: Mapping[str, int]) -> str:
    return ",".join(f"{name}://{HOST}:{port}" for name, port in listeners.items())
