"""The sources that publish into wrong partitions, for `status`."""

from typing import Final

from metering.printable_text import printable
from phonemeter.clickhouse import ClickHouseError, ledger_client
from sinks.connection import rows

REPLY_TIMEOUT_S: Final = 10.0
SOURCES_TOLD: Final = 5

_QUERY: Final = f"""
SELECT source, count() AS records
FROM ledger
WHERE kind = 'rejection' AND reason = 'wrong_partition' AND time > now() - INTERVAL 1 HOUR
GROUP BY source
ORDER BY records DESC, source
LIMIT {SOURCES_TOLD}
"""  # noqa: S608 - a number of ours


def misplacing_sources(clickhouse: str) -> list[str]:
    """A sentence per source with records refused in the last hour; none if ClickHouse does not answer."""
    try:
        with ledger_client(clickhouse, reply_timeout_s=REPLY_TIMEOUT_S) as client:
            found = rows(client, _QUERY)
    except ClickHouseError:
        return []
    return [
        f"Source {printable(source)!r} publishes into wrong partitions: {count:,} "
        f"record{'' if count == 1 else 's'} refused in the last hour; set its client's partitioner to "
        f"murmur2 of the key (docs/reference/events.md), then phonemeter dead-letters retry --all --reason "
        f"wrong_partition."
        for source, count in found
    ]
