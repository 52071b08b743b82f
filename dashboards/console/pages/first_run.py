"""The page that leads from an empty console to the first event, in three steps that are checked."""

import asyncio
from datetime import UTC
from typing import Final, NamedTuple

from starlette.responses import JSONResponse, Response

from dashboards.console.key_desk import KeyDesk
from dashboards.console.ledger_reads import LedgerReads
from dashboards.console.visit import Visit
from dashboards.reads.apps import read_apps
from metering.times import from_ms

PATH: Final = "/first-run"


class FirstSteps(NamedTuple):
    """The steps, and which of them are done.

    Attributes:
        apps: the owner has an app.
        key: a valid API key may send events of one of them.
        event: an event of one of them has been metered.
    """

    apps: bool
    key: bool
    event: bool


class FirstRunPage:
    """The page of the first run, and what its script asks for.

    Args:
        reads: of the ledger.
        keys: the API keys.
        gateway: address that events are sent to, as back ends reach it.
    """

    def __init__(self, reads: LedgerReads, keys: KeyDesk, gateway: str) -> None:
        self._reads = reads
        self._keys = keys
        self._gateway = gateway

    async def show(self, visit: Visit) -> Response:
        """The page."""
        clock = await self._reads.clock()
        values = {
            "steps": await self._steps(visit),
            "appid": visit.apps[0] if visit.apps else "",
            "gateway": self._gateway,
            "time": from_ms(clock.now_ms).astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        }
        return visit.page("first_run.html", values)

    async def state(self, visit: Visit) -> Response:
        """The steps as JSON: the script of the page asks for them until all are done."""
        return JSONResponse((await self._steps(visit))._asdict())

    async def _steps(self, visit: Visit) -> FirstSteps:
        apps = visit.apps
        if not apps:
            return FirstSteps(apps=False, key=False, event=False)
        keys, seen = await asyncio.gather(
            asyncio.to_thread(self._keys.keys_of, apps),
            self._reads.read(lambda ask: read_apps(ask, apps, search="", after="", most=1)),
        )
        may_send = any(key.state == "valid" and "emit" in key.scopes for key in keys)
        return FirstSteps(apps=True, key=may_send, event=bool(seen))
