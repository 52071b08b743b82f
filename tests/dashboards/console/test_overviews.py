"""Overviews are kept: a visitor waits once, sees figures that are seconds old, and never those of another."""

import asyncio
import threading
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pytest

from dashboards.console.ledger_reads import LedgerReads
from dashboards.console.overviews import FRESH_MIN_S, OWNERS_MAX, SHOWN_S, Overviews
from dashboards.console.problems import ConsoleProblem
from dashboards.http.errors import LedgerAwayError
from dashboards.http.pool import ReadPool
from metering.times import from_ms
from tests.waiting import until

NOW_MS = 1_719_800_000_000


class ScriptedLedger:
    """In place of ClickHouse: each app has so many calls left; it counts how often outlooks are read."""

    def __init__(self) -> None:
        self.left = 7
        self.reads = 0
        self.away = False
        self.has_apps = True
        self.asked_for_all = False
        self.name = ""
        self.lines = 8

    def rows(
        self, query: str, parameters: Mapping[str, Any] | None, within_s: float
    ) -> list[tuple[Any, ...]]:
        assert within_s > 0
        if self.away:
            raise LedgerAwayError("ClickHouse is away.")
        if "sum(times)" in query:
            return [("wx1", self.lines)]
        if "FROM clock" in query:
            return [(from_ms(NOW_MS), "wall")]
        assert parameters is not None
        apps = parameters.get("appids", ("wx1", "wx2"))
        if "FROM agreement" in query:
            return [(appid, "quick", 4) for appid in apps]
        if query.startswith("SELECT appid, name"):
            return [(appid, self.name or appid, 0) for appid in apps]
        if "FROM balances_now" not in query or not self.has_apps:
            return []
        self.reads += 1
        self.asked_for_all = "appids" not in parameters
        return [
            (appid, self.name or appid, 0, None, "", [], "quick", self.left, 0, 0, 0, 0, 0, None)
            for appid in apps
        ]

    def close(self) -> None:
        pass


class Clock:
    """Seconds that only a test moves on."""

    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def parts() -> Iterator[tuple[Overviews, ScriptedLedger, Clock, LedgerReads]]:
    ledger, clock = ScriptedLedger(), Clock()
    connect: Callable[[], ScriptedLedger] = lambda: ledger  # noqa: E731 - a connection for each thread
    pool = ReadPool(connect, 2, 50, 30.0)
    reads = LedgerReads(pool)
    yield Overviews(reads, reads.in_background(), clock), ledger, clock, reads
    pool.close()


Parts = tuple[Overviews, ScriptedLedger, Clock, LedgerReads]


async def left_of(overviews: Overviews, *apps: str) -> list[tuple[str, int]]:
    return [(row.appid, row.left) for row in (await overviews.of(apps)).rows]


async def test_an_overview_is_read_once_for_all_who_ask_at_the_same_time(parts: Parts) -> None:
    overviews, ledger, _, _ = parts
    found = await asyncio.gather(*(left_of(overviews, "wx1") for _ in range(5)))
    assert found == [[("wx1", 7)]] * 5
    assert ledger.reads == 1


async def test_an_older_one_is_shown_while_it_is_read_anew(parts: Parts) -> None:
    overviews, ledger, clock, _ = parts
    await left_of(overviews, "wx1")
    ledger.left = 6
    clock.now_s = FRESH_MIN_S - 0.1
    assert await left_of(overviews, "wx1") == [("wx1", 7)]
    assert ledger.reads == 1
    clock.now_s = FRESH_MIN_S
    assert await left_of(overviews, "wx1") == [("wx1", 7)]
    await until(lambda: overviews._under_way == {})
    assert await left_of(overviews, "wx1") == [("wx1", 6)]
    assert ledger.reads == 2


async def test_one_that_is_too_old_is_not_shown(parts: Parts) -> None:
    overviews, ledger, clock, _ = parts
    await left_of(overviews, "wx1")
    ledger.left = 6
    clock.now_s = SHOWN_S
    assert await left_of(overviews, "wx1") == [("wx1", 6)]


async def test_each_set_of_apps_has_an_overview_of_its_own(parts: Parts) -> None:
    overviews, _, _, _ = parts
    assert await left_of(overviews, "wx1", "wx2") == [("wx1", 7), ("wx2", 7)]
    assert await left_of(overviews, "wx2") == [("wx2", 7)]
    assert await left_of(overviews, "wx3") == [("wx3", 7)]


async def test_an_overview_without_any_app_is_not_kept(parts: Parts) -> None:
    overviews, ledger, _, _ = parts
    ledger.has_apps = False
    assert await left_of(overviews, "wx1") == []
    ledger.has_apps = True
    assert await left_of(overviews, "wx1") == [("wx1", 7)]


async def test_as_many_are_kept_as_may_be_and_the_oldest_goes(parts: Parts) -> None:
    overviews, ledger, _, _ = parts
    for number in range(OWNERS_MAX + 1):
        await left_of(overviews, f"wx{number}")
    ledger.reads = 0
    await left_of(overviews, f"wx{OWNERS_MAX}")
    assert ledger.reads == 0
    await left_of(overviews, "wx0")
    assert ledger.reads == 1


