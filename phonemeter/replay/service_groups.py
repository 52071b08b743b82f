"""Consumer groups of services that must not run while their topics are replaced."""

from collections.abc import Sequence
from typing import Final

from kafka.errors import GroupIdNotFoundError, NonEmptyGroupError

from metering.topics import NOTIFIER_GROUP, SINK_GROUP, WORKER_GROUP
from phonemeter.errors import OperationError, UserError
from phonemeter.stack.kafka.progress import NO_COORDINATOR_YET
from sinks.admin_client import KafkaAdmin

_RUN_BY: Final = {WORKER_GROUP: "worker", SINK_GROUP: "sink", NOTIFIER_GROUP: "notifier"}


def refuse_members(client: KafkaAdmin, groups: Sequence[str]) -> None:
    """Check that no service of these groups runs.

    Raises:
        UserError: a consumer group has members.
    """
    for group in groups:
        try:
            members = len(client.describe_group(group)["members"])
        except NO_COORDINATOR_YET:
            members = 0
        if members:
            raise UserError(_members_sentence(group, members))


def forget_groups(client: KafkaAdmin, groups: Sequence[str]) -> None:
    """Delete the groups' committed offsets; Kafka refuses it for a group with members."""
    refuse_members(client, groups)
    for group in groups:
        try:
            answer = client.delete_group(group)
        except NO_COORDINATOR_YET:
            continue
        if answer == NonEmptyGroupError.__name__:
            raise UserError(_members_sentence(group, 1))
        if answer not in {"OK", GroupIdNotFoundError.__name__}:
            raise OperationError(f"Kafka did not forget how far consumer group {group} has come: {answer}.")


def _members_sentence(group: str, members: int) -> str:
    service = _RUN_BY[group]
    many = f"{members} {service}s are" if members > 1 else f"A {service} is"
    return (
        f"{many} running (consumer group {group} has {members} member{'s' if members > 1 else ''}); stop "
        f"phonemeter up, or every phonemeter {service}, and try again 10 s later."
    )
