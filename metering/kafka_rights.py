"""The least rights on Kafka of each service, as Kafka's own authorizer takes them. Pure.

`phonemeter doctor` compares them with those that the brokers grant. Read and Write include Describe.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Final, Literal, NamedTuple

from metering.topics import (
    ALERTS,
    ALL,
    DEAD_LETTERS,
    DELIVERIES,
    EVENTS,
    LEDGER,
    NOTIFIER_GROUP,
    REPARTITION_GROUP,
    RESTORE_GROUP,
    RESTORE_TRANSACTIONS,
    SINK_GROUP,
    STATE,
    WORKER_GROUP,
)

Operation = Literal["Read", "Write", "Create", "Delete", "AlterConfigs", "Describe", "DescribeConfigs"]
Resource = Literal["topic", "group", "transactional-id"]

_INCLUDED_IN: Final[Mapping[Operation, frozenset[Operation]]] = {
    "Describe": frozenset({"Read", "Write", "Delete"}),
    "DescribeConfigs": frozenset({"AlterConfigs"}),
}
"""Operations that another one allows as well."""


class ResourceRights(NamedTuple):
    """The operations that an account needs on a resource, by its name without prefix."""

    resource: Resource
    name: str
    operations: tuple[Operation, ...]


def _of(
    topics: Mapping[str, Iterable[Operation]],
    groups: Mapping[str, Iterable[Operation]] | None = None,
    transactions: Iterable[str] = (),
    *,
    checks_topics: bool = True,
) -> tuple[ResourceRights, ...]:
    """The rights on topics, groups and transactional ids; who checks the topics may describe all of them."""
    described = _described(topics, checks_topics=checks_topics)
    return (
        *(ResourceRights("topic", name, tuple(operations)) for name, operations in described),
        *(ResourceRights("group", name, tuple(operations)) for name, operations in (groups or {}).items()),
        *(ResourceRights("transactional-id", name, ("Write",)) for name in transactions),
    )


def _described(
    topics: Mapping[str, Iterable[Operation]], *, checks_topics: bool
) -> Iterator[tuple[str, list[Operation]]]:
    for topic in ALL:
        used = [*topics.get(topic.name, ())]
        if checks_topics:
            for operation in ("Describe", "DescribeConfigs"):
                if not _INCLUDED_IN[operation] & set(used):
                    used.append(operation)
        if used:
            yield topic.name, used


RIGHTS: Final[Mapping[str, tuple[ResourceRights, ...]]] = {
    "worker": _of(
        {
            # It writes clock ticks to the log that it reads.
            EVENTS: ("Read", "Write"),
            LEDGER: ("Write",),
            ALERTS: ("Write",),
            DEAD_LETTERS: ("Write",),
            STATE: ("Read", "Write"),
        },
        {WORKER_GROUP: ("Read",)},
    ),
    "sink": _of({LEDGER: ("Read",), DELIVERIES: ("Read",)}, {SINK_GROUP: ("Read",)}),
    "settler": _of({EVENTS: ("Write",)}),
    "notifier": _of({ALERTS: ("Read",), DELIVERIES: ("Read", "Write")}, {NOTIFIER_GROUP: ("Read",)}),
    "gateway": _of(
        {EVENTS: ("Read", "Write"), LEDGER: ("Read",), STATE: ("Read",)},
        {WORKER_GROUP: ("Describe",), SINK_GROUP: ("Describe",)},
        checks_topics=False,
    ),
    "console": _of({EVENTS: ("Write",), DELIVERIES: ("Write",)}, checks_topics=False),
    "wechat": _of({EVENTS: ("Write",)}, checks_topics=False),
    "producer": _of({EVENTS: ("Write",)}, checks_topics=False),
    "audit": _of(
        {EVENTS: ("Read",), LEDGER: ("Read",), DEAD_LETTERS: ("Read",), STATE: ("Read",)},
        {WORKER_GROUP: ("Describe",), SINK_GROUP: ("Describe",)},
    ),
    "backup": _of(
        {topic.name: ("Read",) for topic in ALL}, {NOTIFIER_GROUP: ("Describe",)}, checks_topics=False
    ),
    "restore": _of(
        {
            topic.name: (
                "Read",
                "Write",
                "Create",
                "Delete",
                *(("AlterConfigs",) if topic.name == EVENTS else ()),
            )
            for topic in ALL
        },
        {
            WORKER_GROUP: ("Read", "Delete"),
            SINK_GROUP: ("Describe", "Delete"),
            NOTIFIER_GROUP: ("Read", "Delete"),
            RESTORE_GROUP: ("Read", "Delete"),
        },
        {RESTORE_TRANSACTIONS},
    ),
    # On the topics with the old prefix, and on those with the new one.
    "repartition": _of(
        {
            EVENTS: ("Read", "Write", "Create", "AlterConfigs"),
            LEDGER: ("Read", "Create"),
            ALERTS: ("Read", "Create"),
            DEAD_LETTERS: ("Read", "Create"),
            STATE: ("Read", "Create"),
            DELIVERIES: ("Read", "Write", "Create"),
        },
        {
            WORKER_GROUP: ("Describe", "Delete"),
            SINK_GROUP: ("Describe", "Delete"),
            NOTIFIER_GROUP: ("Read", "Delete"),
            RESTORE_GROUP: ("Read", "Delete"),
            REPARTITION_GROUP: ("Read", "Delete"),
        },
        {RESTORE_TRANSACTIONS},
    ),
    "operator": _of(
        {
            EVENTS: ("Read", "Write", "Create", "AlterConfigs"),
            LEDGER: ("Read", "Create", "Delete", "AlterConfigs"),
            ALERTS: ("Read", "Create", "Delete", "AlterConfigs"),
            DEAD_LETTERS: ("Read", "Create", "Delete", "AlterConfigs"),
            STATE: ("Read", "Create", "Delete", "AlterConfigs"),
            DELIVERIES: ("Read", "Write", "Create", "AlterConfigs"),
        },
        {
            WORKER_GROUP: ("Describe", "Delete"),
            SINK_GROUP: ("Describe", "Delete"),
            NOTIFIER_GROUP: ("Describe",),
        },
    ),
}
"""By service. `producer` is a back end with the Python client or one of its own; `backup`, `restore`
and `repartition` are the accounts of these commands, `operator` that of `phonemeter topics`, `status`,
`replay` and the like."""


def needed_rights(services: Iterable[str]) -> tuple[ResourceRights, ...]:
    """The rights that one account needs for all of these services."""
    together: dict[tuple[Resource, str], dict[Operation, None]] = {}
    for service in services:
        for one in RIGHTS[service]:
            together.setdefault((one.resource, one.name), {}).update(dict.fromkeys(one.operations))
    return tuple(
        ResourceRights(resource, name, tuple(_not_included(operations)))
        for (resource, name), operations in together.items()
    )


def _not_included(operations: Iterable[Operation]) -> Iterator[Operation]:
    given = set(operations)
    return (one for one in operations if not _INCLUDED_IN.get(one, frozenset()) & given)
