"""The embedded engine with the simulated half-year, as the pages are drawn from it."""

import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from dashboards.views import statements
from metering.ledger import Entry, encode_records
from phonemeter.demo.ports import with_free_ports
from phonemeter.settings import load
from phonemeter.stack.stack import Stack
from sinks.connection import connect
from sinks.entry_columns import concatenate, decode
from sinks.ledger_table import LedgerTable
from sinks.migrations import migrate
from tools.pictures.half_year import entries_for_pages

DELIVERED: Final = """
INSERT INTO delivery_states (appid, alert_id, route, channel, state, asked_at, changed_at)
SELECT
    appid, alert_id, 'owner', 'wecom',
    multiIf(cityHash64(alert_id) % 9 = 0, 'dead', recovered, 'held', 'delivered'),
    assumeNotNull((SELECT now FROM clock)) - toIntervalHour(1) AS at, at
FROM alerts
WHERE NOT recovered OR cityHash64(alert_id) % 2 = 0
"""
"""The deliveries of the simulated alerts, which no notifier has made."""


@contextmanager
def half_year_engine(entries: Iterable[Entry] | None = None) -> Iterator[str]:
    """Start the engine and fill it, with the entries of the pages or with others; its URL."""
    with tempfile.TemporaryDirectory(prefix="phonemeter-pictures-") as directory:
        settings = with_free_ports(load(data_dir=Path(directory)))
        with Stack(settings, only=("engine",)):
            url = settings.clickhouse
            create_ledger(url)
            store_entries(url, entries_for_pages() if entries is None else entries)
            with connect(url) as client:
                client.execute(DELIVERED)
            yield url


def create_ledger(url: str) -> None:
    """Create the tables and the views of a database."""
    migrate(url)
    with connect(url) as client:
        for statement in statements():
            client.execute(statement)


def store_entries(url: str, entries: Iterable[Entry]) -> None:
    """Store ledger entries as those of source partition 0."""
    table = LedgerTable(url)
    try:
        for value in encode_records(0, list(entries)):
            table.insert(0, concatenate([decode(value, 0)]), table.position(0))
    finally:
        table.close()
