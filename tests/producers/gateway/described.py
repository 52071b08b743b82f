"""The gateway with its own endpoint alone and without Kafka, for Schemathesis.

`python -m tests.producers.gateway.described [OPTIONS]` serves it and runs Schemathesis on it with all phases
and checks; the options are those of `schemathesis run`, such as `--max-examples 1000`.
"""

import asyncio
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from starlette.applications import Starlette

from http_service.http_server import served
from producers.gateway.application import public_site
from producers.gateway.events_endpoint import EventsEndpoint, RequestLimits
from producers.gateway.guard import Guard
from producers.gateway.key_ring import KeyRing
from producers.gateway.metrics import Metrics
from producers.gateway.rate_limits import RateLimits
from tests.ports import free_port
from tests.producers.gateway.parts import ListedKeys, RecordingPublisher, key_with
from tests.producers.gateway.schema_search import CONFIG

ROOT: Final = Path(__file__).parents[3]


def described_application() -> tuple[str, Starlette]:
    """A key that may do everything, and the application; its clock stands, so that the key stays known."""
    text, own = key_with(["emit", "read"])
    metrics, rates = Metrics(), RateLimits(1_000_000)
    ring = KeyRing(ListedKeys(own), 60, monotonic_s=lambda: 0.0)
    asyncio.run(ring.read())
    endpoint = EventsEndpoint(ring, RecordingPublisher(), rates, RequestLimits(5, 100), metrics)
    return text, public_site(endpoint, metrics, (), Guard(ring, rates), logged=False).web


async def _run(text: str, web: Starlette, options: Sequence[str]) -> int:
    port = free_port()
    async with served(web, "127.0.0.1", port, "PORT", 30):
        address = f"http://127.0.0.1:{port}/v1/openapi.json"
        running = await asyncio.create_subprocess_exec(
            str(Path(sys.executable).with_name("schemathesis")),
            f"--config-file={CONFIG}",
            "run",
            address,
            f"--header=Authorization: Bearer {text}",
            "--continue-on-failure",
            "--generation-database=none",
            *options,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        )
        return await running.wait()


if __name__ == "__main__":
    sys.exit(asyncio.run(_run(*described_application(), sys.argv[1:])))
