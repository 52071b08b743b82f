"""The figures of one app on the real engine: those of the overview, read for this app alone."""

from collections.abc import AsyncIterator, Mapping
from typing import Any

import pytest_asyncio

from dashboards.console.app_figures import CapabilityFigures, read_app_figures
from dashboards.console.ledger_reads import LedgerReads
from dashboards.console.overview_facts import read_overview_facts
from dashboards.http.pool import ReadPool
from dashboards.reads.differences import Differences
from metering.events import CAPABILITIES
from phonemeter.reads.connection import ReadOnlyConnection
from tests.dashboards.conftest import Ledger

ANSWER_S = 60.0


class RecordingConnection(ReadOnlyConnection):
    """A connection that keeps the parameters of its queries."""

    asked: list[Mapping[str, object] | None]

    def rows(
        self, query: str, parameters: Mapping[str, object] | None, within_s: float
    ) -> list[tuple[Any, ...]]:
        self.asked.append(parameters)
        return super().rows(query, parameters, within_s)


@pytest_asyncio.fixture
async def reads(simulated: Ledger) -> AsyncIterator[LedgerReads]:
    RecordingConnection.asked = []
    pool = ReadPool(lambda: RecordingConnection(simulated.engine.url, ANSWER_S), 2, 100, ANSWER_S)
    yield LedgerReads(pool)
    pool.close()


async def figures_of(
    reads: LedgerReads, appid: str, capability: str, differences: Differences
) -> CapabilityFigures:
    async def given() -> Differences:
        return differences

    return await read_app_figures(reads, await reads.clock(), appid, capability, given())


async def test_the_row_of_an_app_is_that_of_the_overview_and_its_quota_agrees(reads: LedgerReads) -> None:
    facts = await read_overview_facts(reads, None, lambda: 0.0)
    rows = {(row.appid, row.capability): row for row in facts.overview(list(facts.apps)).rows}
    assert {row.decision.name for row in rows.values()} >= {"lapses", "nothing"}
    for appid in facts.apps:
        for capability in CAPABILITIES:
            found = await figures_of(reads, appid, capability, facts.differences)
            assert found.row == rows.get((appid, capability))
            outlook = facts.apps[appid].capabilities[capability]
            assert found.quota is not None
            assert found.quota.left == outlook.calls_left
            assert sum(found.expected.lapsing.values()) >= outlook.lapsing


async def test_only_the_app_is_asked_for_and_one_without_events_has_no_figures(reads: LedgerReads) -> None:
    found = await figures_of(reads, "wxffffffffffffffff", "quick", {})
    assert (found.quota, found.row, found.expected.calls) == (None, None, {})
    named = [one.get("appids", one.get("appid")) for one in RecordingConnection.asked if one]
    assert set(named) == {("wxffffffffffffffff",), "wxffffffffffffffff"}
