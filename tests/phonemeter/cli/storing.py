"""A ledger in the engine for the commands that ask ClickHouse."""

from collections.abc import Sequence

from dashboards.views import statements
from metering.ledger import Entry, encode_records
from sinks.connection import connect
from sinks.lines import concatenated, decode
from sinks.migrations import migrate
from sinks.store import Store


def stored(url: str, entries: Sequence[Entry]) -> str:
    """The database with the tables, the views and these lines of source partition 0; gives back its URL."""
    migrate(url)
    with connect(url) as client:
        for statement in statements():
            client.execute(statement)
    store = Store(url)
    for value in encode_records(0, entries):
        read = decode(value, 0)
        store.insert(0, concatenated([read]), store.position(0))
    store.close()
    return url
