"""The browser of the console's tests: headless Chromium, as `make browser` has it."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from playwright.async_api import Browser, async_playwright

from tools import chromium


@asynccontextmanager
async def started_browser() -> AsyncIterator[Browser]:
    """A browser in the block."""
    async with async_playwright() as playwright:
        # The sandbox needs what containers do not allow; only our own pages are opened.
        started = await playwright.chromium.launch(
            executable_path=chromium.program(), args=["--no-sandbox", "--disable-dev-shm-usage"]
        )
        yield started
        await started.close()
