"""The facts of all files on disk, each once, in order of time: however many there are, memory stays small."""

import re
import sqlite3
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from hashlib import blake2b
from pathlib import Path
from typing import Final, NamedTuple, Self

from metering.times import SHANGHAI, from_ms
from phonemeter.errors import OperationError
from phonemeter.history.facts import Fact
from phonemeter.history.fields import TYPES
from sinks.entry_columns import ID_DIGITS, ID_DIGITS_MIN

CACHE_KIB: Final = 65_536
BATCH_FACTS: Final = 500
CALL: Final = TYPES["succeeded"]
RANKS: Final = (
    "account.registered",
    "account.opened",
    "pack.purchased",
    "pack.assigned",
    "pack.refunded",
    "pack.assignment_cancelled",
)
"""The order of facts of the same moment; calls come last, and after them what has no rank."""

_SCHEMA: Final = """
CREATE TABLE facts (
    seq INTEGER PRIMARY KEY, time_ms INTEGER NOT NULL, rank INTEGER NOT NULL, month INTEGER NOT NULL,
    appid TEXT NOT NULL, event_id TEXT NOT NULL, kind TEXT NOT NULL, counted INTEGER NOT NULL DEFAULT 0,
    value BLOB NOT NULL, UNIQUE (appid, event_id)
);
CREATE TABLE equals (content BLOB PRIMARY KEY, number INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE period (since_ms INTEGER NOT NULL, until_ms INTEGER NOT NULL);
CREATE VIEW within AS SELECT facts.* FROM facts, period WHERE time_ms >= since_ms AND time_ms < until_ms;
CREATE VIEW chosen AS SELECT * FROM within WHERE counted = 0;
"""
_ADD: Final = (
    "INSERT OR IGNORE INTO facts (time_ms, rank, month, appid, event_id, kind, value) "
    "VALUES (?, ?, ?, ?, ?, ?, ?)"
)
_NUMBER: Final = (
    "INSERT INTO equals VALUES (?, 1) ON CONFLICT (content) DO UPDATE SET number = number + 1 "
    "RETURNING number"
)
_MARK: Final = "UPDATE facts SET counted = 1 WHERE appid = ? AND event_id = ?"
_MARK_BY_DIGITS: Final = (
    "UPDATE facts SET counted = 1 WHERE appid = ? AND event_id > ? AND event_id < ? AND length(event_id) = 64"
)
_FIRST_DIGITS: Final = re.compile(rf"[0-9a-f]{{{ID_DIGITS_MIN},{ID_DIGITS - 1}}}")
NEVER_MS: Final = 2**62


class Period(NamedTuple):
    """A period of time; its end is not in it."""

    since_ms: int = 0
    until_ms: int = NEVER_MS


class FactTotals(NamedTuple):
    """The number of facts that are to be published, are in the ledger, or are outside of the period."""

    chosen: int
    counted: int
    left_out: int


class FactCount(NamedTuple):
    """The facts of a type, app and Shanghai month (`202605`) that are to be published, and their times."""

    kind: str
    appid: str
    month: int
    events: int
    first_ms: int
    last_ms: int


class StagedBatch(NamedTuple):
    """Consecutive facts in order of time; `first` is the number of the first one, from 1."""

    first: int
    values: list[bytes]


