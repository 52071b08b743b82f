"""The connection to the business database, brought to the newest migration before it is used."""

import fcntl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, Self

from sqlalchemy import Connection, Engine, create_engine, event, make_url, text
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.pool import NullPool

from phonemeter.business.migration import UnknownMigrationError, migrate
from phonemeter.errors import OperationError
from phonemeter.stack.directory import private_files

WAIT_S: Final = 5
MIGRATION_LOCK: Final = 7_304_911_452
"""PostgreSQL's advisory lock of whoever migrates; any number that nothing else uses."""


class BusinessDatabase:
    """The business database at a URL: `sqlite:////PATH` or `postgresql://USER:PASSWORD@HOST/NAME`.

    It is opened and migrated when it is first used, and closed at the end as a context manager. Threads may
    share it.
    """

    def __init__(self, url: str) -> None:
        self._url = make_url(url)
        if self._url.drivername == "postgresql":
            self._url = self._url.set(drivername="postgresql+psycopg")
        self._engine: Engine | None = None
        self._opening = threading.Lock()

    @property
    def shown(self) -> str:
        """Its URL without the password."""
        return self._url.set(drivername=self._url.get_backend_name()).render_as_string(hide_password=True)

    @contextmanager
    def begin(self) -> Iterator[Connection]:
        """A transaction for the block.

        Raises:
            OperationError: the database does not answer, can't be written, or is of a newer phonemeter.
        """
        with self._failures_told(), self._migrated().begin() as connection:
            yield connection

    @contextmanager
    def snapshot(self) -> Iterator[Connection]:
        """A transaction that sees the database as of one moment, whatever is written meanwhile.

        Raises:
            OperationError: as of `begin`.
        """
        with self._failures_told():
            engine = self._migrated()
            if not self._is_file:
                engine = engine.execution_options(isolation_level="REPEATABLE READ")
            with engine.begin() as connection:
                self._take_time(connection)
                yield connection

    @contextmanager
    def unmigrated(self) -> Iterator[Connection]:
        """A transaction in a database that is not brought to the newest migration first.

        Raises:
            OperationError: as of `begin`.
        """
        with self._failures_told():
            engine = self._file_engine() if self._is_file else self._server_engine()
            try:
                with engine.begin() as connection:
                    self._take_time(connection)
                    yield connection
            finally:
                engine.dispose()

    @property
    def exists(self) -> bool:
        """False if it is a file that nobody has created yet."""
        return not self._is_file or Path(self._url.database or "").exists()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Disconnect."""
        if self._engine is not None:
            self._engine.dispose()
            self._engine = None

    @contextmanager
    def _failures_told(self) -> Iterator[None]:
        try:
            yield
        except (SQLAlchemyError, OSError) as error:
            raise OperationError(
                f"The business database {self.shown} can't be used ({_words(error)}); check it, or set "
                f"PHONEMETER_BUSINESS_DATABASE (business_database in phonemeter.toml)."
            ) from None
        except UnknownMigrationError as error:
            raise OperationError(
                f"The business database {self.shown} is not one of this version ({_words(error)}); "
                f"upgrade to the newest release."
            ) from None

    def _take_time(self, connection: Connection) -> None:
        """Begin a transaction of many statements, which may take as long as it needs."""
        if self._is_file:
            # The driver would begin it with the first change only.
            connection.exec_driver_sql("BEGIN")
        else:
            connection.execute(text("SET LOCAL statement_timeout = 0"))

    def _migrated(self) -> Engine:
        with self._opening:
            if self._engine is None:
                self._engine = self._opened()
            return self._engine

    @property
    def _is_file(self) -> bool:
        return self._url.get_backend_name() == "sqlite"

    def _opened(self) -> Engine:
        if self._is_file:
            return self._opened_file(Path(self._url.database or ""))
        engine = self._server_engine()
        with engine.begin() as connection:
            connection.execute(text(f"SELECT pg_advisory_xact_lock({MIGRATION_LOCK})"))
            migrate(connection)
        return engine

    def _server_engine(self) -> Engine:
        return create_engine(
            self._url,
            pool_size=2,
            pool_pre_ping=True,
            connect_args={"connect_timeout": WAIT_S, "options": f"-c statement_timeout={WAIT_S}s"},
        )

    def _file_engine(self) -> Engine:
        # The keys in it are hashed, but who uses which is nobody else's business.
        with private_files():
            Path(self._url.database or "").parent.mkdir(parents=True, exist_ok=True)
        engine = create_engine(self._url, poolclass=NullPool, connect_args={"timeout": WAIT_S})
        event.listen(engine, "connect", _prepare_sqlite)
        return engine

    def _opened_file(self, path: Path) -> Engine:
        engine = self._file_engine()
        with private_files(), path.with_name(f"{path.name}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            with engine.begin() as connection:
                migrate(connection)
        return engine


def _prepare_sqlite(connection: Any, _record: object) -> None:  # noqa: ANN401 - of whichever driver
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")


def _words(error: Exception) -> str:
    return " ".join(str(getattr(error, "orig", None) or error).split())[:200].rstrip(".")
