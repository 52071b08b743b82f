"""Backups of the log under faults, and what is restored of them: topics with a prefix, beside the log."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from sqlalchemy import insert, select

from kafka_access.access import KafkaAccess
from phonemeter.backup.directory import BackupDirectory
from phonemeter.business.database import BusinessDatabase
from phonemeter.business.tables import OWNERS
from phonemeter.settings import load
from tests.phonemeter.backup.contents import contents_of_kafka

PREFIX: Final = "restored."
OWNER: Final = ("o1", "店", 1)
RUNS: Final = 20
"""Runs until a command has succeeded; brokers are killed meanwhile."""

Run = Callable[[str, Mapping[str, str]], int]
"""Runs a command of phonemeter with settings; returns its exit status."""


class Backups:
    """The backups of one Kafka, each of another log in a directory of its own.

    Attributes:
        directory: the one of the log that is there now.
        data: directory of the business database that is part of each backup.
    """

    def __init__(self, kafka: str, directory: Path, run: Run) -> None:
        self._kafka = kafka
        self._root = directory
        self._run = run
        self._number = 1
        self.data = directory / "data"

    @property
    def directory(self) -> Path:
        return self._root / f"backup-{self._number}"

    def forget(self) -> None:
        """Begin a new directory, as the log is replaced."""
        self._number += 1

    def take(self) -> bool:
        """Take a backup, or add to the one of this log; run again while brokers are away."""
        self._fill_business()
        return self._succeeds(f"phonemeter backup {self.directory} --no-verify", {"data_dir": str(self.data)})

    def restored(self, clickhouse: str) -> str:
        """Restore the backup beside the log; a difference in words, empty if there is none."""
        settings = {
            "data_dir": str(self._root / "restored"),
            "kafka_prefix": PREFIX,
            "clickhouse": clickhouse,
        }
        if not self._succeeds(f"phonemeter restore {self.directory}", settings):
            return "it was not restored"
        manifest = BackupDirectory(self.directory).manifest()
        original = contents_of_kafka(KafkaAccess(self._kafka), manifest)
        found = contents_of_kafka(KafkaAccess(self._kafka, PREFIX), manifest)
        wrong = [place for place in original if original[place] != found[place]]
        with (
            BusinessDatabase(load(data_dir=settings["data_dir"]).business_url) as database,
            database.begin() as connection,
        ):
            owners = connection.execute(select(OWNERS)).all()
        if wrong or owners != [OWNER]:
            return f"differs in {wrong or 'the business database'}"
        return "" if sum(map(len, found.values())) else "it is empty"

    def _fill_business(self) -> None:
        with (
            BusinessDatabase(load(data_dir=self.data).business_url) as database,
            database.begin() as connection,
        ):
            if not connection.execute(select(OWNERS)).all():
                connection.execute(insert(OWNERS), [dict(zip(OWNERS.columns.keys(), OWNER, strict=False))])

    def _succeeds(self, command: str, settings: Mapping[str, str]) -> bool:
        return any(self._run(command, settings) == 0 for _ in range(RUNS))
