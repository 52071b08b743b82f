"""Publications to a real broker that is down, frozen, killed, or refuses records."""

import asyncio
import os
import signal
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial

import pytest

from kafka_access.access import KafkaAccess
from metering import topics as names
from metering.topics import PUBLISHED_BYTES_MAX
from streams import metrics
from streams.batch_step import OutputRecord
from streams.publisher import GivenUpError, Publisher, PublishRefusedError, connect
from tests.conftest import PARTITIONS, RunningKafka
from tests.streams.worker_process import records_of
from tests.waiting import WITHIN_S


def ledger_records(count: int, first: int = 0, size: int = 2_000) -> list[OutputRecord]:
    """Numbered records, for the partitions in turn."""
    return [
        OutputRecord(names.LEDGER, number % PARTITIONS, None, b"%d " % number + os.urandom(size))
        for number in range(first, first + count)
    ]


def stored_numbers(kafka: RunningKafka) -> dict[int, list[int]]:
    """The numbers in the ledger topic, by partition, in their order."""
    found: defaultdict[int, list[int]] = defaultdict(list)
    for partition, _, value in records_of(kafka.bootstrap, names.LEDGER):
        found[partition].append(int((value or b"").split(maxsplit=1)[0]))
    return found


def in_turns(numbers: Sequence[int]) -> dict[int, list[int]]:
    """The numbers by partition, each once and in their order."""
    return {turn: [number for number in numbers if number % PARTITIONS == turn] for turn in range(PARTITIONS)}


def pid_of(kafka: RunningKafka) -> int:
    """The broker's process. There is one: the number 0 would name every process of the tests."""
    pid = kafka.supervised.pid
    assert pid is not None
    return pid


@contextmanager
def frozen_broker(kafka: RunningKafka) -> Iterator[None]:
    """A broker that keeps its connections open and does not respond."""
    frozen = pid_of(kafka)
    os.kill(frozen, signal.SIGSTOP)
    try:
        yield
    finally:
        # One that was killed meanwhile is another process by now, or none.
        if kafka.supervised.pid == frozen:
            os.kill(frozen, signal.SIGCONT)


async def test_publications_are_confirmed_once_they_are_stored_in_order(topics: RunningKafka) -> None:
    publisher = Publisher(partial(connect, KafkaAccess(topics.bootstrap)))
    await asyncio.wait_for(publisher.publish(ledger_records(3_000)), WITHIN_S)
    assert stored_numbers(topics) == in_turns(range(3_000))


async def test_keys_values_and_the_absence_of_a_value_arrive_as_they_are(topics: RunningKafka) -> None:
    publisher = Publisher(partial(connect, KafkaAccess(topics.bootstrap)))
    given = [b"", b"a", None]
    records = [OutputRecord(names.STATE, 2, b"account/wx", value) for value in given]
    await asyncio.wait_for(publisher.publish(records), WITHIN_S)
    assert records_of(topics.bootstrap, names.STATE) == [
        (2, offset, value) for offset, value in enumerate(given)
    ]


async def test_concurrent_publications_are_confirmed_separately(topics: RunningKafka) -> None:
    publisher = Publisher(partial(connect, KafkaAccess(topics.bootstrap)))
    parts = [publisher.publish(ledger_records(400, first)) for first in range(0, 2_000, 400)]
    await asyncio.wait_for(asyncio.gather(*parts), WITHIN_S)
    assert stored_numbers(topics) == in_turns(range(2_000))


async def test_an_empty_publication_is_confirmed_at_once() -> None:
    assert Publisher(partial(connect, KafkaAccess("127.0.0.1:1"))).publish([]).done()


async def test_nothing_is_confirmed_while_the_broker_is_frozen_and_everything_afterwards(
    topics: RunningKafka,
) -> None:
    publisher = Publisher(partial(connect, KafkaAccess(topics.bootstrap)))
    await asyncio.wait_for(publisher.publish(ledger_records(8)), WITHIN_S)
    with frozen_broker(topics):
        outcome = publisher.publish(ledger_records(400, first=8))
        done, _ = await asyncio.wait({outcome}, timeout=1)
        assert not done
    await asyncio.wait_for(outcome, WITHIN_S)
    assert stored_numbers(topics) == in_turns(range(408))


async def test_a_killed_broker_gets_unconfirmed_records_once_and_in_order(
    topics: RunningKafka,
) -> None:
    publisher = Publisher(partial(connect, KafkaAccess(topics.bootstrap)))
    await asyncio.wait_for(publisher.publish(ledger_records(8)), WITHIN_S)
    with frozen_broker(topics):
        parts = [publisher.publish(ledger_records(400, first)) for first in (8, 408, 808)]
        await asyncio.sleep(0)
        os.kill(pid_of(topics), signal.SIGKILL)
    await asyncio.wait_for(asyncio.gather(*parts), WITHIN_S)
    assert stored_numbers(topics) == in_turns(range(1_208))


async def test_giving_up_fails_the_publication_and_does_not_block(free_port: Callable[[], int]) -> None:
    publisher = Publisher(partial(connect, KafkaAccess(f"127.0.0.1:{free_port()}")))
    outcome = publisher.publish(ledger_records(2_000))
    started_s = time.monotonic()
    publisher.give_up()
    assert time.monotonic() - started_s < WITHIN_S
    with pytest.raises(GivenUpError):
        await outcome


