"""A console whose pages read the simulated half-year in the real engine."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

from dashboards.console.figures import FigurePages
from dashboards.console.order_desk import OrderDesk
from dashboards.console.owner_settings import OwnerSettingPages
from dashboards.http.pool import ReadPool
from kafka_access.access import KafkaAccess
from metering.catalogue import DEFAULT
from metering.rules import Rules
from phonemeter.agreement.console_causes import AgreementCauses
from phonemeter.business.console_alerts import ConsoleAlerts
from phonemeter.business.console_keys import OwnerKeys
from phonemeter.business.database import BusinessDatabase
from phonemeter.business.fact_desk import BusinessFacts
from phonemeter.business.guide import BusinessGuide
from phonemeter.business.keys import KeyStore
from phonemeter.business.orders import BusinessOrders
from phonemeter.business.owners import OwnerStore
from phonemeter.business.recipients import BusinessRecipients
from phonemeter.reads.connection import ReadOnlyConnection
from tests.dashboards.conftest import Ledger
from tests.dashboards.console.parts import BILLING_START_MS, ServedConsole, served_console
from tools.pictures.half_year import entries_for_pages

GATEWAY = "https://events.example"
ANSWER_S = 60.0
"""Longer than any read here takes, also beside everything else that the machine does."""


@asynccontextmanager
async def console_with_figures(
    directory: Path, ledger: Ledger, routes: Path | None = None, mail_server: str = ""
) -> AsyncIterator[ServedConsole]:
    """A console in the block: owner `a` has the simulated apps in addition, the owner `new` has none."""
    kept = ledger.entries
    ledger.replace(entries_for_pages())
    apps = sorted({entry.appid for entry in ledger.entries if entry.appid})
    url = f"sqlite:///{directory}/business.sqlite"
    pool = ReadPool(partial(ReadOnlyConnection, ledger.engine.url, ANSWER_S), 4, 100, ANSWER_S)
    with BusinessDatabase(url) as database:
        desk = OrderDesk(BusinessOrders(database), (), DEFAULT, BILLING_START_MS)
        facts, causes = BusinessFacts(database), AgreementCauses(ledger.engine.url)
        part = FigurePages(
            pool, OwnerKeys(KeyStore(database)), desk, facts, GATEWAY, causes, BusinessGuide(database)
        )
        # Nothing publishes here, so that nothing is waited for.
        settings = OwnerSettingPages(
            pool,
            facts,
            ConsoleAlerts(database, KafkaAccess("127.0.0.1:9"), routes),
            BusinessRecipients(database, mail_server, ANSWER_S),
            Rules(),
            takes_hold_s=0,
        )
        working = asyncio.create_task(part.run())
        try:
            async with served_console(directory, [part, settings], url) as console:
                OwnerStore(database).change_apps("a", apps, [])
                OwnerStore(database).add("new", [])
                console.add_member("owner", "new")
                yield console
        finally:
            working.cancel()
            await asyncio.gather(working, return_exceptions=True)
            ledger.replace(kept)
