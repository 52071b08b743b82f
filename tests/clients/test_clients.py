"""Producers of others: what they send is metered, refused or nothing, as it must be.

Those of Python and Java, which every machine can run; `make clients` runs all whose toolchain is there.
"""

from pathlib import Path

import pytest

from phonemeter.stack.stack import Stack
from tests.clients.outcomes import Reader, differences
from tests.clients.plan import Group
from tests.clients.producers import PRODUCERS, Producer
from tests.clients.run import new_run

HERE = [producer for producer in PRODUCERS if producer.language in {"Python", "Java"}]


@pytest.mark.parametrize("producer", HERE, ids=lambda producer: producer.name)
def test_every_record_of_a_producer_becomes_what_it_must(
    stack: Stack, producer: Producer, tmp_path: Path
) -> None:
    groups: tuple[Group, ...] = producer.plan(new_run())
    assert producer.send(groups, stack.endpoints.kafka, tmp_path) == ""
    found = Reader(stack.endpoints.kafka, stack.endpoints.clickhouse_http).wait(groups)
    differing = differences(groups, found, stack.settings.partitions)
    assert {name: sentences for name, sentences in differing.items() if sentences} == {}
