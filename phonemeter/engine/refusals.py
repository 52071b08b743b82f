"""What the embedded engine does not do, each with the sentence and code its client gets."""

from collections.abc import Mapping
from typing import Final

from phonemeter.engine.errors import ACCESS_DENIED, NOT_IMPLEMENTED, READONLY, SYNTAX, EngineError
from phonemeter.engine.sql import Statement

SERVED: Final = frozenset({
    "SELECT", "WITH", "FROM", "SHOW", "DESCRIBE", "DESC", "EXISTS", "EXPLAIN", "CHECK", "INSERT", "DELETE",
    "UPDATE", "CREATE", "REPLACE", "ALTER", "DROP", "UNDROP", "RENAME", "EXCHANGE", "TRUNCATE", "ATTACH",
    "DETACH", "OPTIMIZE", "SET", "USE", "KILL", "SYSTEM",
})  # fmt: skip
"""First words of the statements that are passed to the engine."""
SYSTEM_VERBS: Final = frozenset(
    {"FLUSH", "START", "STOP", "RELOAD", "DROP", "CLEAR", "SYNC", "REFRESH", "WAIT"}
)
SYSTEM_OBJECTS_REFUSED: Final = frozenset({"LISTEN", "CONFIG", "REPLICA", "USERS", "FAILPOINT", "DATABASE"})
ACCESS_OBJECTS: Final = frozenset(
    {"USER", "ROLE", "QUOTA", "ROW", "POLICY", "PROFILE", "SETTINGS", "MASKING"}
)
NOT_ACCESS_OBJECTS: Final = frozenset({
    "DATABASE", "TABLE", "VIEW", "DICTIONARY", "TEMPORARY", "MATERIALIZED", "FUNCTION", "OR",
})  # fmt: skip
REFUSED_CALLS: Final = frozenset({
    "file", "filecluster", "filesystem", "url", "urlcluster", "sqlite", "executable", "executablepool",
    "python", "deltalakelocal", "iceberglocal", "paimonlocal",
})  # fmt: skip


def check(statement: Statement, classified: Mapping[str, object]) -> None:
    """Raise EngineError if `statement`, as the engine's parser classified it, is not served."""
    count = classified.get("statement_count", 0)
    if isinstance(count, int) and count > 1:
        raise EngineError(SYNTAX, "Multi-statements are not allowed: send one statement at a time.")
    _check_access(statement)
    _check_system(statement)
    _check_kind(statement, classified)
    _check_files(statement)


def check_readonly(statement: Statement, classified: Mapping[str, object]) -> None:
    """Refuse whatever changes something in a request that must not (HTTP GET)."""
    if str(classified.get("query_class")).endswith("READ_ONLY") or not classified.get("statement_count"):
        return
    if statement.keyword in {"SET", "USE"}:
        return
    raise EngineError(READONLY, "HTTP GET implies readonly; use POST for statements that change something.")


def _check_access(statement: Statement) -> None:
    first, second, *others = (*statement.words, "", "")
    managed = first in {"CREATE", "ALTER", "DROP", "MOVE"} and second not in NOT_ACCESS_OBJECTS
    managed = managed and bool(ACCESS_OBJECTS & {second, *others[:2]})
    if (
        managed
        or first in {"GRANT", "REVOKE", "EXECUTE"}
        or (first == "SET" and second in {"ROLE", "DEFAULT"})
    ):
        raise EngineError(
            ACCESS_DENIED,
            "There is one user here, and no roles, quotas or row policies: use clickhouse-server for those.",
        )


def _check_files(statement: Statement) -> None:
    refused = statement.calls & REFUSED_CALLS
    if refused:
        raise EngineError(
            ACCESS_DENIED,
            f"{min(refused)}() would reach files or programs of the engine's machine, which is not allowed: "
            "send the data with INSERT.",
        )
    if statement.from_infile:
        raise EngineError(
            ACCESS_DENIED, "FROM INFILE is read by the client, not by the server: send the data with INSERT."
        )


def _check_system(statement: Statement) -> None:
    keyword, verb, *objects = (*statement.words, "", "")
    if keyword == "SYSTEM" and (verb not in SYSTEM_VERBS or SYSTEM_OBJECTS_REFUSED & set(objects[:2])):
        named = " ".join(word for word in (keyword, verb, *objects[:1]) if word)
        raise EngineError(ACCESS_DENIED, f"{named} is not served here: the engine is managed from outside.")


def _check_kind(statement: Statement, classified: Mapping[str, object]) -> None:
    keyword = statement.keyword
    if keyword in {"BACKUP", "RESTORE"}:
        raise EngineError(
            NOT_IMPLEMENTED, f"{keyword} is not served here: stop the engine and copy its directory."
        )
    if keyword not in SERVED and classified.get("statement_count"):
        raise EngineError(NOT_IMPLEMENTED, f"{keyword} statements are not served by the embedded engine.")
    if keyword == "INSERT" and "FUNCTION" in statement.words[1:4]:
        raise EngineError(ACCESS_DENIED, "INSERT INTO FUNCTION is not served here: insert into a table.")
    if keyword == "INSERT" and "input" in statement.calls:
        raise EngineError(NOT_IMPLEMENTED, "input() is not served here: insert into the table itself.")
