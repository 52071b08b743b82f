"""Settings on their way: what the outbox has and the ledger has not is shown, unless it was not accepted."""

import time
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any, cast

import pytest

from dashboards.console.facts import ConsoleFact, FactKind, RecordedFact
from dashboards.console.ledger_reads import LedgerReads
from dashboards.console.members import Actor
from dashboards.console.setting_work import ARRIVES_MS, SettingWork
from dashboards.console.visit import Visit
from metering.times import HOUR_MS

APP = "wx8ff4154a2448e576"


class ListedFacts:
    """Facts in a list."""

    def __init__(self, *facts: tuple[int, bool]) -> None:
        self._facts = facts

    def record(self, actor: Actor, facts: Sequence[ConsoleFact], deed: str, subject: str = "") -> None:
        raise NotImplementedError

    def newest(self, owner_id: str, appid: str, kind: FactKind) -> Sequence[RecordedFact]:
        assert (owner_id, appid, kind) == ("owner", APP, "account.routing_set")
        return [
            RecordedFact(ConsoleFact(kind, appid, {"at": at_ms}, at_ms), is_published)
            for at_ms, is_published in self._facts
        ]


VISIT = cast("Visit", SimpleNamespace(member=SimpleNamespace(membership=SimpleNamespace(owner_id="owner"))))
"""A visit, of which only the owner is looked at."""


async def pending(since_ms: int | None, *facts: tuple[int, bool]) -> list[Any]:
    work = SettingWork(cast("LedgerReads", None), ListedFacts(*facts))
    found = await work.pending(VISIT, APP, "account.routing_set", since_ms)
    return [data["at"] for data in found]


@pytest.mark.asyncio
async def test_what_the_ledger_does_not_have_yet_is_told_the_oldest_first() -> None:
    now_ms = time.time_ns() // 1_000_000
    facts = [(now_ms, False), (now_ms - 1, True), (now_ms - 2, True)]
    assert await pending(now_ms - 2, *facts) == [now_ms - 1, now_ms]
    assert await pending(None, *facts) == [now_ms - 2, now_ms - 1, now_ms]
    assert await pending(now_ms, *facts) == []


@pytest.mark.asyncio
async def test_what_was_published_long_ago_and_never_arrived_was_not_accepted() -> None:
    long_ago_ms = time.time_ns() // 1_000_000 - ARRIVES_MS - HOUR_MS
    assert await pending(None, (long_ago_ms, True)) == []
    assert await pending(None, (long_ago_ms, False)) == [long_ago_ms]
