"""The ledger's table in ClickHouse: the highest stored position of a partition, and atomic INSERTs."""

import logging
import secrets
import socket
import time
from array import array
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from operator import sub
from typing import Any, Final, TypeVar, cast

from clickhouse_driver import Client
from clickhouse_driver.errors import Error, ErrorCodes

from metering.ledger import COLUMNS
from sinks.connection import FAILURES, cluster_of, connect, is_missing, rows, sentence
from sinks.errors import ClickHouseError
from sinks.native_client import NativeClient
from sinks.native_columns import Column
from sinks.position import BEFORE_ALL, Position

log = logging.getLogger(__name__)

T = TypeVar("T")

RENAMED: Final = {"offset": "source_offset", "time_ms": "time", "recorded_at_ms": "recorded_at"}
"""Columns of the table that have another name in the ledger record."""

TABLE_COLUMNS: Final = tuple(RENAMED.get(name, name) for name in COLUMNS)

_TIME: Final = COLUMNS.index("time_ms")
_RECORDED_AT: Final = COLUMNS.index("recorded_at_ms")
_STORED_COLUMNS: Final = tuple(
    "recorded_after_ms" if name == "recorded_at" else name for name in ("source_partition", *TABLE_COLUMNS)
)

WHOLE: Final = 2**31 - 1
"""More rows than an INSERT ever has: it is not split but becomes one part, which is stored whole or not."""

ATOMIC: Final[dict[str, int]] = {
    "insert_block_size": WHOLE,
    "max_insert_block_size": WHOLE,
    "min_insert_block_size_rows": WHOLE,
    "min_insert_block_size_bytes": 0,
    "async_insert": 0,
}
"""Settings of every INSERT; the first one is read by the driver."""

_POSITION: Final = (
    "SELECT count(), max((source_offset, line)) FROM ledger WHERE source_partition = {partition:d}"
)

COMPARED_COLUMNS: Final = ("kind", "time_ms", "recorded_at_ms", "appid", "calls", "amount_micro_yuan")
"""Columns by which a stored entry is compared; not its event's id, which may be shortened."""

_ENTRY: Final = (
    "SELECT kind, toUnixTimestamp64Milli(time), toUnixTimestamp64Milli(recorded_at), appid, calls, "
    "amount_micro_yuan FROM ledger WHERE source_partition = {partition:d} AND source_offset = {at.offset:d} "
    "AND line = {at.line:d} LIMIT 1"
)

_NEWEST: Final = "SELECT count(), toUnixTimestamp64Milli(max(recorded_at)) FROM ledger"

PROCESSES: Final = "system.processes"

_UNDER_WAY: Final = (
    "SELECT count() FROM {processes} WHERE query_kind = 'Insert' "
    "AND splitByChar(':', Settings['insert_deduplication_token'])[2] = '{partition:d}'"
)

SHARED_PREFIX: Final = "sink"
"""Prefix of the deduplication tokens of all sinks, until ClickHouse loses what it acknowledged."""

_SETTLE_POLL_S: Final = 0.05
_SETTLE_S_MAX: Final = 10.0

_REPLICAS_BEHIND: Final = frozenset(
    {ErrorCodes.UNSATISFIED_QUORUM_FOR_PREVIOUS_WRITE, ErrorCodes.REPLICA_IS_NOT_IN_QUORUM}
)
_REPLICAS_S_MAX: Final = 5.0


