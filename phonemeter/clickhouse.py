"""Connections to ClickHouse on behalf of commands: every failure is one sentence."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from clickhouse_driver import Client

from metering.printable_text import one_line
from phonemeter.errors import OperationError, UserError
from sinks.connection import FAILURES, cluster_of, connect, is_missing, place_of, sentence

REPLY_TIMEOUT_S: Final = 20.0


class ClickHouseError(OperationError):
    """ClickHouse does not answer, or refuses a query."""


class NoLedgerError(ClickHouseError):
    """ClickHouse has no ledger yet."""


@contextmanager
def ledger_client(
    url: str, *, reply_timeout_s: float = REPLY_TIMEOUT_S, consistent: bool = False
) -> Iterator[Client]:
    """A connection to the ClickHouse at `url`, closed at the end; `consistent` as `connect` has it.

    Raises:
        NoLedgerError: it has no ledger yet.
        ClickHouseError: it does not answer, or refuses a query.
    """
    try:
        with connect(url, reply_timeout_s=reply_timeout_s, consistent=consistent) as client:
            yield client
    except FAILURES as error:
        where = f"ClickHouse at {place_of(url)}"
        if is_missing(error):
            raise NoLedgerError(
                f"{where} has no ledger yet: start the sink, which creates it (phonemeter up)."
            ) from error
        raise ClickHouseError(
            f"{where} does not answer as it should ({sentence(error)}): start it (phonemeter up), or set "
            f"PHONEMETER_CLICKHOUSE."
        ) from error


def refuse_cluster(url: str, command: str) -> None:
    """Refuse a command that replaces the ledger's table in one step, which a cluster has no way to do.

    Raises:
        UserError: the database is on a cluster.
    """
    cluster = cluster_of(url)
    if cluster is not None:
        raise UserError(
            f"{command} exchanges tables in one step, which cluster {cluster.name} cannot: name another "
            f"database of it in PHONEMETER_CLICKHOUSE, which the sink fills from phone-ledger."
        )


def unknown_app(appid: str) -> OperationError:
    """The error for an app of which the ledger has no entry."""
    shown = one_line(appid) or repr(appid)
    return OperationError(
        f"The ledger has no entry about app {shown}: phonemeter apps lists the apps that it knows; a new one "
        f"appears with its first event."
    )
