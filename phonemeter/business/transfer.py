"""All rows of the business database, read as of one moment, and put into an empty one."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from hashlib import sha256
from typing import Any, Final

import msgspec
from msgspec import Struct
from sqlalchemy import Connection, MetaData, Table, func, inspect, select, text

from phonemeter.business.database import BusinessDatabase
from phonemeter.business.migration import migrate, migrate_to, newest
from phonemeter.business.tables import METADATA
from phonemeter.errors import UserError

ROWS_TOGETHER: Final = 500
VERSION_TABLE: Final = "alembic_version"

_encode: Final = msgspec.msgpack.Encoder().encode


class TableRows(Struct, frozen=True, array_like=True):
    """Some rows of a table, with the names of their columns."""

    table: str
    columns: tuple[str, ...]
    rows: list[list[Any]]


def export_rows(database: BusinessDatabase, take: Callable[[TableRows], None]) -> tuple[str, str]:
    """Read every row, as of one moment, in an order that depends on the rows alone.

    Returns:
        The migration that the tables are of, and the SHA-256 of the rows.

    Raises:
        OperationError: the database can't be used.
    """
    digest = sha256()
    with database.snapshot() as connection:
        for part in _rows_of(connection):
            digest.update(_encode(part))
            take(part)
    return newest(), digest.hexdigest()


def refuse_filled(database: BusinessDatabase, rows_sha256: str) -> bool:
    """Check that a database is empty, or has just the rows with this SHA-256; returns whether it is empty.

    Raises:
        UserError: it has others.
        OperationError: the database can't be used.
    """
    if not database.exists:
        return True
    with database.unmigrated() as connection:
        filled = _filled(connection)
    if not filled or export_rows(database, lambda _part: None)[1] == rows_sha256:
        return not filled
    raise UserError(
        f"The business database {database.shown} is not empty: {', '.join(filled[:5])} "
        f"{'have' if len(filled) > 1 else 'has'} rows. Restore into an empty one: move this one away, or set "
        f"PHONEMETER_BUSINESS_DATABASE (business_database in phonemeter.toml) to another."
    )


def import_rows(
    database: BusinessDatabase, migration: str, rows_sha256: str, parts: Iterable[TableRows]
) -> None:
    """Put rows that were read at a migration into an empty database, all of them or none.

    Raises:
        UserError: it has others.
        OperationError: the database can't be used.
    """
    if not refuse_filled(database, rows_sha256):
        return
    with database.unmigrated() as connection:
        _tables(connection).drop_all(connection)
        migrate_to(connection, migration)
        _insert(connection, parts)
        migrate(connection)


def _rows_of(connection: Connection) -> Iterator[TableRows]:
    for table in METADATA.sorted_tables:
        columns = tuple(str(column.name) for column in table.columns)
        ordered = select(table).order_by(*table.primary_key.columns)
        result = connection.execute(ordered.execution_options(yield_per=ROWS_TOGETHER))
        for rows in result.partitions(ROWS_TOGETHER):
            yield TableRows(str(table.name), columns, [list(row) for row in rows])


def _tables(connection: Connection) -> MetaData:
    """The tables that are there, all but Alembic's own included."""
    found = MetaData()
    found.reflect(connection)
    return found


def _filled(connection: Connection) -> list[str]:
    """The tables with rows, besides Alembic's own."""
    return [
        table.name
        for table in _tables(connection).sorted_tables
        if table.name != VERSION_TABLE and connection.execute(select(table).limit(1)).first() is not None
    ]


def _insert(connection: Connection, parts: Iterable[TableRows]) -> None:
    tables: Mapping[str, Table] = _tables(connection).tables
    for part in parts:
        named = [dict(zip(part.columns, row, strict=True)) for row in part.rows]
        connection.execute(tables[part.table].insert(), named)
    if connection.dialect.name == "postgresql":
        for table in tables.values():
            _continue_numbers(connection, table)


def _continue_numbers(connection: Connection, table: Table) -> None:
    """Have PostgreSQL number further rows after those that were put in with their numbers."""
    for column in inspect(connection).get_columns(table.name):
        if "nextval" not in str(column.get("default") or ""):
            continue
        newest_number = connection.execute(select(func.max(table.c[column["name"]]))).scalar()
        if newest_number is not None:
            connection.execute(
                text("SELECT setval(pg_get_serial_sequence(:table, :column), :newest)"),
                {"table": table.name, "column": column["name"], "newest": newest_number},
            )
