"""The ledger in ClickHouse, as the benchmarks query it."""

import asyncio

from clickhouse_driver import Client

from bench.checking import COLUMNS, KINDS, EntryFields, difference, expected
from bench.figures import tell
from bench.kafka_log import records
from metering import topics
from phonemeter.settings import Settings
from sinks.connection import FAILURES, connect, rows

RENAMED = {"offset": "source_offset"}
_POSITIONS = "SELECT source_partition, max((source_offset, line)) FROM ledger GROUP BY source_partition"
_COUNT = "SELECT count() FROM ledger"
_BYTES = (
    "SELECT sum(bytes_on_disk) FROM system.parts "
    "WHERE active AND database = currentDatabase() AND table = 'ledger'"
)


class StoredLedger:
    """A connection to the ledger."""

    def __init__(self, settings: Settings) -> None:
        self._client: Client = connect(settings.clickhouse)

    def count(self) -> int:
        """Number of entries; 0 as long as there is no table."""
        try:
            return int(rows(self._client, _COUNT)[0][0])
        except FAILURES:
            return 0

    def stored_up_to(self) -> dict[int, int]:
        """For each source partition the offset after the last event that has a line."""
        return {partition: highest[0] + 1 for partition, highest in rows(self._client, _POSITIONS)}

    def bytes_on_disk(self) -> int:
        """Bytes of the table, projections and indexes included."""
        return int(rows(self._client, _BYTES)[0][0])

    def lines(self, partition: int) -> list[EntryFields]:
        """The lines of a source partition that are compared, in their order."""
        columns = ", ".join(RENAMED.get(name, name) for name in COLUMNS)
        kinds = ", ".join(f"'{kind}'" for kind in sorted(KINDS))
        query = (
            f"SELECT {columns} FROM ledger WHERE source_partition = {partition:d} AND kind IN ({kinds}) "  # noqa: S608 - our own names
            "ORDER BY source_offset, line"
        )
        return [EntryFields(*row) for row in rows(self._client, query)]

    def close(self) -> None:
        """Give up the connection."""
        self._client.disconnect()


async def stored_difference(settings: Settings) -> str | None:
    """The first difference between the ledger in ClickHouse and the count of `bench.checking`, if any."""
    stored = StoredLedger(settings)
    try:
        for partition in range(settings.partitions):
            log = [(one.offset, one.value) for one in await records(settings.kafka, topics.EVENTS, partition)]
            found = await asyncio.to_thread(stored.lines, partition)
            wrong = difference(expected(log), found)
            if wrong is not None:
                tell(f"partition {partition} of the ledger in ClickHouse is wrong: {wrong}")
                return wrong
    finally:
        stored.close()
    return None
