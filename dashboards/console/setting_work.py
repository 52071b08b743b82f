"""Work that the pages of settings share: the apps to choose from, and facts on their way to the ledger."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final

from starlette.responses import Response

from dashboards.console.errors import RefusedChangeError
from dashboards.console.facts import ConsoleFact, FactDesk, FactKind, RefusedFactError
from dashboards.console.languages import marked
from dashboards.console.ledger_reads import LedgerReads
from dashboards.console.problems import ConsoleProblem
from dashboards.console.setting_fields import FieldMistakeError
from dashboards.console.visit import Visit
from dashboards.reads.app_names import NamedApp, read_app_names

LOOK_S: Final = 0.25
TAKES_HOLD_S: Final = 4.0
"""A setting usually is in the ledger within a second of being saved; nobody waits longer than this."""

ARRIVES_MS: Final = 600_000
"""Within ten minutes a setting that Kafka has is in the ledger."""

REFUSED: Final = marked("The setting was not accepted. Check what was entered.")


class SettingWork:
    """The reading and recording of settings.

    Args:
        reads: of the ledger.
        facts: the outbox.
        takes_hold_s: how long a page waits at most for a setting to be in the ledger.
    """

    def __init__(self, reads: LedgerReads, facts: FactDesk, takes_hold_s: float = TAKES_HOLD_S) -> None:
        self.reads = reads
        self._facts = facts
        self._takes_hold_s = takes_hold_s

    async def apps(self, visit: Visit) -> Sequence[NamedApp]:
        """The owner's apps by name."""
        return await self.reads.read(lambda ask: read_app_names(ask, visit.apps))

    async def pending(
        self, visit: Visit, appid: str, kind: FactKind, since_ms: int | None
    ) -> list[dict[str, Any]]:
        """The data of settings that the ledger does not have yet, the oldest first."""
        owner_id = visit.member.membership.owner_id
        newest = await asyncio.to_thread(self._facts.newest, owner_id, appid, kind)
        # What Kafka has had for long, and the ledger has not, was not accepted.
        expected_ms = time.time_ns() // 1_000_000 - ARRIVES_MS
        return [
            dict(one.fact.data)
            for one in reversed(newest)
            if (at_ms := one.fact.time_ms or 0) > (since_ms or 0)
            and (at_ms > expected_ms or not one.is_published)
        ]

    async def record(self, visit: Visit, kind: FactKind, appid: str, data: dict[str, Any]) -> None:
        """Record a setting of an app.

        Raises:
            FieldMistakeError: the metering would not accept it.
            ConsoleProblem: the app is not the owner's any more.
        """
        deed = kind.removeprefix("account.")
        fact = ConsoleFact(kind, appid, data)
        try:
            await asyncio.to_thread(self._facts.record, visit.member.actor, [fact], deed, appid)
        except RefusedChangeError as error:
            if error.reason == "not_there":
                raise ConsoleProblem("not_found") from None
            raise FieldMistakeError(REFUSED) from None
        except RefusedFactError:
            raise FieldMistakeError(REFUSED) from None

    async def holds(self, look: Callable[[], Awaitable[bool]]) -> bool:
        """Wait for a setting to be in force, not for long; returns whether it is."""
        until_s = time.monotonic() + self._takes_hold_s
        while True:
            if await look():
                return True
            if time.monotonic() >= until_s:
                return False
            await asyncio.sleep(LOOK_S)


def named_app(apps: Sequence[NamedApp], appid: str) -> NamedApp:
    """The app with an appid."""
    return next((app for app in apps if app.appid == appid), NamedApp(appid, appid))


async def first_app(work: SettingWork, visit: Visit, path: str) -> Response:
    """Go to the page of the app that was chosen, or of the first one."""
    if not visit.apps:
        return visit.redirect("/first-run")
    asked = visit.request.query_params.get("app", "")
    if asked not in visit.apps:
        asked = (await work.apps(visit))[0].appid
    return visit.redirect(f"{path}/{asked}")
