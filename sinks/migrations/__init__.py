"""Migrations of ClickHouse's schema, one numbered file each, with its reason at its head.

The files are for one server; `sinks.cluster` has what they become on a cluster.

A file has one idempotent statement (`IF NOT EXISTS`), because ClickHouse has no transaction around a
statement and its row in `schema_migrations`: after a crash between the two, the next start runs it again. The
statement of a file that was applied never changes; a change is a new file.
"""

import hashlib
import logging
import re
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources
from typing import Final

from clickhouse_driver import Client

from sinks.connection import connect, database_of, rows
from sinks.errors import SinkError
from sinks.schema_target import VIEWS_VERSION, target_of

log = logging.getLogger(__name__)

_FILE_NAME: Final = re.compile(r"^(\d{4})_([a-z0-9_]+)\.sql$")

_TABLE: Final = re.compile(r"^CREATE TABLE IF NOT EXISTS (\w+)", re.MULTILINE)

_ALTERED: Final = re.compile(r"^ALTER TABLE (\w+)", re.MULTILINE)

OLDER_TABLES: Final = frozenset({"ff9c876a52174735f76feb3194c954ae83345727089e31e37094f70bc1ba055b"})
"""Checksums of tables that no migration can turn into today's: they sort entries and keep ids differently."""

_CREATE_SCHEMA_MIGRATIONS: Final = """
CREATE TABLE IF NOT EXISTS schema_migrations
(
    version UInt32 COMMENT 'Number of the migration',
    name String COMMENT 'Its name',
    checksum String COMMENT 'SHA-256 of its statement, comments left out',
    applied_at DateTime64(3, 'UTC') DEFAULT now64(3) COMMENT 'When its statement had run'
)
ENGINE = ReplacingMergeTree
ORDER BY version
COMMENT 'Which migrations of phonemeter this database has; several sinks starting at once may note one twice'
"""


@dataclass(frozen=True, slots=True)
class Migration:
    """One migration: its `version`, its `name` and the `sql` of its statement."""

    version: int
    name: str
    sql: str

    @property
    def tables(self) -> frozenset[str]:
        """Tables that it creates; one that was dropped is created again."""
        return frozenset(_TABLE.findall(self.sql))

    @property
    def altered(self) -> frozenset[str]:
        """Tables that it alters; one that is created again is altered again."""
        return frozenset(_ALTERED.findall(self.sql))

    @property
    def checksum(self) -> str:
        """SHA-256 of the statement without its comments, to recognise a file that was edited once applied."""
        lines = (line.strip() for line in self.sql.splitlines())
        code = "\n".join(line for line in lines if line and not line.startswith("--"))
        return hashlib.sha256(code.encode()).hexdigest()


def known() -> tuple[Migration, ...]:
    """Read the migrations of this version, in order.

    Raises:
        SinkError: two have the same number, or one is missing.
    """
    found = sorted(
        (
            Migration(int(match[1]), match[2], entry.read_text(encoding="utf-8"))
            for entry in resources.files(__name__).iterdir()
            if (match := _FILE_NAME.match(entry.name))
        ),
        key=lambda migration: migration.version,
    )
    if [migration.version for migration in found] != list(range(1, len(found) + 1)):
        raise SinkError(
            "the migrations are not numbered 1, 2, 3, ... without a gap; the installation is broken"
        )
    return tuple(found)


def migrate(url: str, migrations: Sequence[Migration] | None = None) -> int:
    """Apply the migrations that a database lacks; creates the database if it is missing.

    Returns:
        Number of migrations that were run.

    Raises:
        SinkError: the database is of a newer version, or an applied migration is not the one known here.
        clickhouse_driver.errors.Error, OSError, EOFError: ClickHouse is away or refuses.
    """
    steps = known() if migrations is None else tuple(migrations)
    database = database_of(url)
    target = target_of(url)
    with connect(url, database="default") as server:
        target.create_database(server)
    with connect(url) as client:
        target.run(client, _CREATE_SCHEMA_MIGRATIONS)
        applied = _applied(client, database, steps)
        there = target.tables(client)
        pending = [step for step in steps if step.version not in applied or not step.tables <= there]
        created = {name for step in pending for name in step.tables - there}
        pending = [step for step in steps if step in pending or step.altered & created]
        for step in pending:
            target.run(client, step.sql)
            if step.version not in applied:
                client.execute(
                    "INSERT INTO schema_migrations (version, name, checksum) VALUES",
                    [(step.version, step.name, step.checksum)],
                )
            log.info("Migration %04d %s applied to database %s.", step.version, step.name, database)
    return len(pending)


def _applied(client: Client, database: str, steps: Sequence[Migration]) -> set[int]:
    by_version = {step.version: step for step in steps}
    applied = rows(client, "SELECT DISTINCT version, name, checksum FROM schema_migrations ORDER BY version")
    for version, name, checksum in applied:
        if version == VIEWS_VERSION:
            continue
        step = by_version.get(version)
        if step is None:
            raise SinkError(
                f"database {database} has migration {version:04d} {name}, this version knows up to "
                f"{len(steps):04d}: start the newer phonemeter, or give this one another database"
            )
        if checksum in OLDER_TABLES:
            raise SinkError(
                f"database {database} keeps the ledger as an older phonemeter did, in more than twice the "
                f"space: run `phonemeter audit --repair` once, which builds it anew from phone-ledger and "
                f"puts it in the place of the old one, and start this again"
            )
        if step.checksum != checksum:
            raise SinkError(
                f"migration {version:04d} {name} was applied to database {database} with another text than "
                f"this version has: restore the file, and make the change in a new migration"
            )
    return {version for version, _, _ in applied if version != VIEWS_VERSION}
