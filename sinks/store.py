"""The ledger in ClickHouse as the sink needs it: where a partition stands, and one atomic INSERT."""

import logging
import secrets
import socket
import time
from array import array
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from operator import sub
from typing import Final, cast

from clickhouse_driver import Client

from metering.ledger import COLUMNS
from sinks.columns import Column
from sinks.connection import FAILURES, connect, rows, sentence
from sinks.errors import StoreError
from sinks.lines import BEFORE_ALL, Position
from sinks.native import NativeClient

log = logging.getLogger(__name__)

RENAMED: Final = {"offset": "source_offset", "time_ms": "time", "recorded_at_ms": "recorded_at"}
"""Columns of the table with another name than in the ledger record: one is a keyword, times are typed."""

TABLE_COLUMNS: Final = tuple(RENAMED.get(name, name) for name in COLUMNS)

_TIME: Final = COLUMNS.index("time_ms")
_RECORDED_AT: Final = COLUMNS.index("recorded_at_ms")
_STORED_COLUMNS: Final = tuple(
    "recorded_after_ms" if name == "recorded_at" else name for name in ("source_partition", *TABLE_COLUMNS)
)

WHOLE: Final = 2**31 - 1
"""More rows than an INSERT ever has: never cut, it becomes one part, which is there whole or not at all."""

ATOMIC: Final[dict[str, int]] = {
    "insert_block_size": WHOLE,
    "max_insert_block_size": WHOLE,
    "min_insert_block_size_rows": WHOLE,
    "min_insert_block_size_bytes": 0,
    "async_insert": 0,
}
"""Settings of every INSERT; the first is the driver's own."""

_POSITION: Final = (
    "SELECT count(), max((source_offset, line)) FROM ledger WHERE source_partition = {partition:d}"
)

_NEWEST: Final = "SELECT count(), toUnixTimestamp64Milli(max(recorded_at)) FROM ledger"

_UNDER_WAY: Final = (
    "SELECT count() FROM system.processes WHERE query_kind = 'Insert' "
    "AND splitByChar(':', Settings['insert_deduplication_token'])[2] = '{partition:d}'"
)

SHARED: Final = "sink"
"""How the tokens of all sinks begin, as long as the engine can be held to what it acknowledged."""

_SETTLE_POLL_S: Final = 0.05
_SETTLE_S_MAX: Final = 10.0


class Store:
    """One connection to ClickHouse, made anew after every failure. All methods raise `StoreError` only."""

    def __init__(self, url: str, sleep: Callable[[float], None] = time.sleep) -> None:
        self._url = url
        self._sleep = sleep
        self._client: Client | None = None
        self._unsure: set[int] = set()
        self._issue = SHARED

    def forget_tokens(self) -> None:
        """Have the engine take every later INSERT of this process for a new one.

        A token that outlives the lines that it stands for (a disk that forgot them) would keep them from
        being stored again.
        """
        self._issue = secrets.token_hex(8)

    def doubt(self, partition: int) -> None:
        """Have the next `position` wait for INSERTs that someone, perhaps we ourselves, left under way."""
        self._unsure.add(partition)

    def position(self, partition: int) -> Position:
        """The highest stored position of a source partition."""
        with self._asking() as client:
            if partition in self._unsure:
                self._settle(client, partition)
                self._unsure.discard(partition)
            ((count, highest),) = rows(client, _POSITION.format(partition=partition))
        return Position(*highest) if count else BEFORE_ALL

    def newest_recorded_at_ms(self) -> int | None:
        """When the newest line of the whole ledger arrived at the broker; None if there is no line."""
        with self._asking() as client:
            ((count, newest_ms),) = rows(client, _NEWEST)
        return int(newest_ms) if count else None

    def insert(self, partition: int, columns: Sequence[Column], after: Position) -> None:
        """Store the lines that follow the highest stored one, `after`, of a source partition.

        The token names that place and nothing else, so that of all INSERTs that were planned for it, by this
        sink or by one that does not know yet that it was replaced, the engine takes the first and drops the
        others: a compare-and-swap. What was stored in the end only `position` tells.
        """
        token = f"{self._issue}:{partition:d}:after {after.offset}.{after.line}"
        names = ", ".join(_STORED_COLUMNS)
        stored = _as_stored(partition, columns)
        with self._asking() as client:
            self._unsure.add(partition)
            client.execute(
                f"INSERT INTO ledger ({names}) VALUES",
                stored,
                columnar=True,
                settings={**ATOMIC, "insert_deduplication_token": token},
            )
            self._unsure.discard(partition)

    def close(self) -> None:
        """Give up the connection."""
        client, self._client = self._client, None
        if client is not None:
            client.disconnect()

    def abort(self) -> None:
        """Make whatever another thread is waiting for here fail at once."""
        connection = getattr(self._client, "connection", None)
        waiting = getattr(connection, "socket", None)
        if waiting is not None:
            try:
                waiting.shutdown(socket.SHUT_RDWR)
            except OSError:
                log.debug("The connection was closed before it could be aborted.")

    def _settle(self, client: Client, partition: int) -> None:
        """Wait until no INSERT of the partition is under way.

        A connection that broke, or a sink that was killed, can leave one behind that commits later; what is
        read before would then be stored twice.
        """
        for _ in range(int(_SETTLE_S_MAX / _SETTLE_POLL_S)):
            ((count,),) = rows(client, _UNDER_WAY.format(partition=partition))
            if not count:
                return
            self._sleep(_SETTLE_POLL_S)
        raise StoreError(f"an INSERT of partition {partition} is still under way after {_SETTLE_S_MAX:.0f} s")

    @contextmanager
    def _asking(self) -> Iterator[Client]:
        if self._client is None:
            self._client = connect(self._url, NativeClient)
        try:
            yield self._client
        except StoreError:
            self.close()
            raise
        except FAILURES as error:
            self.close()
            raise StoreError(sentence(error)) from error


def _as_stored(partition: int, columns: Sequence[Column]) -> list[Column]:
    """The table's own columns: with the source partition, and arrival as what it is later than the time."""
    times, arrivals = (cast("array[int]", columns[place]) for place in (_TIME, _RECORDED_AT))
    stored = [array("I", (partition,)) * len(times), *columns]
    stored[1 + _RECORDED_AT] = array("q", map(sub, arrivals, times))
    return stored
