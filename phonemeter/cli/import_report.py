"""The report of `phonemeter import`: what the files have, what of it was or would be published."""

from collections import Counter
from collections.abc import Iterator
from itertools import islice
from typing import Any, Final

from msgspec import Struct, to_builtins

from phonemeter.formats import to_second
from phonemeter.history.counted_events import MonthCalls
from phonemeter.history.fields import TYPES
from phonemeter.history.loading import LoadedFile, RefusedLine
from phonemeter.history.staging import FactCount, FactTotals
from phonemeter.tables import print_table
from phonemeter.terminal import Table, Terminal, print_json, say
from producers.emission import Totals

ROWS_MAX: Final = 40
COUNTS_MAX: Final = 20_000
"""Counts in the JSON report: a hundred apps have as many in years."""

WORDS: Final = {kind: word for word, kind in TYPES.items()}


class ImportReport(Struct, kw_only=True):
    """The result of an import.

    Attributes:
        counts: the facts that are to be published, by type, app and month.
        others: calls that the ledger has in the same months under other ids.
        repeated: facts that are in the files more than once.
        delivery: None if nothing is sent.
        next_ms: the time to continue from, if the import is not complete.
        notes: sentences on what deserves a look.
    """

    files: list[LoadedFile]
    counts: list[FactCount]
    others: list[MonthCalls]
    refused: list[RefusedLine]
    reasons: Counter[str]
    totals: FactTotals
    repeated: int
    delivery: Totals | None
    stopped_because: str
    interrupted: bool
    next_ms: int | None
    ledger_asked: bool
    notes: list[str]
    took_s: float

    @property
    def complete(self) -> bool:
        """True if every line was accepted and every fact delivered."""
        sent = self.delivery is None or self.delivery.delivered == self.totals.chosen
        return sent and not self.reasons and not self.stopped_because and not self.interrupted

    def print_json(self) -> None:
        """Print the report as one JSON object."""
        sent = self.delivery or Totals(0, 0, 0, 0)
        print_json(
            {
                "files": [_file(one) for one in self.files],
                "facts": [
                    {
                        "type": one.kind,
                        "appid": one.appid,
                        "month": _month(one.month),
                        "events": one.events,
                        "first_ms": one.first_ms,
                        "last_ms": one.last_ms,
                    }
                    for one in self.counts[:COUNTS_MAX]
                ],
                "events": self.totals.chosen,
                "counted_before": self.totals.counted if self.ledger_asked else None,
                "repeated": self.repeated,
                "left_out": self.totals.left_out,
                "refused": self.reasons.total(),
                "refused_reasons": dict(self.reasons),
                "refused_lines": [one._asdict() for one in self.refused],
                "other_calls": [{**one._asdict(), "month": _month(one.month)} for one in self.others],
                "delivered": sent.delivered,
                "failed": sent.failed,
                "stopped_because": self.stopped_because or None,
                "next_at_ms": self.next_ms,
                "notes": self.notes,
                "dry_run": self.delivery is None,
                "interrupted": self.interrupted,
                "seconds": round(self.took_s, 3),
            }
        )

    def print_text(self, console: Terminal, again: str | None) -> None:
        """Print the report for people; `again` is the command that continues."""
        if self.counts:
            print_table(console, self._table())
        say("\n".join(self._sentences(again)))

    def _table(self) -> Table:
        what = "Facts to publish" if self.delivery is None else "Facts"
        table = Table(
            title=f"{what} (months and times in Asia/Shanghai)",
            title_justify="left",
            box=None,
            padding=(0, 1, 0, 0),
        )
        table.add_column("month")
        table.add_column("app")
        table.add_column("type")
        table.add_column("events", justify="right")
        table.add_column("first")
        table.add_column("last")
        for one in islice(self.counts, ROWS_MAX):
            table.add_row(
                _month(one.month),
                one.appid,
                WORDS.get(one.kind, one.kind),
                f"{one.events:,}",
                to_second(one.first_ms),
                to_second(one.last_ms),
            )
        return table

    def _sentences(self, again: str | None) -> Iterator[str]:
        if len(self.counts) > ROWS_MAX:
            yield f"... and {len(self.counts) - ROWS_MAX:,} more rows; --json has them."
        for one in self.files:
            yield from _about_file(one)
        yield self._sums()
        if self.reasons:
            yield "Refused: " + ", ".join(f"{count:,} {reason}" for reason, count in self.reasons.items())
        if self.reasons.total() > len(self.refused):
            yield "Not every refused line is shown; --refused FILE writes all of them."
        for month in islice(self.others, ROWS_MAX):
            yield (
                f"The ledger has {month.calls:,} other calls of {month.appid} in {_month(month.month)}: if "
                "they are the same ones under other ids, they would count twice; import only before they "
                "begin (--until)."
            )
        yield from self.notes
        if self.stopped_because:
            yield f"Stopped. {self.stopped_because}"
        if again is not None:
            yield f"Go on with: {again}"

    def _sums(self) -> str:
        told = [f"{self.totals.chosen:,} facts to publish"]
        if self.delivery is not None:
            told = [f"{self.delivery.delivered:,} of {self.totals.chosen:,} facts delivered"]
        if self.ledger_asked:
            told.append(f"{self.totals.counted:,} counted before")
        if self.repeated:
            told.append(f"{self.repeated:,} repeated in the files")
        if self.totals.left_out:
            told.append(f"{self.totals.left_out:,} outside of the period")
        told.append(f"{self.reasons.total():,} lines refused")
        return f"{', '.join(told)}, in {self.took_s:,.1f} s."


def _about_file(one: LoadedFile) -> Iterator[str]:
    description = one.description
    columns = ", ".join(
        column if name == column else f"{name} = {column}" for name, column in description.columns.items()
    )
    yield f"{description.name} ({description.format}): {one.accepted:,} facts, {one.refused:,} refused."
    if columns:
        yield f"  Columns: {columns}."
    unread = [name for name in description.unread if name not in description.personal]
    if unread:
        yield f"  Not read: {', '.join(unread)}."
    if description.personal:
        yield (
            f"  Never read, because of their names: {', '.join(description.personal)}. What tells who a "
            "person is does not enter."
        )
    for name, lines in one.phone_fields.items():
        column = description.columns.get(name, name)
        yield (
            f"  The column {column} ({name}) looks like phone numbers or openids, in {lines:,} lines, which "
            f"are refused: leave it out (--column {name}=), or write a keyed hash of the user to it."
        )
    if one.ids["content"]:
        yield (
            f"  {one.ids['content']:,} facts have neither id nor code: each is known by its content and its "
            "number among the equal lines of the file. Imported again they count once, as long as these "
            "columns and lines stay as they are."
        )


def _file(one: LoadedFile) -> dict[str, Any]:
    description = one.description
    return {
        "name": description.name,
        "format": description.format,
        "columns": dict(description.columns),
        "unread": list(description.unread),
        "never_read": list(description.personal),
        "accepted": one.accepted,
        "refused": one.refused,
        "ids": to_builtins(dict(one.ids)),
        "personal_fields": dict(one.phone_fields),
    }


def _month(number: int) -> str:
    return f"{number // 100}-{number % 100:02d}"
