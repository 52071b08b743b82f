"""Statements that are refused although chDB would run them, each with its code and sentence.

chDB's own access control (`access/`) refuses the rest.
"""

from collections.abc import Mapping
from typing import Final

from phonemeter.engine.errors import ACCESS_DENIED, NOT_IMPLEMENTED, READONLY, EngineError
from phonemeter.engine.statements import Statement

ENGINES: Final = frozenset({
    "mergetree", "replacingmergetree", "summingmergetree", "aggregatingmergetree", "collapsingmergetree",
    "versionedcollapsingmergetree", "coalescingmergetree", "graphitemergetree", "memory", "log", "tinylog",
    "stripelog", "null", "set", "join", "buffer", "merge", "dictionary", "generaterandom", "view",
    "materializedview", "atomic", "ordinary",
})  # fmt: skip
"""Engines of tables and databases that stay in the data directory."""
SOURCES: Final = frozenset({"clickhouse", "null"})
FUNCTIONS: Final = frozenset({
    "file", "filecluster", "filesystem", "url", "urlcluster", "sqlite", "executable", "executablepool",
    "python", "catboostevaluate", "deltalakelocal", "iceberglocal", "paimonlocal", "eval",
})  # fmt: skip
"""Functions that chDB does not refuse, or not with a clear sentence."""
REACHING: Final = {
    "setting disk": "SETTINGS disk",
    "source elsewhere": "SOURCE(CLICKHOUSE(host ...))",
    "path": "ATTACH ... FROM",
    "outfile": "INTO OUTFILE",
}
"""Clauses that reach files or addresses, with their names for the sentence."""
ACCESS_KINDS: Final = frozenset({"GrantQuery", "SetRoleQuery", "ExecuteAsQuery"})
NOT_IMPLEMENTED_KINDS: Final = {
    "BackupQuery": "BACKUP and RESTORE are not served here: stop the engine and copy its directory.",
    "TransactionControl": "Transactions are not served by the embedded engine.",
}


def check(statement: Statement) -> None:
    """Raise EngineError if `statement` is not served."""
    if statement.kind in NOT_IMPLEMENTED_KINDS:
        raise EngineError(NOT_IMPLEMENTED, NOT_IMPLEMENTED_KINDS[statement.kind])
    if statement.kind in ACCESS_KINDS:
        raise EngineError(
            ACCESS_DENIED,
            "There is one user here, and no roles, quotas or row policies: use clickhouse-server for those.",
        )
    if "infile" in statement.names:
        raise EngineError(
            ACCESS_DENIED, "FROM INFILE is read by the client, not by the server: send the data with INSERT."
        )
    if "insert function" in statement.names:
        raise EngineError(ACCESS_DENIED, "INSERT INTO FUNCTION is not served here: insert into a table.")
    if "function input" in statement.names:
        raise EngineError(NOT_IMPLEMENTED, "input() is not served here: insert into the table itself.")
    for name in sorted(statement.names):
        _check_name(name)


def _check_name(name: str) -> None:
    what, _, called = name.partition(" ")
    reaching = REACHING.get(name)
    if what == "function" and called in FUNCTIONS:
        reaching = f"{called}()"
    if what == "engine" and called not in ENGINES:
        reaching = f"ENGINE {called}"
    if what == "source" and called not in SOURCES:
        reaching = reaching or f"SOURCE({called})"
    if reaching is not None:
        raise EngineError(
            ACCESS_DENIED,
            f"{reaching} would reach files, programs or servers, which is not allowed: "
            "send the data with INSERT.",
        )


def check_readonly(statement: Statement, classified: Mapping[str, object]) -> None:
    """Raise EngineError for a statement that changes something, in a read-only request (HTTP GET)."""
    if str(classified.get("query_class")).endswith("READ_ONLY") or statement.kind in {"SetQuery", "UseQuery"}:
        return
    raise EngineError(READONLY, "HTTP GET implies readonly; use POST for statements that change something.")
