"""Reads that have no answer: whoever asked is told why, and events are taken all the same."""

import asyncio
import threading
from collections.abc import Mapping
from typing import Any

import pytest

from dashboards.http.errors import (
    ExplainingBusyError,
    ExplainingTooLongError,
    LedgerAwayError,
    TooLongError,
    TooMuchError,
)
from metering.times import from_ms
from phonemeter.reads.connection import RESULT_BYTES_MAX, ReadOnlyConnection
from tests.conftest import RunningEngine
from tests.dashboards.http.parts import NOW_MS, ServedReads, reading
from tests.ports import free_port
from tests.producers.gateway.parts import tap
from tests.waiting import blocking_until, until

PATH = "/v1/apps/wx1/balance"


class HeldConnection:
    """A connection whose queries take until they are let go, or fail."""

    def __init__(self) -> None:
        self.go = threading.Event()
        self.asked = 0
        self.within_s: list[float] = []
        self.failure: Exception | None = None
        self.closed = False

    def rows(
        self, query: str, parameters: Mapping[str, object] | None, within_s: float
    ) -> list[tuple[Any, ...]]:
        assert parameters != {}
        self.asked += 1
        self.within_s.append(within_s)
        self.go.wait()
        if self.failure is not None:
            raise self.failure
        if "balances_now" in query or "packs" in query:
            return []
        return [(from_ms(NOW_MS), "wall", 0, 0, 0, 0)]

    def close(self) -> None:
        self.closed = True


def outcomes(served: ServedReads, outcome: str) -> float:
    return served.metrics.registry.get_sample_value(
        "phonemeter_reads_total", {"read": "balance", "outcome": outcome}
    ) or 0.0  # fmt: skip


async def test_while_all_reads_wait_for_clickhouse_events_are_taken_and_one_too_many_is_told_so() -> None:
    held = HeldConnection()
    async with reading(lambda: held, scopes=("read", "emit"), connections=1, waiting_max=2) as served:
        waiting = [asyncio.create_task(served.door.request("GET", PATH)) for _ in range(3)]
        await until(lambda: served.pool.open == 3)
        assert served.metrics.registry.get_sample_value("phonemeter_reads_open") == 3
        assert (await served.door.post(tap("a"))).status == 200
        full = await served.door.request("GET", PATH)
        assert (full.problem, full.headers["retry-after"]) == ("unavailable", "1")
        held.go.set()
        assert {one.status for one in await asyncio.gather(*waiting)} == {404}
        await until(lambda: served.pool.open == 0)
        assert (outcomes(served, "busy"), outcomes(served, "not_found")) == (1, 3)
    assert held.closed


async def test_a_read_that_takes_too_long_is_given_up_and_its_place_stays_taken_until_it_ends() -> None:
    held = HeldConnection()
    async with reading(lambda: held, connections=1, answer_s=0.2) as served:
        slow = await served.door.request("GET", PATH)
        assert (slow.problem, int(slow.headers["retry-after"])) == ("unavailable", 10)
        assert "took longer" in slow.body["detail"]
        assert served.pool.open == 1
        # One whose turn never comes leaves the queue.
        assert (await served.door.request("GET", PATH)).problem == "unavailable"
        await until(lambda: served.pool.open == 1)
        held.go.set()
        await until(lambda: served.pool.open == 0)
    assert held.asked == 1
    assert 0 < held.within_s[0] <= 0.2


async def test_what_a_client_leaves_behind_is_counted_until_it_ends() -> None:
    held = HeldConnection()
    async with reading(lambda: held, connections=1) as served:
        leaving = asyncio.create_task(served.door.request("GET", PATH))
        await until(lambda: held.asked == 1)
        leaving.cancel()
        await asyncio.gather(leaving, return_exceptions=True)
        assert served.pool.open == 1
        held.go.set()
        await until(lambda: served.pool.open == 0)


