"""Members of consumer groups that were killed. The broker waits for each until its session has run out."""

from kafka.admin._groups import MemberToRemove

from sinks.admin_client import KafkaAdmin


def remove_members(client: KafkaAdmin, group: str) -> None:
    """Remove all members of a group, so that it waits for none of them."""
    members = client.describe_groups([group])[group]["members"]
    if members:
        client.remove_group_members(group, [MemberToRemove(member_id=one["member_id"]) for one in members])
