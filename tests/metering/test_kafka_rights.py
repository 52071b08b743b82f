"""The rights of the services, and the pages that list them."""

import re
from pathlib import Path

import pytest

from metering.kafka_rights import RIGHTS, needed_rights
from metering.preconditions import NOTIFIER_TOPICS, SETTLER_TOPICS, SINK_TOPICS, WORKER_TOPICS
from metering.topics import ALL, EVENTS, LEDGER

PAGES = ("docs/how-to/kafka.md", "docs/how-to/kafka.zh-CN.md")


def listed(page: str) -> set[tuple[str, str, tuple[str, ...]]]:
    """The rows of a page: service, topic or group, operations."""
    found, service = set(), ""
    text = (Path(__file__).parents[2] / page).read_text()
    for named, on, operations in re.findall(
        r"^\| (`\w+`)? *\| (`.+`) \| ([A-Z][\w, ]+) \|$", text, re.MULTILINE
    ):
        service = named.strip("`") or service
        for name in on.split(", "):
            found.add((service, name.strip("`"), tuple(operations.split(", "))))
    return found


@pytest.mark.parametrize("page", PAGES)
def test_the_page_lists_the_rights_of_every_service(page: str) -> None:
    assert listed(page) == {
        (service, one.name, one.operations) for service, rights in RIGHTS.items() for one in rights
    }


def test_a_service_may_use_its_topics_and_describe_all_that_it_checks() -> None:
    own = {
        "worker": WORKER_TOPICS,
        "sink": SINK_TOPICS,
        "notifier": NOTIFIER_TOPICS,
        "settler": SETTLER_TOPICS,
    }
    for service, topics in own.items():
        rights = {one.name: set(one.operations) for one in RIGHTS[service] if one.resource == "topic"}
        assert rights.keys() == {topic.name for topic in ALL}
        assert all("DescribeConfigs" in operations for operations in rights.values())
        used = {name for name, operations in rights.items() if operations & {"Read", "Write"}}
        assert used == topics


def test_an_account_for_several_services_needs_what_each_needs_and_nothing_twice() -> None:
    together = {one.name: one.operations for one in needed_rights(["sink", "settler", "gateway"])}
    assert together[EVENTS] == ("DescribeConfigs", "Write", "Read")
    assert together[LEDGER] == ("Read", "DescribeConfigs")
    assert needed_rights(["sink"]) == RIGHTS["sink"]