async def test_clickhouse_away_is_told_while_figures_of_before_are_shown(parts: Parts) -> None:
    overviews, ledger, clock, reads = parts
    await left_of(overviews, "wx1")
    ledger.away = True
    clock.now_s = FRESH_MIN_S
    assert await left_of(overviews, "wx1") == [("wx1", 7)]
    await until(lambda: overviews._under_way == {})
    clock.now_s = SHOWN_S
    with pytest.raises(ConsoleProblem) as problem:
        await left_of(overviews, "wx1")
    assert problem.value.name == "unavailable"
    watching = asyncio.create_task(reads.run())
    await until(lambda: reads.troubles() == ["ClickHouse is away."])
    watching.cancel()
    await asyncio.gather(watching, return_exceptions=True)


async def test_nobody_waits_for_what_was_read_of_all_apps_and_who_has_none_of_them_is_asked_for(
    parts: Parts,
) -> None:
    overviews, ledger, clock, _ = parts
    working = asyncio.create_task(overviews.run())
    await until(lambda: overviews._everything is not None)
    assert ledger.asked_for_all
    ledger.left = 5
    assert await left_of(overviews, "wx2") == [("wx2", 7)]
    await until(lambda: overviews._under_way == {})
    assert await left_of(overviews, "wx2") == [("wx2", 5)]
    assert await left_of(overviews, "wx3") == [("wx3", 5)]
    clock.now_s = SHOWN_S
    ledger.left = 3
    assert await left_of(overviews, "wx1") == [("wx1", 3)]
    working.cancel()
    await asyncio.gather(working, return_exceptions=True)


async def test_names_are_made_unique_among_the_apps_of_an_owner_only(parts: Parts) -> None:
    overviews, ledger, _, _ = parts
    ledger.name = "Tea"
    working = asyncio.create_task(overviews.run())
    await until(lambda: overviews._everything is not None)
    assert [row.name for row in (await overviews.of(["wx1"])).rows] == ["Tea"]
    assert [row.name for row in (await overviews.of(["wx1", "wx2"])).rows] == ["Tea wx1", "Tea wx2"]
    working.cancel()
    await asyncio.gather(working, return_exceptions=True)


async def test_who_looks_on_gets_the_newest_and_never_more_often_than_may_be(parts: Parts) -> None:
    overviews, ledger, clock, _ = parts
    await left_of(overviews, "wx1")
    ledger.left, ledger.lines = 5, 9
    assert [row.left for row in (await overviews.newest(["wx1"], 8)).rows] == [7]
    clock.now_s = FRESH_MIN_S
    assert [row.left for row in (await overviews.newest(["wx1"], 8)).rows] == [7]
    found = await overviews.newest(["wx1"], 9)
    assert ([row.left for row in found.rows], found.lines) == ([5], 9)


async def test_names_and_differences_of_an_owner_are_known_from_what_was_read_and_else_asked_for_alone(
    parts: Parts,
) -> None:
    overviews, ledger, clock, _ = parts
    assert await overviews.names(["wx1", "wx2"]) == {"wx1": "wx1", "wx2": "wx2"}
    assert await overviews.differences(["wx1", "wx2"], "wx1") == {("wx1", "quick"): 4}
    assert ledger.reads == 0
    ledger.name = "Tea"
    await overviews.of(["wx1", "wx2"])
    ledger.away = True
    assert await overviews.names(["wx2", "wx1"]) == {"wx1": "Tea wx1", "wx2": "Tea wx2"}
    assert await overviews.differences(["wx1", "wx2"], "wx1") == {("wx1", "quick"): 4, ("wx2", "quick"): 4}
    clock.now_s = SHOWN_S
    with pytest.raises(ConsoleProblem):
        await overviews.names(["wx1", "wx2"])


async def test_names_of_an_owner_are_known_from_what_was_read_of_all_apps(parts: Parts) -> None:
    overviews, ledger, _, _ = parts
    ledger.name = "Tea"
    working = asyncio.create_task(overviews.run())
    await until(lambda: overviews._everything is not None)
    ledger.away = True
    assert await overviews.names(["wx2"]) == {"wx2": "Tea"}
    assert await overviews.differences(["wx2"], "wx2") == {("wx2", "quick"): 4}
    working.cancel()
    await asyncio.gather(working, return_exceptions=True)


async def test_what_nobody_waits_for_leaves_a_thread_to_visitors() -> None:
    going_on = threading.Event()
    pool = ReadPool(ScriptedLedger, 2, 50, 30.0)
    reads = LedgerReads(pool)
    background = reads.in_background()
    waiting = [asyncio.create_task(background.read(lambda _: going_on.wait())) for _ in range(3)]
    await until(lambda: pool.open == 1)
    assert (await reads.clock()).now_ms == NOW_MS
    assert not any(one.done() for one in waiting)
    going_on.set()
    assert await asyncio.gather(*waiting) == [True] * 3
    pool.close()
