"""The tables of the business database, brought to the newest migration."""

from pkgutil import iter_modules
from typing import Final

from sqlalchemy import Connection, inspect, text

from phonemeter.business.migrations import versions

MIGRATIONS: Final = "phonemeter.business:migrations"


class UnknownMigrationError(Exception):
    """The tables are of a migration that is not known here."""


def newest() -> str:
    """The newest migration: its module is named by it, `m0001_...` for 0001."""
    return max(module.name for module in iter_modules(versions.__path__)).partition("_")[0].removeprefix("m")


def migrate(connection: Connection) -> None:
    """Bring the tables to the newest migration.

    Raises:
        UnknownMigrationError: they are of a migration that is not known here.
    """
    if _current(connection) != newest():
        _upgrade(connection, "head")


def migrate_to(connection: Connection, migration: str) -> None:
    """Bring empty tables to a migration.

    Raises:
        UnknownMigrationError: it is not known here.
    """
    _upgrade(connection, migration)


def _current(connection: Connection) -> str | None:
    if not inspect(connection).has_table("alembic_version"):
        return None
    found: str | None = connection.execute(text("SELECT version_num FROM alembic_version")).scalar()
    return found


def _upgrade(connection: Connection, migration: str) -> None:
    # Each takes long to import, and seldom is there anything to do for it.
    from alembic import command  # noqa: PLC0415 - see above
    from alembic.config import Config  # noqa: PLC0415 - see above
    from alembic.util.exc import CommandError  # noqa: PLC0415 - see above

    config = Config()
    config.set_main_option("script_location", MIGRATIONS)
    config.attributes["connection"] = connection
    try:
        command.upgrade(config, migration)
    except CommandError as error:
        raise UnknownMigrationError(str(error)) from error