async def test_records_that_were_given_up_never_arrive_after_later_publications(
    topics: RunningKafka,
) -> None:
    publisher = Publisher(partial(connect, KafkaAccess(topics.bootstrap)))
    await asyncio.wait_for(publisher.publish(ledger_records(8)), WITHIN_S)
    with frozen_broker(topics):
        given_up = publisher.publish(ledger_records(4_000, first=8))
        publisher.give_up()
        outcome = publisher.publish(ledger_records(8, first=5_000))
    with pytest.raises(GivenUpError):
        await given_up
    await asyncio.wait_for(outcome, WITHIN_S)
    for partition, numbers in stored_numbers(topics).items():
        before = [number for number in numbers if number < 5_000]
        assert before == in_turns(range(5_000))[partition][: len(before)]
        assert sorted(set(numbers) - set(before)) == in_turns(range(5_000, 5_008))[partition]


async def test_a_record_that_librdkafka_refuses_is_refused_and_so_is_every_later_one(
    topics: RunningKafka,
) -> None:
    publisher = Publisher(partial(connect, KafkaAccess(topics.bootstrap)))
    with pytest.raises(PublishRefusedError, match=r"^Kafka does not take a record of phone-ledger: .*\.$"):
        publisher.publish(ledger_records(1, size=PUBLISHED_BYTES_MAX + 1))
    with pytest.raises(PublishRefusedError, match="phone-ledger"):
        publisher.publish(ledger_records(1))


async def test_a_record_that_the_broker_refuses_is_refused_and_nothing_arrives_after_it(
    topics: RunningKafka,
) -> None:
    publisher = Publisher(partial(connect, KafkaAccess(topics.bootstrap)))
    records = [*ledger_records(4), *ledger_records(1, first=4, size=1_500_000), *ledger_records(4, first=8)]
    with pytest.raises(
        PublishRefusedError, match=r"^Kafka does not take .*phone-ledger.* size too large.*\.$"
    ):
        await asyncio.wait_for(publisher.publish(records), WITHIN_S)
    with pytest.raises(PublishRefusedError, match="phone-ledger"):
        publisher.publish(ledger_records(1))
    assert stored_numbers(topics)[0] in ([], [0])
    # What its client still has would be published into the topics of the next test.
    publisher.give_up()


class StalledClient:
    """A client whose threads wait because the clock stepped back: it takes records and confirms none."""

    def __init__(self) -> None:
        self.taken = 0
        self.purged = False

    def produce(self, *_record: object, **_told: object) -> None:
        self.taken += 1

    def poll(self, timeout: float) -> int:
        del timeout
        return 0

    def purge(self, *, blocking: bool = True) -> None:
        assert not blocking
        self.purged = True


async def test_a_stalled_client_is_replaced_and_its_publications_are_given_up(
    topics: RunningKafka, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("streams.publisher.STALLED_S", 0.2)
    stalled = StalledClient()
    clients = [stalled, connect(KafkaAccess(topics.bootstrap))]
    renewals = metrics.PUBLISHER_RENEWALS._value.get()
    publisher = Publisher(lambda: clients.pop(0))
    parts = [publisher.publish(ledger_records(4)), publisher.publish(ledger_records(4))]
    for outcome in parts:
        with pytest.raises(GivenUpError):
            await asyncio.wait_for(outcome, WITHIN_S)
    assert stalled.purged
    assert metrics.PUBLISHER_RENEWALS._value.get() == renewals + 1
    monkeypatch.setattr("streams.publisher.STALLED_S", WITHIN_S)
    await asyncio.wait_for(publisher.publish(ledger_records(8)), WITHIN_S)
    assert stored_numbers(topics) == in_turns(range(8))


async def test_the_suspension_of_the_process_does_not_count_as_a_stalled_client(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("streams.publisher.STALLED_S", 1.5)
    stalled = StalledClient()
    outcome = Publisher(lambda: stalled).publish(ledger_records(8))
    # The loop stands for longer than a client may: as after SIGSTOP, and while a batch is metered.
    time.sleep(2)  # noqa: ASYNC251 - that nothing else runs is the point
    await asyncio.wait({outcome}, timeout=0.1)
    assert not outcome.done()
    with pytest.raises(GivenUpError):
        await asyncio.wait_for(outcome, WITHIN_S)


async def test_librdkafka_buffers_a_limited_number_of_bytes_and_everything_arrives_in_order(
    topics: RunningKafka, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("streams.publisher.QUEUE_BYTES_MAX", 20_000)
    publisher = Publisher(partial(connect, KafkaAccess(topics.bootstrap)))
    parts = [publisher.publish(ledger_records(200, first)) for first in (0, 200)]
    most = 0
    while not all(part.done() for part in parts):
        most = max(most, publisher._bytes)
        await asyncio.sleep(0)
    assert 20_000 <= most < 20_000 + 2_100
    assert publisher._bytes == 0
    assert stored_numbers(topics) == in_turns(range(400))
