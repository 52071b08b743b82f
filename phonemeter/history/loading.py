"""The loading of files: every line becomes a staged fact or is refused with a reason."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from metering.rejections import Rejection
from phonemeter.errors import UserError
from phonemeter.history.facts import FactReader
from phonemeter.history.mapping import ColumnMapping
from phonemeter.history.moments import Moments
from phonemeter.history.staging import Staging
from phonemeter.history.tables import HistoryTable, TableDescription

LOOK_LINES: Final = 256
"""Lines between two looks at progress and signals."""


class RefusedLine(NamedTuple):
    """A line that is no fact, and why."""

    file: str
    line: int
    reason: str
    sentence: str


@dataclass(slots=True)
class LoadedFile:
    """The lines of a file, counted.

    Attributes:
        ids: how many ids are given, or made of a code, a name or the content.
        phone_fields: by field, the lines that hold a phone number or openid there.
    """

    description: TableDescription
    accepted: int = 0
    refused: int = 0
    ids: Counter[str] = field(default_factory=Counter)
    phone_fields: Counter[str] = field(default_factory=Counter)


def load(
    tables: Sequence[HistoryTable],
    mapping: ColumnMapping,
    moments: Moments,
    staging: Staging,
    *,
    now_ms: int,
    on_refused: Callable[[RefusedLine], None],
    on_progress: Callable[[float], None],
) -> Iterator[LoadedFile]:
    """Load files; each is returned again and again while it is loaded, so that the caller may stop.

    Raises:
        UserError: a file can't be read any further.
    """
    for number, table in enumerate(tables):
        loaded = LoadedFile(table.description)
        staging.begin_file()
        reader = FactReader(mapping, moments, now_ms, staging.number_equal)
        for count, line in enumerate(table.lines()):
            content = line.content
            fact = content if isinstance(content, Rejection) else reader.read(content)
            if isinstance(fact, Rejection):
                loaded.refused += 1
                if fact.reason == "phone_number":
                    loaded.phone_fields[_field_of(fact.sentence)] += 1
                on_refused(RefusedLine(table.description.name, line.number, fact.reason, fact.sentence))
            else:
                loaded.accepted += 1
                loaded.ids[fact.id_origin] += 1
                staging.add(fact)
            if count % LOOK_LINES == 0:
                on_progress((number + table.progress) / len(tables))
                yield loaded
        yield loaded


def refuse_missing_columns(tables: Sequence[HistoryTable], mapping: ColumnMapping) -> None:
    """Check that each column that was given is in a file; one of JSON Lines may have any.

    Raises:
        UserError: one is in none.
    """
    if any(table.description.format == "jsonl" for table in tables):
        return
    found = {column for table in tables for column in table.description.columns.values()}
    for name, column in mapping.given.items():
        if column and column not in found:
            there = dict.fromkeys(
                each
                for table in tables
                for each in (*table.description.columns.values(), *table.description.unread)
            )
            raise UserError(
                f"No file has the column {column[:60]!r}, which was given for {name}. Their columns are: "
                f"{', '.join(there)}."
            )


def _field_of(sentence: str) -> str:
    """The field that a rejection names first, such as `data.store`."""
    return sentence.partition(" ")[0].removeprefix("data.")
