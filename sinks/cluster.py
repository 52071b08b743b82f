"""The schema on a cluster: replicated tables on every shard, and a distributed one over all of them. Pure.

The statements of the migrations and of the views are those for one server. Here they become those for a
cluster, so that there is one schema. `ledger` is the distributed table, under the name that every query uses;
`ledger_local` has the lines of a shard.
"""

import re
from typing import Final, NamedTuple

LOCAL: Final = "_local"

SHARDED_BY: Final = {"ledger": "source_partition", "delivery_states": "log_partition"}
"""The column that names the shard of a line, per table. All lines of one INSERT have the same value.

So an INSERT goes to one shard as a whole, where it is one part, as on one server. The partition of
phone-events is a stable hash of the app id: an app is on one shard.
"""

ON_EVERY_SHARD: Final = frozenset({"schema_migrations"})
"""Tables of which every server has all lines."""

DEFAULT_REPLICA_PATH: Final = "/clickhouse/tables/{shard}"

WINDOW: Final = {
    "non_replicated_deduplication_window = 1000": "replicated_deduplication_window = 10000, "
    "replicated_deduplication_window_seconds = 604800"
}
"""The window of deduplication tokens, which a replicated table keeps in Keeper."""

QUORUM_TIMEOUT_MS: Final = 20_000
"""Less than the time that an INSERT may take to be acknowledged."""

CONSISTENT: Final = {"select_sequential_consistency": 1}
"""Settings of a SELECT that must see every INSERT that was acknowledged; a replica that lags refuses it."""

DDL: Final = {"distributed_ddl_task_timeout": 20, "distributed_ddl_output_mode": "null_status_on_timeout"}
"""Settings of statements ON CLUSTER: a server that is down runs them once it is back; nobody waits."""

_CREATE: Final = re.compile(r"^CREATE TABLE IF NOT EXISTS (\w+)\n", re.MULTILINE)
_CREATED: Final = re.compile(r"^CREATE TABLE (\S+)")
_ALTER: Final = re.compile(r"^ALTER TABLE (\w+)\s", re.MULTILINE)
_VIEW: Final = re.compile(r"^CREATE OR REPLACE VIEW (\w+)", re.MULTILINE)
_ENGINE: Final = re.compile(r"^ENGINE = (\w*MergeTree)(?:\((.+)\))?$", re.MULTILINE)
_COMMENT: Final = re.compile(r"^COMMENT ('.*')$", re.MULTILINE)
_ALIAS: Final = re.compile(r"^    (\w+) (.+) ALIAS (.+) COMMENT '", re.MULTILINE)
"""An alias; a distributed table has it as materialized, as engine 26.9 mistakes an alias beside a window."""

_COMMENT_LINES: Final = re.compile(r"^--.*\n", re.MULTILINE)


class Cluster(NamedTuple):
    """A cluster, as the servers' configuration names it.

    Attributes:
        replica_path: beginning of the replicas' paths in Keeper, with the macro of the shard.
    """

    name: str
    replica_path: str = DEFAULT_REPLICA_PATH

    @property
    def settings(self) -> dict[str, object]:
        """Settings of every connection: INSERTs on a majority of replicas, subqueries over all shards."""
        return {
            "distributed_product_mode": "global",
            # Written when the shard has it, always by way of the network, so that a token means the same.
            "distributed_foreground_insert": 1,
            "prefer_localhost_replica": 0,
            "insert_deduplicate": 1,
            "insert_quorum": "auto",
            "insert_quorum_parallel": 0,
            "insert_quorum_timeout": QUORUM_TIMEOUT_MS,
        }

    def everywhere(self, table: str) -> str:
        """A table of the system on all servers of the cluster, for FROM."""
        return f"clusterAllReplicas('{self.name}', {table})"

    @property
    def clause(self) -> str:
        """The clause that has a statement run on every server."""
        return f"ON CLUSTER `{self.name}`"

    def statements(self, sql: str, database: str) -> tuple[str, ...]:
        """The statements for the cluster that a statement for one server stands for, in their order."""
        code = _COMMENT_LINES.sub("", sql).strip()
        if created := _CREATE.search(code):
            return self._tables(code, created[1], database)
        if altered := _ALTER.search(code):
            table = altered[1]
            own = table in ON_EVERY_SHARD
            return tuple(
                code.replace(f"ALTER TABLE {table}", f"ALTER TABLE {name} {self.clause}", 1)
                for name in ((table,) if own else (table + LOCAL, table))
            )
        return (_VIEW.sub(lambda found: f"{found[0]} {self.clause}", code, count=1),)

    def copied(self, statement: str) -> str:
        """The statement of a table as one server has it, for the servers that lack it.

        A new replica is accepted only with the columns that the table has by now, not those of its first
        migration.
        """
        return _CREATED.sub(
            lambda found: f"CREATE TABLE IF NOT EXISTS {found[1]} {self.clause}", statement, 1
        )

    def _tables(self, code: str, table: str, database: str) -> tuple[str, ...]:
        for one_server, cluster in WINDOW.items():
            code = code.replace(one_server, cluster)
        head = f"CREATE TABLE IF NOT EXISTS {table}\n"
        if table in ON_EVERY_SHARD:
            path = self.replica_path.replace("{shard}", "all")
            engine = self._engine(code, f"{path}/{database}/{table}", "{shard}-{replica}")
            return (engine.replace(head, f"CREATE TABLE IF NOT EXISTS {table} {self.clause}\n", 1),)
        local = table + LOCAL
        replicated = self._engine(code, f"{self.replica_path}/{database}/{local}", "{replica}")
        comment = _COMMENT.search(code)
        return (
            replicated.replace(head, f"CREATE TABLE IF NOT EXISTS {local} {self.clause}\n", 1),
            f"CREATE TABLE IF NOT EXISTS {table} {self.clause} AS `{database}`.{local}\n"
            f"ENGINE = Distributed('{self.name}', '{database}', '{local}', {SHARDED_BY[table]})"
            + (f"\nCOMMENT {comment[1]}" if comment else ""),
            *(
                f"ALTER TABLE {table} {self.clause} MODIFY COLUMN {column} {type_} MATERIALIZED {expression}"
                for column, type_, expression in _ALIAS.findall(code)
            ),
        )

    @staticmethod
    def _engine(code: str, path: str, replica: str) -> str:
        def replicated(found: re.Match[str]) -> str:
            arguments = [f"'{path}'", f"'{replica}'", *([found[2]] if found[2] else [])]
            return f"ENGINE = Replicated{found[1]}({', '.join(arguments)})"

        return _ENGINE.sub(replicated, code, count=1)
