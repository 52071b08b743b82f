"""The stand-in as a service, on loopback, until it is stopped."""

import asyncio
import logging
import signal
from pathlib import Path
from typing import Final

from aiohttp import web

from producers.wechat_sim.demo import demo_world, write_files
from producers.wechat_sim.server import SimulatedServer, push_tickets

log = logging.getLogger(__name__)

HOST: Final = "127.0.0.1"
TICKET_PAUSE_S: Final = 10.0
"""Pause between two pushes of tickets. WeChat's is ten minutes; here nobody wants to wait."""


def run(directory: Path, port: int, push_port: int) -> None:
    """Serve the apps of a directory until SIGTERM or SIGINT; pushes go to `push_port`."""
    write_files(directory)
    asyncio.run(_run(directory, port, push_port))
    log.info("The stand-in for WeChat has ended.")


async def _run(directory: Path, port: int, push_port: int) -> None:
    stopping = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopping.set)
    wechat = demo_world(directory, push_port)
    runner = web.AppRunner(SimulatedServer(wechat).application(), access_log=None, shutdown_timeout=2)
    await runner.setup()
    tickets = asyncio.create_task(push_tickets(wechat, TICKET_PAUSE_S))
    try:
        await web.TCPSite(runner, HOST, port).start()
        log.info("The stand-in for WeChat is ready on http://%s:%d.", HOST, port)
        await stopping.wait()
    finally:
        tickets.cancel()
        await runner.cleanup()
