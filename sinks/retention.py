"""Retention in the ledger's table: the clients of its lines, and the place of old lines.

Lines are never deleted: what a pack has left, and how far a source partition is stored, are read from all of
them. A client is of no balance and no position, and most of what a line says about a person.
"""

import re
from typing import Final, NamedTuple

from metering.times import DAY_MS, HOUR_MS
from sinks.cluster import LOCAL
from sinks.connection import cluster_of, connect, rows

COLD_PART_BYTES: Final = 10 << 30
"""Size up to which parts are merged where old ones move: a part moves once its newest line is old."""

_PART_BYTES: Final = "max_bytes_to_merge_at_max_space_in_pool"
_AGE: Final = "toDateTime(time) + toIntervalDay({days:d})"
_CREATED: Final = (
    "SELECT create_table_query FROM system.tables WHERE database = currentDatabase() AND name = '{table}'"
)
_CLIENT: Final = re.compile(r"`client` String [^`]*? TTL toDateTime\(time\) \+ toIntervalDay\((\d+)\)")
_COLD: Final = re.compile(r" TTL toDateTime\(time\) \+ toIntervalDay\((\d+)\) TO VOLUME '(\w+)'")
_POLICY: Final = re.compile(r"storage_policy = '(\w+)'")


class Retention(NamedTuple):
    """The retention that the operator wants.

    Attributes:
        client_days: age from which a line's client is forgotten; 0 for never.
        cold_days: age from which lines are on the cold volume; 0 for never.
        cold_volume: its name in the storage policy.
        storage_policy: the table's storage policy; empty for the one that it has.
    """

    client_days: int = 0
    cold_days: int = 0
    cold_volume: str = "cold"
    storage_policy: str = ""

    def changes(self, created: str) -> tuple[str, ...]:
        """Changes of a table, given the statement that it was created with; none if it is as wanted."""
        found = _CLIENT.search(created)
        cold = _COLD.search(created)
        policy = _POLICY.search(created)
        changes = []
        if self.storage_policy and (policy is None or policy[1] != self.storage_policy):
            changes.append(f"MODIFY SETTING storage_policy = '{self.storage_policy}'")
        if self.client_days != (int(found[1]) if found else 0):
            wanted = f"TTL {_AGE.format(days=self.client_days)}" if self.client_days else "REMOVE TTL"
            changes.append(f"MODIFY COLUMN client {wanted}")
        has = (int(cold[1]), cold[2]) if cold else (0, "")
        if (self.cold_days, self.cold_volume if self.cold_days else "") != has:
            if self.cold_days:
                changes.append(
                    f"MODIFY SETTING max_bytes_to_merge_at_max_space_in_pool = {COLD_PART_BYTES:d}"
                )
                age = _AGE.format(days=self.cold_days)
                changes.append(f"MODIFY TTL {age} TO VOLUME '{self.cold_volume}'")
            else:
                changes.append("REMOVE TTL")
                changes.append(f"RESET SETTING {_PART_BYTES}")
        return tuple(changes)


def created_table(url: str) -> tuple[str, str]:
    """The table that has the lines, as ALTER names it, and the statement that it was created with."""
    cluster = cluster_of(url)
    table = "ledger" if cluster is None else f"ledger{LOCAL}"
    with connect(url) as client:
        found = rows(client, _CREATED.format(table=table))
    return (
        table if cluster is None else f"{table} {cluster.clause}",
        str(found[0][0]) if found else "",
    )


def apply(url: str, retention: Retention) -> tuple[str, ...]:
    """Change the ledger's table to what is wanted; returns the changes.

    Raises:
        clickhouse_driver.errors.Error, OSError, EOFError: ClickHouse is away or refuses.
    """
    table, created = created_table(url)
    changes = retention.changes(created)
    with connect(url) as client:
        for change in changes:
            client.execute(f"ALTER TABLE {table} {change}")
    return changes


def clients_forgotten_before_ms(created: str, now_ms: int) -> int:
    """Time before which lines may have lost their client; 0 if all have theirs."""
    found = _CLIENT.search(created)
    # The servers' clocks may be ahead of this one.
    return now_ms - int(found[1]) * DAY_MS + HOUR_MS if found else 0
