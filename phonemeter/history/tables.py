"""The lines of a file in one form, whatever its format: the values of its fields, or why it is none."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final, Literal, NamedTuple, Protocol

from metering.rejections import Rejection
from phonemeter.history.mapping import Selection

Format = Literal["csv", "jsonl", "parquet"]
ABSENT_TEXTS: Final = frozenset({"", r"\N", "NULL", "null"})
"""Texts for an absent value, in exports of databases."""


class Line(NamedTuple):
    """One line of a file.

    Attributes:
        number: from 1; of a Parquet file the row.
        content: the values by field, an event as it is, or the reason why there is neither.
    """

    number: int
    content: dict[str, object] | bytes | Rejection


@dataclass(slots=True)
class TableDescription:
    """A description of a file, complete once its lines were read.

    Attributes:
        columns: the columns that were read, by field.
        unread: the names of columns that were not.
        personal: those of them that hold a phone number or openid, by their names.
    """

    name: str
    format: Format
    columns: dict[str, str] = field(default_factory=dict)
    unread: dict[str, None] = field(default_factory=dict)
    personal: dict[str, None] = field(default_factory=dict)

    NAMES_MAX = 200

    def add(self, selection: Selection) -> None:
        """Add the columns of a file, or of a line of it."""
        for name, column in selection.columns.items():
            if len(self.columns) < self.NAMES_MAX:
                self.columns.setdefault(name, column)
        for names, more in ((self.unread, selection.unread), (self.personal, selection.personal)):
            for column in more:
                if len(names) < self.NAMES_MAX:
                    names.setdefault(column)


class HistoryTable(Protocol):
    """An open file."""

    @property
    def description(self) -> TableDescription:
        """Its columns so far."""

    @property
    def progress(self) -> float:
        """The share that was read, from 0 to 1."""

    def lines(self) -> Iterator[Line]:
        """Its lines.

        Raises:
            UserError: it can't be read any further.
        """
