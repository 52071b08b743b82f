"""The settings and the database of a session."""

import re
from collections.abc import Callable, Container, Mapping
from typing import Final

from phonemeter.engine.chdb_engine import BASELINE
from phonemeter.engine.errors import UNKNOWN_SETTING, EngineError
from phonemeter.engine.statements import quoted

IGNORED: Final = frozenset({"send_logs_level", "send_logs_source_regexp"})
"""Settings that do nothing: logs cannot be sent to a client, and would fill the log of the process."""
_SETTING_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_.$]{0,127}")


class SessionSettings:
    """The settings and the database that hold on a session's connection.

    `run` runs a statement on the connection and returns its output in a format.
    """

    def __init__(self, run: Callable[[str, str], bytes]) -> None:
        self._run = run
        self._applied: dict[str, str] = {}
        self._own_database = ""
        """The session's own database while a query uses another one."""
        self._query_database = ""

    def apply(self, settings: Mapping[str, str], optional: Container[str] = ()) -> None:
        """Apply exactly these settings: earlier ones that are missing get their defaults.

        Raises:
            EngineError: a setting is unknown and not in `optional`, or its value is not allowed.
        """
        wanted = {name: value for name, value in settings.items() if name not in IGNORED}
        for name, value in self._changes(wanted).items():
            if not _SETTING_NAME.fullmatch(name):
                raise EngineError(UNKNOWN_SETTING, f"Unknown setting {name[:100]!r}.")
            try:
                self._run(f"SET {name} = {value}", "Null")
            except EngineError as error:
                if name in optional and error.code == UNKNOWN_SETTING:
                    continue
                raise
            if name in wanted:
                self._applied[name] = wanted[name]
            else:
                del self._applied[name]

    def _changes(self, wanted: Mapping[str, str]) -> dict[str, str]:
        """The settings to change, with their values as SQL."""
        gone = (name for name in self._applied if name not in wanted and not name.startswith("param_"))
        changes = {name: quoted(BASELINE[name]) if name in BASELINE else "DEFAULT" for name in gone}
        changes.update(
            {name: quoted(value) for name, value in wanted.items() if self._applied.get(name) != value}
        )
        return changes

    def database(self) -> str:
        """The current database."""
        return self._run("SELECT currentDatabase()", "TSVRaw").decode().strip()

    def use(self, database: str) -> None:
        """Make `database` the current one; EngineError 81 if there is none of that name."""
        self._run("USE " + quoted_name(database), "Null")

    def use_for_query(self, database: str) -> None:
        """Make a query's database the current one, or the session's own if the query has none."""
        if database and database != self._query_database:
            own = self._own_database if self._query_database else self.database()
            self.use(database)
            self._own_database, self._query_database = own, database
        elif not database and self._query_database:
            self.use(self._own_database)
            self._query_database = ""

    def keep_database(self) -> None:
        """Keep the current database for the session: the query is a USE."""
        self._query_database = ""


def quoted_name(name: str) -> str:
    """A SQL identifier."""
    return "`" + name.replace("\\", "\\\\").replace("`", "\\`") + "`"
