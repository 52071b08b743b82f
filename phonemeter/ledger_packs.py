"""The packs that the ledger in ClickHouse has, for the service that reads WeChat's."""

from collections.abc import Sequence
from typing import Final

from phonemeter.clickhouse import ClickHouseError, ledger_client
from producers.wechat.errors import LedgerUnavailableError
from producers.wechat.matching import KnownPack
from sinks.connection import rows

OPEN: Final = ("pending", "active", "exhausted")
"""Statuses of packs that neither have expired nor were given back."""

_PACKS: Final = """
SELECT pack_id, order_id, capability, calls, validity_days, toUnixTimestamp64Milli(starts_at), status
FROM packs WHERE appid = %(appid)s
"""


class LedgerPackReader:
    """Reads the packs of an app, over a connection of its own each time: it is seldom asked."""

    def __init__(self, clickhouse: str) -> None:
        self._clickhouse = clickhouse

    def __call__(self, appid: str) -> Sequence[KnownPack]:
        """Read all packs of an app, whatever became of them.

        Raises:
            LedgerUnavailableError: ClickHouse does not answer, or has no ledger yet.
        """
        try:
            with ledger_client(self._clickhouse) as client:
                found = rows(client, _PACKS, {"appid": appid})
        except ClickHouseError as error:
            raise LedgerUnavailableError(str(error)) from None
        return [KnownPack._make((*terms, status in OPEN)) for *terms, status in found]
