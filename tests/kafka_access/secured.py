"""A broker with TLS, logins and rights, and access to it in every way that it lets accounts in."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Final

from confluent_kafka.admin import AdminClient
from confluent_kafka.admin._acl import AclBinding, AclBindingFilter, AclOperation, AclPermissionType
from confluent_kafka.admin._resource import ResourcePatternType, ResourceType

from kafka_access.access import KafkaAccess, Login, Mechanism, Tls, TokenEndpoint
from metering.kafka_rights import RIGHTS, Operation, Resource, ResourceRights
from phonemeter.stack.probes import HOST
from tests import ports
from tests.brokers.cluster import Cluster
from tests.brokers.properties import ADMIN
from tests.kafka_access.token_endpoint import SECRET, TokenServer, token_server
from tests.waiting import blocking_until

ACCOUNTS: Final = {name: f"{name}-password" for name in RIGHTS}
USERS: Final[tuple[Mechanism, ...]] = ("PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512")
UNREACHABLE: Final = "kafka-1.invalid:9093"

_OPERATIONS: Final[dict[Operation, AclOperation]] = {
    "Read": AclOperation.READ,
    "Write": AclOperation.WRITE,
    "Create": AclOperation.CREATE,
    "Delete": AclOperation.DELETE,
    "AlterConfigs": AclOperation.ALTER_CONFIGS,
    "Describe": AclOperation.DESCRIBE,
    "DescribeConfigs": AclOperation.DESCRIBE_CONFIGS,
}


_RESOURCES: Final[dict[Resource, ResourceType]] = {
    "topic": ResourceType.TOPIC,
    "group": ResourceType.GROUP,
    "transactional-id": ResourceType.TRANSACTIONAL_ID,
}


@dataclass(frozen=True, slots=True)
class SecureKafka:
    """A secured broker, a token endpoint that it trusts, and a directory for files.

    Attributes:
        expired: address of a listener whose certificate has expired.
        astray: address of one that lets in by PLAIN only, and tells clients to connect to `UNREACHABLE`.
    """

    cluster: Cluster
    tokens: TokenServer
    directory: Path
    expired: str
    astray: str

    @property
    def tls(self) -> Tls:
        """TLS that trusts its authority."""
        return Tls(ca_file=self.cluster.authority.file)

    def as_user(
        self, name: str = ADMIN, mechanism: Mechanism = "SCRAM-SHA-512", password: str | None = None
    ) -> KafkaAccess:
        """The access of a user, with the right password if none is given."""
        login = Login(mechanism, name, self.cluster.accounts[name] if password is None else password)
        return KafkaAccess(self.cluster.secure, tls=self.tls, login=login)

    def by_token(self, client: str = ADMIN, secret: str = SECRET, ca_file: Path | None = None) -> KafkaAccess:
        """The access of a client of the token endpoint."""
        file = self.directory / f"secret-{len(secret)}"
        file.write_text(secret)
        endpoint = TokenEndpoint(self.tokens.url, client, file, "kafka", ca_file or self.tokens.ca_file)
        login = Login("OAUTHBEARER", endpoint=endpoint)
        return KafkaAccess(self.cluster.secure, tls=self.tls, login=login)

    def by_certificate(self, name: str = ADMIN) -> KafkaAccess:
        """The access of a client with a certificate."""
        own = self.cluster.authority.issue(name)
        tls = replace(self.tls, certificate_file=own.certificate, key_file=own.key)
        return KafkaAccess(self.cluster.mutual, tls=tls)

    def grant(self, account: str, rights: Iterable[ResourceRights], prefix: str = "") -> None:
        """Give an account rights."""
        client = AdminClient({"bootstrap.servers": self.cluster.open})
        for done in client.create_acls(
            [AclBinding(*one) for one in _entries(account, rights, prefix)]
        ).values():
            done.result(timeout=30)
        for one in _entries(account, rights, prefix):
            wanted = AclBindingFilter(*one)
            blocking_until(partial(_is_seen, client, wanted), what="the broker knows the right")

    def revoke(self, account: str, rights: Iterable[ResourceRights], prefix: str = "") -> None:
        """Take rights from an account."""
        client = AdminClient({"bootstrap.servers": self.cluster.open})
        for done in client.delete_acls(
            [AclBindingFilter(*one) for one in _entries(account, rights, prefix)]
        ).values():
            assert done.result(timeout=30)


@contextmanager
def secure_broker(directory: Path) -> Iterator[SecureKafka]:
    """A broker with an account per service, which have no rights, that runs within the block."""
    cluster = Cluster(directory, 1, ACCOUNTS)
    expired, astray = ports.free_port(), ports.free_port()
    file = cluster.nodes[0].data.with_name("server.properties")
    entries = dict(line.split("=", 1) for line in file.read_text().splitlines())
    entries["listeners"] += f",EXPIRED://{HOST}:{expired},ASTRAY://{HOST}:{astray}"
    entries["advertised.listeners"] += f",EXPIRED://{HOST}:{expired},ASTRAY://{UNREACHABLE}"
    entries["listener.security.protocol.map"] += ",EXPIRED:SSL,ASTRAY:SASL_SSL"
    late = cluster.authority.issue("late", valid=timedelta(seconds=-1))
    entries["listener.name.expired.ssl.keystore.location"] = str(late.both)
    entries["listener.name.astray.sasl.enabled.mechanisms"] = "PLAIN"
    entries["listener.name.astray.plain.sasl.jaas.config"] = entries[
        "listener.name.secure.plain.sasl.jaas.config"
    ]
    file.write_text("".join(f"{key}={value}\n" for key, value in entries.items()))
    try:
        cluster.start()
        with token_server(cluster.authority) as tokens:
            yield SecureKafka(cluster, tokens, directory, f"{HOST}:{expired}", f"{HOST}:{astray}")
    finally:
        cluster.kill()


_Entry = tuple[ResourceType, str, ResourcePatternType, str, str, AclOperation, AclPermissionType]


def _entries(account: str, rights: Iterable[ResourceRights], prefix: str) -> Iterator[_Entry]:
    for one in rights:
        resource = _RESOURCES[one.resource]
        for operation in one.operations:
            yield (
                resource,
                f"{prefix}{one.name}",
                ResourcePatternType.LITERAL,
                f"User:{account}",
                "*",
                _OPERATIONS[operation],
                AclPermissionType.ALLOW,
            )


def _is_seen(client: AdminClient, wanted: AclBindingFilter) -> bool:
    return bool(client.describe_acls(wanted).result(timeout=30))
