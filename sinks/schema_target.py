"""The target of the schema: one server, or every server of a cluster."""

import hashlib
import re
from collections.abc import Sequence
from typing import Any, Final, Protocol

from clickhouse_driver import Client

from sinks.clickhouse_address import ClickHouseAddress
from sinks.cluster import DDL, LOCAL, ON_EVERY_SHARD, Cluster
from sinks.connection import rows
from sinks.errors import SinkError

DISTRIBUTED: Final = "Distributed"

_TABLES: Final = "SELECT name, engine FROM system.tables WHERE database = currentDatabase()"

_TABLES_OF_ALL: Final = (
    "SELECT name, any(engine), any(create_table_query), uniqExact(hostName(), tcpPort()) AS servers "
    "FROM {tables} WHERE database = '{database}' GROUP BY name ORDER BY endsWith(name, '{local}') DESC, name"
)
_SERVERS: Final = "SELECT uniqExact(hostName(), tcpPort()) FROM {one}"
_REACHABLE: Final = {"skip_unavailable_shards": 1}
"""A server that is down gets its tables once it is back: its part of a statement waits for it."""

_VIEW_NAME: Final = re.compile(r"^CREATE OR REPLACE VIEW (\w+)", re.MULTILINE)

VIEWS_VERSION: Final = 0
"""Number in `schema_migrations` under which a cluster notes the text of its views."""

_NOTED_VIEWS: Final = (
    "SELECT argMax(checksum, applied_at) FROM schema_migrations "  # noqa: S608 - a number
    f"WHERE version = {VIEWS_VERSION:d} HAVING count()"
)
_NOTE: Final = "INSERT INTO schema_migrations (version, name, checksum) VALUES"


class SchemaTarget(Protocol):
    """A place for the schema. Statements are those for one server."""

    def create_database(self, client: Client) -> None:
        """Create the database if it is missing; the client is connected to another one."""

    def run(self, client: Client, sql: str) -> None:
        """Run a statement of the schema."""

    def tables(self, client: Client) -> set[str]:
        """Names of the tables that are there completely.

        Raises:
            SinkError: the ledger there is of the other kind of target.
        """

    def create_views(self, client: Client, views: Sequence[str]) -> None:
        """Create or replace the views, in this order."""


def target_of(url: str) -> SchemaTarget:
    """The target that a URL names."""
    address = ClickHouseAddress.of(url)
    if address.cluster is None:
        return OneServer(address.database)
    return ClusterServers(address.database, address.cluster)


class OneServer:
    """The server at the URL."""

    def __init__(self, database: str) -> None:
        self._database = database

    def create_database(self, client: Client) -> None:
        """Create the database if it is missing."""
        client.execute(f"CREATE DATABASE IF NOT EXISTS `{self._database}`")

    def run(self, client: Client, sql: str) -> None:
        """Run a statement as it is."""
        client.execute(sql)

    def tables(self, client: Client) -> set[str]:
        """Names of the tables."""
        engines = dict(rows(client, _TABLES))
        if engines.get("ledger") == DISTRIBUTED:
            raise SinkError(
                f"database {self._database} is on a cluster: set PHONEMETER_CLICKHOUSE_CLUSTER to its name, "
                f"or give this sink another database"
            )
        return set(engines)

    def create_views(self, client: Client, views: Sequence[str]) -> None:
        """Create or replace the views."""
        for view in views:
            client.execute(view)


class ClusterServers:
    """Every server of a cluster."""

    def __init__(self, database: str, cluster: Cluster) -> None:
        self._database = database
        self._cluster = cluster

    def create_database(self, client: Client) -> None:
        """Create the database on every server that lacks it."""
        self._execute(client, f"CREATE DATABASE IF NOT EXISTS `{self._database}` {self._cluster.clause}")

    def run(self, client: Client, sql: str) -> None:
        """Run what the statement stands for on a cluster."""
        for statement in self._cluster.statements(sql, self._database):
            self._execute(client, statement)

    def tables(self, client: Client) -> set[str]:
        """Give servers the tables that others have, and return the names of those of the migrations."""
        whole = self._everywhere(client)
        return {
            name for name in whole if name in ON_EVERY_SHARD or (name + LOCAL in whole and LOCAL not in name)
        }

    def create_views(self, client: Client, views: Sequence[str]) -> None:
        """Create or replace the views if they changed or a server lacks one; each takes all servers."""
        checksum = hashlib.sha256("\n".join(views).encode()).hexdigest()
        names = {name for view in views for name in _VIEW_NAME.findall(view)}
        if rows(client, _NOTED_VIEWS) == [(checksum,)] and names <= self._everywhere(client):
            return
        for view in views:
            self.run(client, view)
        client.execute(_NOTE, [(VIEWS_VERSION, "views", checksum)])

    def _everywhere(self, client: Client) -> set[str]:
        """Names of the tables and views of every server that answers; tables that some lack are copied."""
        answered = self._ask(client, _SERVERS.format(one=self._cluster.everywhere("system.one")))
        servers = answered[0][0] if answered else 0
        found = self._ask(
            client,
            _TABLES_OF_ALL.format(
                tables=self._cluster.everywhere("system.tables"), database=self._database, local=LOCAL
            ),
        )
        for name, engine, statement, having in found:
            if name == "ledger" and engine != DISTRIBUTED:
                raise SinkError(
                    f"database {self._database} has a ledger of one server: give cluster "
                    f"{self._cluster.name} another database, which the sink fills from phone-ledger"
                )
            if having < servers and engine != "View":
                self._execute(client, self._cluster.copied(statement))
        return {name for name, engine, _, having in found if having == servers or engine != "View"}

    def _ask(self, client: Client, query: str) -> list[tuple[Any, ...]]:
        found: list[tuple[Any, ...]] = client.execute(query, settings=_REACHABLE)
        return found

    def _execute(self, client: Client, statement: str) -> None:
        client.execute(statement, settings=DDL)