class Staging:
    """The facts of an import. Made by `open`."""

    def __init__(self, database: sqlite3.Connection) -> None:
        self._database = database
        self.repeated = 0

    @classmethod
    @contextmanager
    def open(cls, period: Period) -> Iterator[Self]:
        """A staging in a temporary directory, which ends with the block; facts outside the period stay there.

        Raises:
            OperationError: there is no room.
        """
        try:
            directory = tempfile.TemporaryDirectory(prefix="phonemeter-import-")
        except OSError as error:
            raise _no_room(error.strerror or str(error)) from None
        with directory:
            database = sqlite3.connect(Path(directory.name, "facts.sqlite"), isolation_level=None)
            try:
                database.executescript(
                    "PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF; PRAGMA locking_mode = EXCLUSIVE;"
                    f"PRAGMA temp_store = FILE; PRAGMA cache_size = -{CACHE_KIB}; {_SCHEMA} BEGIN;"
                )
                database.execute("INSERT INTO period VALUES (?, ?)", period)
                yield cls(database)
            except sqlite3.Error as error:
                raise _no_room(str(error)) from None
            finally:
                database.close()

    def add(self, fact: Fact) -> None:
        """Add a fact, unless there is one of its app and id."""
        rank = RANKS.index(fact.kind) if fact.kind in RANKS else len(RANKS)
        added = self._database.execute(
            _ADD,
            (fact.time_ms, rank, _month(fact.time_ms), fact.appid, fact.event_id, fact.kind, fact.value),
        )
        self.repeated += 1 - added.rowcount

    def number_equal(self, content: str) -> int:
        """The number of a content among the equal ones since `begin_file`."""
        digest = blake2b(content.encode(), digest_size=16).digest()
        ((number,),) = self._database.execute(_NUMBER, (digest,)).fetchall()
        return int(number)

    def begin_file(self) -> None:
        """Number equal contents from 1 again."""
        self._database.execute("DELETE FROM equals")

    def event_ids(self, appid: str) -> Iterator[str]:
        """The ids of the facts of an app."""
        found = self._database.execute("SELECT event_id FROM facts WHERE appid = ?", (appid,))
        return (event_id for (event_id,) in found)

    def apps(self) -> list[tuple[str, int]]:
        """Every app with its number of facts."""
        return self._database.execute(
            "SELECT appid, count(*) FROM facts GROUP BY appid ORDER BY appid"
        ).fetchall()

    def mark_counted(self, ids: Iterable[tuple[str, str]]) -> None:
        """Mark the facts of these apps and ids; of a SHA-256 only the first digits may be given."""
        for appid, event_id in ids:
            found = self._database.execute(_MARK, (appid, event_id)).rowcount
            if not found and _FIRST_DIGITS.fullmatch(event_id):
                self._database.execute(_MARK_BY_DIGITS, (appid, event_id, f"{event_id}g"))

    def counted_calls(self) -> dict[tuple[str, int], int]:
        """The number of marked calls, by app and month."""
        found = self._database.execute(
            "SELECT appid, month, sum(counted) FROM facts WHERE kind = ? GROUP BY appid, month", (CALL,)
        )
        return {(appid, month): counted for appid, month, counted in found}

    def counts(self) -> Iterator[FactCount]:
        """The facts that are to be published, by type, app and month."""
        found = self._database.execute(
            "SELECT kind, appid, month, count(*), min(time_ms), max(time_ms) FROM chosen "
            "GROUP BY kind, appid, month ORDER BY month, appid, kind"
        )
        return map(FactCount._make, found)

    def totals(self) -> FactTotals:
        """The number of facts by what becomes of them."""
        facts, within, chosen = (
            self._database.execute(query).fetchone()[0]
            for query in (
                "SELECT count(*) FROM facts",
                "SELECT count(*) FROM within",
                "SELECT count(*) FROM chosen",
            )
        )
        return FactTotals(chosen, within - chosen, facts - within)

    def before(self, time_ms: int) -> int:
        """The number of facts before a time that are to be published."""
        found = self._database.execute("SELECT count(*) FROM chosen WHERE time_ms < ?", (time_ms,))
        return int(found.fetchone()[0])

    def batches(self) -> Iterator[StagedBatch]:
        """The facts that are to be published, in order of time."""
        found = self._database.execute("SELECT value FROM chosen ORDER BY time_ms, rank, seq")
        first = 1
        while rows := found.fetchmany(BATCH_FACTS):
            yield StagedBatch(first, [value for (value,) in rows])
            first += len(rows)

    def time_of(self, number: int) -> int | None:
        """The time of the fact with a number in `batches`; None behind the last."""
        found = self._database.execute(
            "SELECT time_ms FROM chosen ORDER BY time_ms, rank, seq LIMIT 1 OFFSET ?", (number - 1,)
        ).fetchone()
        return None if found is None else int(found[0])


def _no_room(why: str) -> OperationError:
    return OperationError(
        f"The facts cannot be kept in {tempfile.gettempdir()} while they are put in order ({why}); each "
        "takes about one kilobyte: make room, or set TMPDIR to another directory."
    )


def _month(time_ms: int) -> int:
    day = from_ms(time_ms).astimezone(SHANGHAI)
    return day.year * 100 + day.month
