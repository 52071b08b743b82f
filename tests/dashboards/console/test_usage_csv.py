"""The file of the usage: exact amounts, nothing that a spreadsheet runs, and as many parts as it takes."""

import csv
from typing import Any

import pytest

from dashboards.console.languages import WORDINGS
from dashboards.console.ledger_reads import LedgerReads
from dashboards.console.usage_csv import ROWS_AT_ONCE, usage_csv
from dashboards.http.pool import ReadPool
from dashboards.reads.usage import UsageQuestion
from metering.times import shanghai_date

DAY = shanghai_date(1_719_800_000_000)


class ScriptedRows:
    """In place of ClickHouse: so many days of a store with a dangerous name, from behind a place."""

    def __init__(self, count: int, store: str, amount: int = 1_530_001) -> None:
        self.rows_left = [
            (f"day {number:05}", "quick", "", store, 51, 51, 0, 0, 0, 0, 0, 0, 0, amount)
            for number in range(count)
        ]

    def rows(self, _query: str, parameters: Any, _within_s: float) -> list[tuple[Any, ...]]:  # noqa: ANN401 - the protocol's
        behind = [row for row in self.rows_left if row[:4] > parameters["after"]]
        return behind[: parameters["most"]]

    def close(self) -> None:
        pass


async def saved(rows: ScriptedRows, language: Any = "en") -> list[list[str]]:  # noqa: ANN401 - a language
    pool = ReadPool(lambda: rows, 1, 5, 30.0)
    try:
        question = UsageQuestion("day", DAY, DAY, "store", "quick")
        parts = await usage_csv(LedgerReads(pool), "wx1", question, WORDINGS[language])
        text = "".join([part async for part in parts])
    finally:
        pool.close()
    assert text.startswith("\ufeff")
    return list(csv.reader(text.removeprefix("\ufeff").splitlines()))


@pytest.mark.parametrize(
    ("store", "shown"),
    [
        ('=HYPERLINK("http://x")', '\'=HYPERLINK("http://x")'),
        ("+1", "'+1"),
        ("-1", "'-1"),
        ("@SUM(A1)", "'@SUM(A1)"),
        ("门店, 三", "门店, 三"),
        ("a=b", "a=b"),
    ],
    ids=["equals", "plus", "minus", "at", "comma", "inside"],
)
async def test_a_name_that_a_spreadsheet_would_run_is_a_text(store: str, shown: str) -> None:
    _, row = await saved(ScriptedRows(1, store))
    assert row[3] == shown


async def test_amounts_are_exact_and_titles_are_in_the_language() -> None:
    head, row = await saved(ScriptedRows(1, "s"))
    assert (head[-1], row[-1]) == ("Cost in yuan", "1.530001")
    assert (await saved(ScriptedRows(1, "s", 30_000_000)))[1][-1] == "30"
    assert (await saved(ScriptedRows(1, "s", -30_000), "zh"))[0][-1] == "费用（元）"
    assert (await saved(ScriptedRows(1, "s", -30_000)))[1][-1] == "-0.03"


@pytest.mark.parametrize("count", [0, ROWS_AT_ONCE, ROWS_AT_ONCE + 1], ids=["none", "one part", "two parts"])
async def test_every_row_is_in_the_file_once_however_many_parts_it_takes(count: int) -> None:
    _, *rows = await saved(ScriptedRows(count, "s"))
    assert [row[0] for row in rows] == [f"day {number:05}" for number in range(count)]
