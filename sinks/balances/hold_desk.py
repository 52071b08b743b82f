"""The holds as one gateway sees them: granted in the database, counted in memory, ended by events."""

import asyncio
import logging
import secrets
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Final, TypeVar

from metering.events import Capability
from metering.http_endpoints import HeldEvent
from sinks.balances.holds import (
    CONFIRMED_MS_MAX,
    Hold,
    HoldEnd,
    HoldLimits,
    HoldRefusal,
    HoldRequest,
    HoldSource,
    HoldsUnavailableError,
    OpenHolds,
    counted,
)
from sinks.balances.memory import MS_PER_S, wall_clock_ms

log = logging.getLogger(__name__)

INTERVAL_S: Final = 1.0
WORKERS: Final = 4
WAITING_MAX: Final = 256
"""Limit of requests that wait for the database."""

ID_BYTES: Final = 12
SEEN_MAX: Final = 100_000

T = TypeVar("T")


class HoldDesk:
    """The desk of one gateway. Its methods belong to the event loop, but for `seen`.

    Attributes:
        trouble: why the holds could not be read last; empty if they could.
    """

    def __init__(self, source: HoldSource, now_ms: Callable[[], int] = wall_clock_ms) -> None:
        self._source = source
        self._now_ms = now_ms
        self._pool = ThreadPoolExecutor(WORKERS, "phonemeter-holds")
        self._waiting = 0
        self._open = OpenHolds()
        self._awaited: dict[str, int] = {}
        self._seen: dict[str, int] = {}
        self.trouble = ""

    @property
    def event_ids(self) -> Mapping[str, int]:
        """The events that confirmed holds and are not in the balance yet, with when they cease to matter."""
        return self._awaited

    def seen(self, event_id: str, _partition: int, offset: int) -> None:
        """Take an event that is in the balance now; called by another thread."""
        if len(self._seen) < SEEN_MAX:
            self._seen[event_id] = offset

    def held(self, appid: str, capabilities: tuple[Capability, ...]) -> int:
        """The calls that are held, as of some second ago."""
        return self._open.held(appid, capabilities)

    def held_for_store(self, appid: str, capability: Capability, store: str) -> int:
        """The same for a store."""
        return self._open.by_store.get((appid, capability, store), 0)

    async def run(self) -> None:
        """Exchange with the database what is held and seen, until cancelled."""
        try:
            while True:
                await self.exchange()
                await asyncio.sleep(INTERVAL_S)
        finally:
            self._pool.shutdown(wait=False, cancel_futures=True)

    async def exchange(self) -> None:
        """Note what was seen, and count what is held."""
        seen = dict(self._seen)
        try:
            if seen:
                await self._in_thread(lambda: self._source.mark_seen(seen, self._now_ms()))
            holds = await self._in_thread(lambda: self._source.open(self._now_ms()))
        except HoldsUnavailableError as error:
            if str(error) != self.trouble:
                log.warning("%s", error)
            self.trouble = str(error)
            return
        self.trouble = ""
        for event_id in seen:
            self._seen.pop(event_id, None)
        self._open = counted(holds)
        # What was confirmed while the database was read is not in its answer.
        now_ms, until_ms = self._now_ms(), self._now_ms() + CONFIRMED_MS_MAX
        own = {one: at_ms for one, at_ms in self._awaited.items() if at_ms > now_ms and one not in seen}
        self._awaited = dict.fromkeys(self._open.awaited, until_ms) | own

    async def grant(
        self, appid: str, asked: HoldRequest, limits: HoldLimits, repeat: str | None
    ) -> Hold | HoldRefusal:
        """Grant a hold, if there is a call for it.

        Raises:
            HoldsUnavailableError: the database does not answer.
        """
        now_ms = self._now_ms()
        expires_at_ms = now_ms + asked.seconds * MS_PER_S
        hold = Hold(
            hold_id=secrets.token_hex(ID_BYTES),
            appid=appid,
            capability=asked.capability,
            store=asked.store,
            granted_at_ms=now_ms,
            expires_at_ms=expires_at_ms,
            ends_at_ms=expires_at_ms,
            repeat=repeat,
        )
        return await self._in_thread(lambda: self._source.grant(hold, limits))

    async def release(self, appid: str, hold_id: str) -> HoldEnd:
        """Release a hold.

        Raises:
            HoldsUnavailableError: the database does not answer.
        """
        return await self._in_thread(lambda: self._source.release(appid, hold_id, self._now_ms()))

    async def end_holds(self, events: Sequence[HeldEvent]) -> None:
        """Let events that are about to be sent confirm or release holds.

        If that fails, they are sent all the same: the taps have happened, and the holds expire.
        """
        for event in events:
            try:
                if event.is_success:
                    await self.confirm(event.appid, event.hold_id, event.event_id)
                else:
                    await self.release(event.appid, event.hold_id)
            except HoldsUnavailableError as error:
                log.warning("A hold of %s could not be ended by its event: %s", event.appid, error)

    async def confirm(self, appid: str, hold_id: str, event_id: str) -> bool:
        """Let an event that is about to be sent confirm a hold; returns whether that was open.

        Raises:
            HoldsUnavailableError: the database does not answer.
        """
        # Before it is sent: its entry may be there before the database has answered.
        self._awaited[event_id] = self._now_ms() + CONFIRMED_MS_MAX
        return await self._in_thread(lambda: self._source.confirm(appid, hold_id, event_id, self._now_ms()))

    async def _in_thread(self, work: Callable[[], T]) -> T:
        if self._waiting >= WAITING_MAX:
            raise HoldsUnavailableError("Too many requests wait for the business database; try again.")
        self._waiting += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._pool, work)
        finally:
            self._waiting -= 1
