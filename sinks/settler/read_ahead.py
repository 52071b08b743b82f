"""The reading of small apps, many at once: queries per app would take most of the time that they take."""

from collections.abc import Sequence
from typing import Final, Protocol

from metering.ledger import Entry
from sinks.errors import ClickHouseError
from sinks.settler.app_entries import AppEntries
from sinks.settler.ledger import UnsettledApp

APPS_AT_ONCE: Final = 200

APP_ENTRIES_MAX: Final = 5_000
"""Entries of an app beyond which it is read by itself, where ClickHouse adds them up."""

ENTRIES_AT_ONCE: Final = 20_000
"""Limit of entries that are read at once, of about 1 kB each."""


class EntriesOfApps(Protocol):
    """The part of the ledger that reading ahead uses."""

    def complete_through(self, partition: int) -> int:
        """The highest offset through which the entries of a partition are complete; -1 without one."""

    def counts(self, partition: int, as_of: int, appids: Sequence[str]) -> dict[str, int]:
        """The numbers of entries of apps through an offset."""

    def entries(self, partition: int, as_of: int, appids: Sequence[str]) -> dict[str, list[Entry]]:
        """The same entries, in the order of the log."""


class ReadAhead:
    """Reads the next apps of a round, in the order in which they are asked for."""

    def __init__(self, ledger: EntriesOfApps) -> None:
        self._ledger = ledger
        self._expected: list[UnsettledApp] = []
        self._read: dict[tuple[str, int], AppEntries] = {}

    def expect(self, apps: Sequence[UnsettledApp]) -> None:
        """Note the apps of a round, and forget those of the one before."""
        self._expected = list(apps)
        self._read = {}

    def take(self, app: UnsettledApp) -> AppEntries | None:
        """The entries of an app; None if it is to be read by itself.

        That is so of a large one, and where the ledger changed meanwhile or ClickHouse fails, so that the app
        that is the cause meets it alone.
        """
        if app in self._expected:
            try:
                self._read_with(app)
            except ClickHouseError:
                self._expected = []
        return self._read.pop((app.appid, app.partition), None)

    def _read_with(self, app: UnsettledApp) -> None:
        """Read an app, and those of its partition that follow."""
        partition = app.partition
        following = [each for each in self._expected if each.partition == partition]
        following = following[following.index(app) :][:APPS_AT_ONCE]
        as_of = self._ledger.complete_through(partition)
        counts = self._ledger.counts(partition, as_of, [each.appid for each in following])
        small, together = [], 0
        for each in following:
            count = counts.get(each.appid, 0)
            if count > APP_ENTRIES_MAX:
                self._expected.remove(each)
                continue
            together += count
            if together > ENTRIES_AT_ONCE:
                break
            self._expected.remove(each)
            small.append(each.appid)
        entries = self._ledger.entries(partition, as_of, small)
        if self._ledger.complete_through(partition) < as_of:
            return
        for appid, of_app in entries.items():
            if len(of_app) == counts.get(appid):
                self._read[appid, partition] = AppEntries(as_of, of_app)
