"""Publishing to a real broker, and what is told of it when the broker is away, refuses, or comes back."""

import asyncio
import os
import signal
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial

import pytest

from metering import topics as names
from streams.batch_step import Outgoing
from streams.publishing import RECORD_BYTES_MAX, GivenUpError, Publisher, RefusedError, connect
from tests.conftest import PARTITIONS, RunningKafka
from tests.streams.worker_process import records_of

WITHIN_S = 60


def ledger_records(count: int, first: int = 0, size: int = 2_000) -> list[Outgoing]:
    """Numbered records, in turns for each partition."""
    return [
        Outgoing(names.LEDGER, number % PARTITIONS, None, b"%d " % number + os.urandom(size))
        for number in range(first, first + count)
    ]


def stored(kafka: RunningKafka) -> dict[int, list[int]]:
    """The numbers in the ledger topic, by partition, in their order."""
    found: defaultdict[int, list[int]] = defaultdict(list)
    for partition, _, value in records_of(kafka.bootstrap, names.LEDGER):
        found[partition].append(int((value or b"").split(maxsplit=1)[0]))
    return found


def in_turns(numbers: Sequence[int]) -> dict[int, list[int]]:
    """The numbers by partition, each once and in their order."""
    return {turn: [number for number in numbers if number % PARTITIONS == turn] for turn in range(PARTITIONS)}


@contextmanager
def standing_still(kafka: RunningKafka) -> Iterator[None]:
    """A broker that holds its connections and says nothing."""
    os.kill(kafka.supervised.pid or 0, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(kafka.supervised.pid or 0, signal.SIGCONT)


async def test_what_is_published_is_confirmed_once_it_is_stored_in_its_order(topics: RunningKafka) -> None:
    publisher = Publisher(partial(connect, topics.bootstrap))
    await asyncio.wait_for(publisher.publish(ledger_records(3_000)), WITHIN_S)
    assert stored(topics) == in_turns(range(3_000))


async def test_keys_values_and_the_absence_of_a_value_arrive_as_they_are(topics: RunningKafka) -> None:
    publisher = Publisher(partial(connect, topics.bootstrap))
    given = [b"", b"a", None]
    records = [Outgoing(names.STATE, 2, b"account/wx", value) for value in given]
    await asyncio.wait_for(publisher.publish(records), WITHIN_S)
    assert records_of(topics.bootstrap, names.STATE) == [
        (2, offset, value) for offset, value in enumerate(given)
    ]


async def test_publications_side_by_side_are_confirmed_each_for_itself(topics: RunningKafka) -> None:
    publisher = Publisher(partial(connect, topics.bootstrap))
    parts = [publisher.publish(ledger_records(400, first)) for first in range(0, 2_000, 400)]
    await asyncio.wait_for(asyncio.gather(*parts), WITHIN_S)
    assert stored(topics) == in_turns(range(2_000))


async def test_nothing_is_confirmed_at_once() -> None:
    assert Publisher(partial(connect, "127.0.0.1:1")).publish([]).done()


async def test_while_the_broker_stands_still_nothing_is_confirmed_and_then_everything(
    topics: RunningKafka,
) -> None:
    publisher = Publisher(partial(connect, topics.bootstrap))
    await asyncio.wait_for(publisher.publish(ledger_records(8)), WITHIN_S)
    with standing_still(topics):
        outcome = publisher.publish(ledger_records(400, first=8))
        done, _ = await asyncio.wait({outcome}, timeout=1)
        assert not done
    await asyncio.wait_for(outcome, WITHIN_S)
    assert stored(topics) == in_turns(range(408))


async def test_a_broker_that_is_killed_gets_what_it_did_not_confirm_once_and_in_order(
    topics: RunningKafka,
) -> None:
    publisher = Publisher(partial(connect, topics.bootstrap))
    await asyncio.wait_for(publisher.publish(ledger_records(8)), WITHIN_S)
    with standing_still(topics):
        parts = [publisher.publish(ledger_records(400, first)) for first in (8, 408, 808)]
        await asyncio.sleep(0)
        os.kill(topics.supervised.pid or 0, signal.SIGKILL)
    await asyncio.wait_for(asyncio.gather(*parts), WITHIN_S)
    assert stored(topics) == in_turns(range(1_208))


async def test_what_is_given_up_is_told_so_and_stops_nobody_for_long(free_port: Callable[[], int]) -> None:
    publisher = Publisher(partial(connect, f"127.0.0.1:{free_port()}"))
    outcome = publisher.publish(ledger_records(2_000))
    started_s = time.monotonic()
    publisher.give_up()
    assert time.monotonic() - started_s < WITHIN_S
    with pytest.raises(GivenUpError):
        await outcome


async def test_after_giving_up_others_are_published_and_what_was_given_up_never_comes_behind_them(
    topics: RunningKafka,
) -> None:
    publisher = Publisher(partial(connect, topics.bootstrap))
    await asyncio.wait_for(publisher.publish(ledger_records(8)), WITHIN_S)
    with standing_still(topics):
        given_up = publisher.publish(ledger_records(4_000, first=8))
        publisher.give_up()
        outcome = publisher.publish(ledger_records(8, first=5_000))
    with pytest.raises(GivenUpError):
        await given_up
    await asyncio.wait_for(outcome, WITHIN_S)
    for partition, numbers in stored(topics).items():
        before = [number for number in numbers if number < 5_000]
        assert before == in_turns(range(5_000))[partition][: len(before)]
        assert sorted(set(numbers) - set(before)) == in_turns(range(5_000, 5_008))[partition]


async def test_what_librdkafka_does_not_take_is_refused_and_so_is_all_that_comes_after(
    topics: RunningKafka,
) -> None:
    publisher = Publisher(partial(connect, topics.bootstrap))
    with pytest.raises(RefusedError, match=r"^Kafka does not take a record of phone-ledger: .*\.$"):
        publisher.publish(ledger_records(1, size=RECORD_BYTES_MAX + 1))
    with pytest.raises(RefusedError, match="phone-ledger"):
        publisher.publish(ledger_records(1))


async def test_what_the_broker_does_not_take_is_refused_and_nothing_comes_after_it(
    topics: RunningKafka,
) -> None:
    publisher = Publisher(partial(connect, topics.bootstrap))
    records = [*ledger_records(4), *ledger_records(1, first=4, size=1_500_000), *ledger_records(4, first=8)]
    with pytest.raises(RefusedError, match=r"^Kafka does not take .*phone-ledger.* size too large.*\.$"):
        await asyncio.wait_for(publisher.publish(records), WITHIN_S)
    with pytest.raises(RefusedError, match="phone-ledger"):
        publisher.publish(ledger_records(1))
    assert stored(topics)[0] in ([], [0])
