"""What the embedded engine does not do, each with the sentence and code its client gets."""

from collections.abc import Mapping
from typing import Final

from phonemeter.engine.errors import ACCESS_DENIED, NOT_IMPLEMENTED, READONLY, SYNTAX, EngineError
from phonemeter.engine.sql import Statement

SYSTEM_ALLOWED: Final = frozenset(
    {
        "FLUSH",
        "START",
        "STOP",
        "RELOAD",
        "DROP",
        "CLEAR",
        "SYNC",
        "REFRESH",
        "WAIT",
        "CANCEL",
        "PAUSE",
        "UNFREEZE",
    }
)
SYSTEM_REFUSED_OBJECTS: Final = frozenset({"LISTEN", "CONFIG", "REPLICA", "USERS", "FAILPOINT", "DATABASE"})
ACCESS_OBJECTS: Final = frozenset(
    {"USER", "ROLE", "QUOTA", "ROW", "POLICY", "PROFILE", "SETTINGS", "MASKING"}
)
REFUSED_CALLS: Final = frozenset(
    {"file", "filecluster", "filesystem", "url", "urlcluster", "sqlite", "executable", "executablepool", "python",
     "deltalakelocal", "iceberglocal", "paimonlocal"}
)  # fmt: skip


def check(statement: Statement, classified: Mapping[str, object]) -> None:
    """Raise EngineError if `statement`, as the engine's parser classified it, is not served."""
    count = classified.get("statement_count", 0)
    if isinstance(count, int) and count > 1:
        raise EngineError(SYNTAX, "Multi-statements are not allowed: send one statement at a time.")
    _check_access(statement)
    _check_files(statement)
    _check_system(statement)
    _check_kind(statement)


def check_readonly(statement: Statement, classified: Mapping[str, object]) -> None:
    """Refuse whatever changes something in a request that must not (HTTP GET)."""
    if str(classified.get("query_class")).endswith("READ_ONLY") or not classified.get("statement_count"):
        return
    if statement.keyword in {"SET", "USE"}:
        return
    raise EngineError(READONLY, "HTTP GET implies readonly; use POST for statements that change something.")


def _check_access(statement: Statement) -> None:
    first, second, *rest = (*statement.words, "", "")
    managed = (
        {second, *rest[:2]} & ACCESS_OBJECTS if first in {"CREATE", "ALTER", "DROP", "MOVE"} else set[str]()
    )
    if second in {"DATABASE", "TABLE", "VIEW", "DICTIONARY", "TEMPORARY", "MATERIALIZED", "FUNCTION", "OR"}:
        managed = set()
    if (
        first in {"GRANT", "REVOKE", "EXECUTE"}
        or managed
        or (first == "SET" and second in {"ROLE", "DEFAULT"})
    ):
        raise EngineError(
            ACCESS_DENIED,
            "The embedded engine has one user and keeps no users, roles, quotas or row policies: "
            "use clickhouse-server for access control.",
        )


def _check_files(statement: Statement) -> None:
    refused = statement.calls & REFUSED_CALLS
    if refused:
        raise EngineError(
            ACCESS_DENIED,
            f"{sorted(refused)[0]}() would reach files or programs of the engine's machine, which is not allowed: "
            "send the data with INSERT.",
        )
    if statement.from_infile:
        raise EngineError(
            ACCESS_DENIED, "FROM INFILE is read by the client, not by the server: send the data with INSERT."
        )
    if statement.insert is not None and statement.insert.target.upper() == "FUNCTION":
        raise EngineError(ACCESS_DENIED, "INSERT INTO FUNCTION is not served by the embedded engine.")


def _check_system(statement: Statement) -> None:
    words = statement.words
    if statement.keyword != "SYSTEM":
        return
    if len(words) < 2 or words[1] not in SYSTEM_ALLOWED or SYSTEM_REFUSED_OBJECTS & set(words[2:4]):  # noqa: PLR2004 - SYSTEM VERB OBJECT
        raise EngineError(
            ACCESS_DENIED,
            f"{' '.join(word for word in words[:3] if word)} is not served by the embedded engine: "
            "its process is managed from outside.",
        )


def _check_kind(statement: Statement) -> None:
    if statement.keyword in {"BACKUP", "RESTORE"}:
        raise EngineError(
            NOT_IMPLEMENTED,
            "BACKUP and RESTORE are not served by the embedded engine: stop it and copy its directory.",
        )
    if statement.keyword in {"BEGIN", "COMMIT", "ROLLBACK"}:
        raise EngineError(NOT_IMPLEMENTED, "Transactions are not served by the embedded engine.")
    if statement.keyword == "INSERT" and "FUNCTION" in statement.words[1:3]:
        raise EngineError(
            ACCESS_DENIED, "INSERT INTO FUNCTION is not served by the embedded engine: insert into a table."
        )
    if statement.keyword == "INSERT" and "input" in statement.calls:
        raise EngineError(
            NOT_IMPLEMENTED, "input() is not served by the embedded engine: insert into the table itself."
        )
