"""Requests to a Kafka team: command lines of Kafka's own tools, to be copied."""

from collections.abc import Iterable

from kafka_access.access import KafkaAccess
from metering.kafka_rights import ResourceRights
from metering.preconditions import required_config
from metering.topics import ALL


def principal(access: KafkaAccess) -> str:
    """The account as Kafka names it in rights."""
    if access.login is not None:
        return f"User:{access.login.endpoint.client if access.login.endpoint else access.login.user}"
    if access.tls is not None and access.tls.certificate_file is not None:
        return "User:NAME-IN-THE-CLIENT-CERTIFICATE"
    return "User:ANONYMOUS"


def acl_command(access: KafkaAccess, wanted: ResourceRights, operations: Iterable[str]) -> str:
    """The command that gives the account rights on a topic, group or transactional id."""
    name = access.topic(wanted.name) if wanted.resource == "topic" else access.group(wanted.name)
    given = " ".join(f"--operation {one}" for one in operations)
    return (
        f"kafka-acls.sh --bootstrap-server {access.addresses[0]} --add --allow-principal "
        f"'{principal(access)}' {given} --{wanted.resource} {name}"
    )


def topic_command(access: KafkaAccess, name: str, partitions: int) -> str:
    """The command that creates a topic as it must be."""
    config = required_config(next(topic for topic in ALL if topic.name == name))
    if access.insync:
        config["min.insync.replicas"] = str(access.insync)
    replicas = f" --replication-factor {access.replicas}" if access.replicas else ""
    configs = " ".join(f"--config {key}={value}" for key, value in config.items())
    return (
        f"kafka-topics.sh --bootstrap-server {access.addresses[0]} --create --topic {access.topic(name)} "
        f"--partitions {partitions}{replicas} {configs}"
    )


def config_command(access: KafkaAccess, topic: str, setting: str, value: str) -> str:
    """The command that sets the configuration of a topic, given by its name on the brokers."""
    return (
        f"kafka-configs.sh --bootstrap-server {access.addresses[0]} --alter --entity-type topics "
        f"--entity-name {topic} --add-config {setting}={value}"
    )
