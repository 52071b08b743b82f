"""The reading of small apps, many at once, and which apps are read by themselves."""

from collections.abc import Callable, Sequence

import pytest

from metering.ledger import Entry
from sinks.errors import ClickHouseError
from sinks.settler.ledger import AppScope, UnsettledApp
from sinks.settler.read_ahead import ReadAhead
from tests.metering.building import NO_TRIAL, Play, at, purchased, succeeded
from tests.sinks.settler.memory_ledger import MemoryLedger, Row


class Ledger(MemoryLedger):
    """A ledger of apps that have a pack and three calls each; `before` is called before each query."""

    def __init__(self, apps: int = 3, partitions: int = 1) -> None:
        plays = [Play(NO_TRIAL) for _ in range(partitions)]
        self.apps: list[UnsettledApp] = []
        for number in range(apps):
            appid, partition = f"wx{number}", number % partitions
            calls = [succeeded(at(2, hours=hour), app=appid) for hour in range(3)]
            plays[partition].on(purchased(at(1), f"pack-{number}", app=appid), *calls)
            self.apps.append(UnsettledApp(appid, partition, at(1), 0, -1, -1, "", ""))
        self.stored: list[Row] = []
        for partition, played in enumerate(plays):
            played.on(succeeded(at(3), app="wx-newest"))
            rows = [[getattr(entry, name) for name in Entry.__struct_fields__] for entry in played.entries]
            self.stored += [(partition, *row) for row in rows]
        self.asked: list[str] = []
        self.before: Callable[[str], None] = lambda _query: None
        super().__init__(lambda: self.stored)

    def complete_through(self, partition: int) -> int:
        self.note("complete_through")
        return super().complete_through(partition)

    def counts(self, partition: int, as_of: int, appids: Sequence[str]) -> dict[str, int]:
        self.note("counts")
        return super().counts(partition, as_of, appids)

    def entries(self, partition: int, as_of: int, appids: Sequence[str]) -> dict[str, list[Entry]]:
        self.note("entries")
        return super().entries(partition, as_of, appids)

    def note(self, query: str) -> None:
        self.asked.append(query)
        self.before(query)


ROUND = ["complete_through", "counts", "entries", "complete_through"]


def taken(ledger: Ledger, ahead: ReadAhead) -> list[bool]:
    return [ahead.take(app) is not None for app in ledger.apps]


def read(ledger: Ledger) -> ReadAhead:
    ahead = ReadAhead(ledger)
    ahead.expect(ledger.apps)
    return ahead


def test_apps_of_a_partition_are_read_by_as_many_queries_as_one() -> None:
    ledger = Ledger(apps=50)
    assert taken(ledger, read(ledger)) == [True] * 50
    assert ledger.asked == ROUND


def test_the_apps_of_each_partition_are_read_together() -> None:
    ledger = Ledger(apps=6, partitions=3)
    assert taken(ledger, read(ledger)) == [True] * 6
    assert ledger.asked == ROUND * 3


def test_what_is_read_is_of_its_app_and_as_of_what_was_complete() -> None:
    ledger = Ledger()
    ahead = read(ledger)
    as_of = ledger.complete_through(0)
    for number, app in enumerate(ledger.apps):
        entries = ahead.take(app)
        assert entries is not None
        scope = AppScope(app.appid, 0, as_of, at(1))
        assert (entries.complete_through(0), entries.count(scope)) == (as_of, 4)
        assert [fact.pack_id for fact in entries.facts(scope)] == [f"pack-{number}"]


def test_an_app_with_many_entries_is_read_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    ledger = Ledger()
    monkeypatch.setattr("sinks.settler.read_ahead.APP_ENTRIES_MAX", 3)
    assert taken(ledger, read(ledger)) == [False] * 3
    monkeypatch.setattr("sinks.settler.read_ahead.APP_ENTRIES_MAX", 4)
    assert taken(ledger, read(ledger)) == [True] * 3


@pytest.mark.parametrize(("name", "most"), [("ENTRIES_AT_ONCE", 11), ("APPS_AT_ONCE", 2)])
def test_no_more_is_read_at_once_than_memory_allows(
    monkeypatch: pytest.MonkeyPatch, name: str, most: int
) -> None:
    ledger = Ledger(apps=5)
    monkeypatch.setattr(f"sinks.settler.read_ahead.{name}", most)
    assert taken(ledger, read(ledger)) == [True] * 5
    assert ledger.asked == ROUND * 3


def test_an_app_is_read_anew_in_every_round_and_only_if_it_is_expected() -> None:
    ledger = Ledger()
    ahead = ReadAhead(ledger)
    assert taken(ledger, ahead) == [False] * 3
    for _ in range(2):
        ahead.expect(ledger.apps)
        assert taken(ledger, ahead) == [True] * 3
        assert taken(ledger, ahead) == [False] * 3
    assert ledger.asked == ROUND * 2
    ahead.expect(ledger.apps)
    assert ahead.take(ledger.apps[0]) is not None
    ahead.expect([])
    assert taken(ledger, ahead) == [False] * 3


@pytest.mark.parametrize("query", ROUND[1:])
def test_apps_whose_entries_are_lost_while_they_are_read_are_read_by_themselves(query: str) -> None:
    ledger = Ledger()
    ahead = read(ledger)

    def lose(asked: str) -> None:
        if asked == query and len(ledger.asked) > 1:
            ledger.stored = ledger.stored[:2]

    ledger.before = lose
    assert not any(taken(ledger, ahead))


def test_where_clickhouse_fails_every_app_is_read_by_itself_so_that_the_cause_meets_it_alone() -> None:
    ledger = Ledger()
    ahead = read(ledger)

    def fail(_asked: str) -> None:
        raise ClickHouseError("memory limit exceeded")

    ledger.before = fail
    assert taken(ledger, ahead) == [False] * 3
    assert len(ledger.asked) == 1
