"""A run with gateways in front of the broker: what they accepted is in the ledger once, whatever happens."""

import asyncio
import json
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from typing import Final
from unittest.mock import patch

from metering.ledger import CALL_KINDS, Entry
from metering.rules import Terms
from tests.simulation import checks
from tests.simulation.events import RULES
from tests.simulation.gateways import Clients, Gateways
from tests.simulation.world import World

GATEWAYS = 2
REQUESTS = 14
GATEWAY_FAULTS = 4

REMEMBERING: Final = replace(RULES, remembered_ids_max=200)
"""With more records than other runs have, ids would be forgotten before they are repeated."""


class GatewayWorld(World):
    """A run in which clients send taps over HTTP, beside all that is published otherwise."""

    def __init__(self, seed: int, tell: Callable[[str], None] = lambda _line: None) -> None:
        super().__init__(seed, tell)
        self.gateways = Gateways(self.surroundings)
        self._clients = Clients(self.surroundings, self.gateways)

    def run(self) -> None:
        """Run everything and check the outcome.

        Raises:
            checks.WrongOutcomeError: something was lost, doubled or changed.
        """
        with (
            self.gateways.patched(),
            patch("tests.simulation.world.RULES", REMEMBERING),
            patch("tests.simulation.settlers.RULES", REMEMBERING),
            patch("tests.simulation.workers.TERMS", Terms(rules=REMEMBERING)),
        ):
            super().run()

    def _start(self) -> None:
        super()._start()
        for number in range(GATEWAYS):
            self.gateways.start(number)

    async def _publish(self) -> None:
        async with asyncio.TaskGroup() as work:
            work.create_task(super()._publish())
            work.create_task(self._clients.run(REQUESTS))
            work.create_task(self._harm_gateways())

    async def _harm_gateways(self) -> None:
        for _ in range(GATEWAY_FAULTS):
            await asyncio.sleep(self._chance.expovariate(0.3))
            await self._chance.choice((self.gateways.kill, self.gateways.kill, self.gateways.freeze))()

    def _check(self) -> None:
        lost = self.gateways.lost
        checks.require(not lost, f"{len(lost)} events were accepted before they were in the log: {lost[:1]}")
        super()._check()
        calls: Counter[tuple[int, str]] = Counter()
        for row in self.rows():
            entry = Entry(*row[1:])
            if entry.kind in CALL_KINDS and entry.reason not in {"settled", "taken_over"}:
                calls[row[0], entry.event_id] += entry.calls
        for partition, value in self.gateways.accepted:
            counted = calls[partition, str(json.loads(value)["id"])]
            checks.require(counted == 1, f"accepted, and counted {counted} times: {value!r}")

    async def _clean_up(self) -> None:
        self.surroundings.dead += self.gateways.processes()
        await super()._clean_up()