@pytest.mark.parametrize(
    ("failure", "status", "outcome", "word"),
    [
        (LedgerAwayError("ClickHouse at 127.0.0.1:9000 is away."), 503, "away", "can't be read now"),
        (TooLongError(), 503, "too_long", "took longer"),
        (TooMuchError(), 400, "too_much", "too large"),
    ],
    ids=["away", "too long", "too much"],
)
async def test_a_failure_is_a_sentence_that_names_no_server(
    failure: Exception, status: int, outcome: str, word: str
) -> None:
    held = HeldConnection()
    held.go.set()
    held.failure = failure
    async with reading(lambda: held) as served:
        answer = await served.door.request("GET", PATH)
        assert answer.status == status
        assert word in answer.body["detail"]
        assert "127.0.0.1" not in answer.body["detail"]
        assert ("retry-after" in answer.headers) == (status == 503)
        assert outcomes(served, outcome) == 1
        # The next read is answered again.
        held.failure = None
        assert (await served.door.request("GET", PATH)).status == 404


async def test_without_clickhouse_reads_are_told_so_and_the_gateway_takes_events() -> None:
    away = f"clickhouse://default:secret@127.0.0.1:{free_port()}/phonemeter"
    async with reading(away, scopes=("read", "emit")) as served:
        answer = await served.door.request("GET", PATH)
        assert (answer.status, answer.problem) == (503, "unavailable")
        assert (await served.door.post(tap("a"))).status == 200
        assert list(served.part.troubles()) == []


async def test_one_event_is_explained_at_a_time() -> None:
    held = HeldConnection()
    held.go.set()
    rows = held.rows

    def owner(query: str, parameters: Mapping[str, object] | None, within_s: float) -> list[tuple[Any, ...]]:
        if "DISTINCT appid" in query:
            return [("wx1",)]
        if "event_id" in query:
            stored = (0, 7, 0, "charge", from_ms(NOW_MS), from_ms(NOW_MS), "wx1", "quick", "tap", 1, 30_000)
            return [(*stored, "p1", 9, "", 0, "", "", "", "", "", '{"paid_at_ms":0}')]
        return rows(query, parameters, within_s)

    held.rows = owner  # type: ignore[method-assign] # in place of ClickHouse
    async with reading(lambda: held) as served:
        served.explainer.failure = ExplainingBusyError()
        answer = await served.door.request("GET", "/v1/events/tap")
        assert (answer.problem, answer.headers["retry-after"]) == ("unavailable", "5")
        served.explainer.failure = ExplainingTooLongError()
        answer = await served.door.request("GET", "/v1/events/tap")
        assert (answer.status, "explain=false" in answer.body["detail"]) == (503, True)
        quick = await served.get("/v1/events/tap?explain=false")
        assert quick["stored"][0]["details"] == {"paid_at": "1970-01-01T00:00:00.000Z"}


def test_a_connection_reads_and_does_nothing_else(engine: RunningEngine) -> None:
    connection = ReadOnlyConnection(engine.url(), 10)
    for statement in (
        "CREATE TABLE written (n Int8) ENGINE = Memory",
        "INSERT INTO system.one VALUES (1)",
        "DROP DATABASE default",
        "SET readonly = 0",
    ):
        with pytest.raises(LedgerAwayError):
            connection.rows(statement, None, 5)
    assert connection.rows("SELECT 'still ' || %(word)s", {"word": "'here\\"}, 5) == [("still 'here\\",)]
    connection.close()


def test_a_query_has_limits_of_time_and_bytes(engine: RunningEngine) -> None:
    connection = ReadOnlyConnection(engine.url(), 10)
    with pytest.raises(TooLongError):
        connection.rows("SELECT sum(sipHash64(number)) FROM numbers(1000000000000)", None, 0.2)
    with pytest.raises(TooMuchError):
        connection.rows(
            "SELECT repeat('x', 990000 + number) FROM numbers(%(rows)s)",
            {"rows": RESULT_BYTES_MAX // 990_000 + 1},
            10,
        )
    assert connection.rows("SELECT 1", None, 5) == [(1,)]
    connection.close()


def test_the_service_ends_though_kafka_and_clickhouse_never_answer() -> None:
    held, go = HeldConnection(), threading.Event()

    async def end() -> None:
        async with reading(lambda: held, connections=1) as served:
            served.progress.held = go
            following = asyncio.create_task(served.part.run())
            asked = asyncio.create_task(served.door.request("GET", PATH))
            await until(lambda: held.asked == 1)
            following.cancel()
            asked.cancel()
            await asyncio.gather(following, asked, return_exceptions=True)

    ending = threading.Thread(target=lambda: asyncio.run(end()))
    ending.start()
    try:
        # asyncio waits for the threads that are its own.
        blocking_until(lambda: not ending.is_alive())
        assert held.closed
    finally:
        held.go.set()
        go.set()