class LedgerTable:
    """The ledger in ClickHouse. All methods raise `ClickHouseError` only, and reconnect after it."""

    def __init__(
        self,
        url: str,
        sleep: Callable[[float], None] = time.sleep,
        recreate: Callable[[], object] | None = None,
    ) -> None:
        """Use the database at `url`; `recreate` creates the ledger again where somebody dropped it."""
        self._url = url
        self._sleep = sleep
        self._recreate = recreate
        self._client: Client | None = None
        self._unsettled: set[int] = set()
        self._token_prefix = SHARED_PREFIX
        cluster = cluster_of(url)
        self._processes = PROCESSES if cluster is None else cluster.everywhere(PROCESSES)

    def forget_tokens(self) -> None:
        """Use new deduplication tokens in this process.

        Where ClickHouse lost entries and kept their tokens, it would drop the INSERT that stores them again.
        """
        self._token_prefix = secrets.token_hex(8)

    def mark_unsettled(self, partition: int) -> None:
        """Have the next `position` wait for INSERTs that any sink, even this one, may have left running."""
        self._unsettled.add(partition)

    def position(self, partition: int) -> Position:
        """Read the highest stored position of a source partition."""
        with self._connected() as client:
            if partition in self._unsettled:
                self._settle(client, partition)
                self._unsettled.discard(partition)
            ((count, highest),) = self._patiently(
                partial(rows, client, _POSITION.format(partition=partition))
            )
        return Position(*highest) if count else BEFORE_ALL

    def entry_at(self, partition: int, at: Position) -> tuple[Any, ...]:
        """Read the `COMPARED_COLUMNS` of a stored entry; empty if there is no such entry."""
        with self._connected() as client:
            found = rows(client, _ENTRY.format(partition=partition, at=at))
        return found[0] if found else ()

    def newest_recorded_at_ms(self) -> int | None:
        """Time at which the newest entry of the ledger arrived at the broker; None if there is none."""
        with self._connected() as client:
            ((count, newest_ms),) = rows(client, _NEWEST)
        return int(newest_ms) if count else None

    def insert(self, partition: int, columns: Sequence[Column], after: Position) -> None:
        """Store the entries that follow the highest stored position of a source partition, `after`.

        The deduplication token consists of that position, which makes the INSERT a compare-and-swap: of all
        INSERTs after that position, by this sink or by a zombie, ClickHouse takes the first and drops the
        others. Only `position` returns what was stored in the end.
        """
        token = f"{self._token_prefix}:{partition:d}:after {after.offset}.{after.line}"
        names = ", ".join(_STORED_COLUMNS)
        stored = _table_columns(partition, columns)
        with self._connected() as client:
            self._unsettled.add(partition)
            self._patiently(
                partial(
                    client.execute,
                    f"INSERT INTO ledger ({names}) VALUES",
                    stored,
                    columnar=True,
                    settings={**ATOMIC, "insert_deduplication_token": token},
                )
            )
            self._unsettled.discard(partition)

    def close(self) -> None:
        """Close the connection."""
        client, self._client = self._client, None
        if client is not None:
            client.disconnect()

    def abort(self) -> None:
        """Make the request that another thread is waiting for fail at once."""
        connection = getattr(self._client, "connection", None)
        waiting = getattr(connection, "socket", None)
        if waiting is not None:
            try:
                waiting.shutdown(socket.SHUT_RDWR)
            except OSError:
                log.debug("The connection was closed before it could be aborted.")

    def _patiently(self, ask: Callable[[], T]) -> T:
        """Ask again for a while where replicas have to take over the INSERT before; nothing was done then."""
        for _ in range(int(_REPLICAS_S_MAX / _SETTLE_POLL_S)):
            try:
                return ask()
            except Error as error:
                if error.code not in _REPLICAS_BEHIND:
                    raise
            self._sleep(_SETTLE_POLL_S)
        return ask()

    def _settle(self, client: Client, partition: int) -> None:
        """Wait until no INSERT of the partition is running.

        A connection that broke, or a sink that was killed, can leave one that commits later. Entries read
        before that would be stored twice.
        """
        for _ in range(int(_SETTLE_S_MAX / _SETTLE_POLL_S)):
            ((count,),) = rows(client, _UNDER_WAY.format(processes=self._processes, partition=partition))
            if not count:
                return
            self._sleep(_SETTLE_POLL_S)
        raise ClickHouseError(
            f"an INSERT of partition {partition} is still under way after {_SETTLE_S_MAX:.0f} s"
        )

    @contextmanager
    def _connected(self) -> Iterator[Client]:
        try:
            if self._client is None:
                self._client = connect(self._url, NativeClient, consistent=True)
            yield self._client
        except ClickHouseError:
            self.close()
            raise
        except FAILURES as error:
            self.close()
            if is_missing(error):
                self._recreate_ledger()
            raise ClickHouseError(sentence(error)) from error

    def _recreate_ledger(self) -> None:
        if self._recreate is None:
            return
        try:
            self._recreate()
        except FAILURES as error:
            raise ClickHouseError(
                f"the ledger is gone and cannot be created again: {sentence(error)}"
            ) from error
        self.forget_tokens()
        log.error(
            "The ledger was gone from ClickHouse; it was created again and is filled from phone-ledger."
        )


def _table_columns(partition: int, columns: Sequence[Column]) -> list[Column]:
    """Convert to the table's columns: add the source partition, make the arrival relative to the time."""
    times, arrivals = (cast("array[int]", columns[place]) for place in (_TIME, _RECORDED_AT))
    stored = [array("I", (partition,)) * len(times), *columns]
    stored[1 + _RECORDED_AT] = array("q", map(sub, arrivals, times))
    return stored
