"""A ledger in the engine for the commands that ask ClickHouse."""

from collections.abc import Sequence

from metering.ledger import Entry
from tools.pictures.half_year_engine import create_ledger, store_entries


def stored(url: str, entries: Sequence[Entry]) -> str:
    """Create a ledger that holds these entries of source partition 0; returns its URL."""
    create_ledger(url)
    store_entries(url, entries)
    return url
