"""The use of an app as a file for spreadsheets."""

import csv
import io
from collections.abc import AsyncIterator, Sequence
from functools import partial
from typing import Final

from msgspec import UNSET, UnsetType

from dashboards.console.languages import Wording, marked
from dashboards.console.ledger_reads import LedgerReads
from dashboards.reads.usage import BEFORE_USAGE, FoundUsage, PeriodUsage, UsageQuestion, read_usage

ROWS_AT_ONCE: Final = 10_000
BYTE_ORDER_MARK: Final = "\ufeff"
"""By which Excel knows that the file is UTF-8."""

FORMULAS: Final = ("=", "+", "-", "@", "\t", "\r")
"""Beginnings of texts that spreadsheets would run."""

COLUMNS: Final = (
    ("begins", marked("Begins")),
    ("capability", marked("Capability")),
    ("scene", marked("Scene")),
    ("store", marked("Store")),
    ("succeeded", marked("Calls")),
    ("charged", marked("Charged to packs")),
    ("trial_charged", marked("Charged to the trial quota")),
    ("free", marked("Free, before charging began")),
    ("exempt", marked("Exempt")),
    ("uncovered", marked("Uncovered")),
    ("denied", marked("Denied")),
    ("failed", marked("Failed")),
    ("amount", marked("Cost in yuan")),
)


async def usage_csv(
    reads: LedgerReads, appid: str, question: UsageQuestion, wording: Wording
) -> AsyncIterator[str]:
    """The parts of the file; the first has been read when this returns, so that a failure has a page.

    Raises:
        ConsoleProblem: ClickHouse does not answer.
    """
    first = await _read(reads, appid, question, BEFORE_USAGE)

    async def parts() -> AsyncIterator[str]:
        yield BYTE_ORDER_MARK + _lines([[wording.text(title) for _, title in COLUMNS]])
        found = first
        while found.rows:
            yield _lines([_cells(row) for row in found.rows])
            if len(found.rows) < ROWS_AT_ONCE:
                return
            found = await _read(reads, appid, question, found.places[-1])

    return parts()


async def _read(reads: LedgerReads, appid: str, question: UsageQuestion, after: Sequence[str]) -> FoundUsage:
    return await reads.read(
        partial(read_usage, appid=appid, question=question, after=after, most=ROWS_AT_ONCE)
    )


def _cells(row: PeriodUsage) -> list[str | int]:
    counts = [getattr(row, name) for name, _ in COLUMNS[4:-1]]
    return [
        row.begins,
        row.capability,
        _harmless(row.scene),
        _harmless(row.store),
        *counts,
        _yuan(row.amount_micro_yuan),
    ]


def _harmless(name: str | UnsetType) -> str:
    """A name that no spreadsheet takes for a formula: it comes from an event."""
    if name is UNSET:
        return ""
    return f"'{name}" if name.startswith(FORMULAS) else name


def _yuan(micro_yuan: int) -> str:
    """An exact amount with as many places as it has."""
    sign, rest = ("-", -micro_yuan) if micro_yuan < 0 else ("", micro_yuan)
    return f"{sign}{rest // 1_000_000}.{rest % 1_000_000:06d}".rstrip("0").rstrip(".")


def _lines(rows: Sequence[Sequence[str | int]]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\r\n").writerows(rows)
    return text.getvalue()
