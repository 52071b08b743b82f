"""The console of an owner with hundreds of apps: what pages cost the servers, and when a browser has them.

`python -m bench.console [--taps N] [--visits N]`. The ledger is that of a half-year until now, so that its
clock is the wall's. Pages are asked for one after another, usage pages each of another app.
"""

import argparse
import json
import re
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from http import HTTPStatus
from typing import Final, NamedTuple
from urllib.error import HTTPError
from urllib.request import Request, urlopen

from playwright.sync_api import Browser, sync_playwright

from bench.figures import Figure, conditions, tell, write
from bench.processes import Program, stack
from dashboards.console.sessions import PLAIN_COOKIE, new_token, token_digest
from metering.ledger import Entry
from metering.partition import meter
from metering.partition_state import PartitionState
from metering.records import Record
from metering.rules import Rules
from metering.times import DAY_MS, format_time, shanghai_midnight
from phonemeter.business.console_records import console_records
from phonemeter.business.database import BusinessDatabase
from phonemeter.business.members import MemberRegister
from phonemeter.business.owners import OwnerStore
from phonemeter.settings import Settings
from producers.simulate import TrafficPlan, simulate
from tools import chromium
from tools.pictures.half_year_engine import create_ledger, store_entries

APPS: Final = 330
OWNED: Final = 300
DAYS: Final = 182
ENTRIES_PER_INSERT: Final = 50_000
ANSWER_S: Final = 60.0
READY_S: Final = 120.0
OVERVIEW_TARGET_MS: Final = 200.0
USABLE_TARGET_MS: Final = 1_000.0
BYTES_TARGET: Final = 150_000
CHARTS: Final = re.compile("uplot", re.IGNORECASE)
FILES: Final = re.compile(rb'(?:href|src)="(/[^"]+\.(?:css|js|svg)[^"]*)"')
OWNER: Final = "Agency"
NAVIGATION: Final = "JSON.stringify(performance.getEntriesByType('navigation')[0])"


class Visits(NamedTuple):
    """Visits of one page after another: how long each took, and the CPU of each program for one."""

    took_ms: tuple[float, ...]
    cpu_ms: dict[str, int]


class Visitor:
    """A member who is signed in, without a browser."""

    def __init__(self, base: str, token: str) -> None:
        self.base = base
        self.token = token

    def signed_out(self) -> "Visitor":
        """The same visitor without a session."""
        return Visitor(self.base, "")

    def get(self, path: str) -> bytes:
        """The body of an answer.

        Raises:
            HTTPError: it is no page.
        """
        request = Request(f"{self.base}{path}", headers={"cookie": f"{PLAIN_COOKIE}={self.token}"})  # noqa: S310 - loopback
        with urlopen(request, timeout=ANSWER_S) as answer:  # noqa: S310 - loopback
            body: bytes = answer.read()
        return body

    def visits(self, paths: Sequence[str], programs: Sequence[Program]) -> Visits:
        """Get pages one after another."""
        before = {one.name: one.usage().cpu_s for one in programs}
        took_ms = []
        for path in paths:
            began_s = time.perf_counter()
            self.get(path)
            took_ms.append(1_000 * (time.perf_counter() - began_s))
        cpu_ms = {
            one.name: round(1_000 * (one.usage().cpu_s - before[one.name]) / len(paths)) for one in programs
        }
        return Visits(tuple(took_ms), cpu_ms)

    def bytes_of(self, path: str) -> int:
        """The bytes of a page with its files, without those of the charts."""
        page = self.get(path)
        files = {found.decode() for found in FILES.findall(page)}
        return len(page) + sum(len(self.get(file)) for file in files if not CHARTS.search(file))


def main() -> None:
    """Measure as asked on the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--taps", type=int, default=400_000)
    parser.add_argument("--visits", type=int, default=20)
    asked = parser.parse_args()
    under = conditions()
    for figure in figures(asked.taps, asked.visits):
        write(figure.as_line(under))


def figures(taps: int, visits: int) -> Iterator[Figure]:
    """Fill a ledger, visit the pages, and tell what they took."""
    entries = _entries(taps)
    apps = sorted({entry.appid for entry in entries if entry.appid})[:OWNED]
    with stack("engine", "console") as (settings, programs):
        create_ledger(settings.clickhouse)
        for first in range(0, len(entries), ENTRIES_PER_INSERT):
            store_entries(settings.clickhouse, entries[first : first + ENTRIES_PER_INSERT])
        tell(f"{len(entries):,} lines of the ledger, {len(apps)} apps of the owner")
        with _signed_in(settings, apps) as visitor:
            under = {"apps": len(apps), "lines": len(entries)}
            both = (programs["console"], programs["engine"])
            _until_shown(visitor)
            yield _served("overview", OVERVIEW_TARGET_MS, visitor.visits(["/overview"] * visits, both), under)
            pages = [f"/usage/{appid}" for appid in apps[:visits]]
            yield _served("usage page", None, visitor.visits(pages, both), under)
            for name, who, path in (
                ("sign-in page", visitor.signed_out(), "/sign-in"),
                ("overview", visitor, "/overview"),
                ("usage page", visitor, pages[0]),
            ):
                yield Figure(
                    figure=f"console: bytes of the {name}, charts left out",
                    values=(float(who.bytes_of(path)),),
                    unit="bytes",
                    target=BYTES_TARGET,
                    under=under,
                )
            with sync_playwright() as playwright:
                browser = playwright.chromium.launch(
                    executable_path=chromium.program(), args=["--no-sandbox"]
                )
                for name, paths in (("overview", ["/overview"] * visits), ("usage page", pages)):
                    took = tuple(_loaded_ms(browser, visitor, path) for path in paths)
                    yield Figure(
                        figure=f"console: the {name}, usable in a browser that has nothing of it",
                        values=took,
                        unit="ms",
                        target=USABLE_TARGET_MS,
                        under=under,
                    )
                browser.close()


def _served(name: str, target: float | None, seen: Visits, under: dict[str, int]) -> Figure:
    return Figure(
        figure=f"console: the {name}, at the server",
        values=seen.took_ms,
        unit="ms",
        target=target,
        under={**under, "cpu_ms": seen.cpu_ms},
    )


def _entries(taps: int) -> list[Entry]:
    """The ledger of half a year until now, with the platform's counts of the last hours."""
    now_ms = time.time_ns() // 1_000_000
    start_ms = shanghai_midnight(now_ms) - DAYS * DAY_MS
    plan = TrafficPlan(
        start_ms=start_ms, duration_ms=now_ms - start_ms, taps=taps, seed=8, apps=APPS, skew=0.8,
        careless_share=0.5, refund_share=0.1, late_share=0.02,
    )  # fmt: skip
    arrivals = (arrival for arrival in simulate(plan) if arrival.arrives_ms <= now_ms)
    records = [
        Record(offset, one.arrives_ms, json.loads(one.value)["subject"].encode(), one.value)
        for offset, one in enumerate(arrivals)
    ]
    metered = meter(PartitionState(0), records, Rules())
    apps = sorted({entry.appid for entry in metered.entries if entry.appid})
    counts = [_count(appid, len(records) + n, now_ms) for n, appid in enumerate(apps)]
    counted = meter(metered.state, counts, Rules()).entries
    begun = Entry(len(records) + len(counts), 0, "clock_start", now_ms, now_ms, "")
    return [*metered.entries, *counted, begun]


def _count(appid: str, offset: int, now_ms: int) -> Record:
    """WeChat's count of an app's trial quota, as its API tells it."""
    value = {
        "specversion": "1.0", "id": f"count-{offset}", "source": "/platform", "subject": appid,
        "type": "platform.usage_observed", "time": format_time(now_ms),
        "data": {"capability": "quick", "pack_id": "", "used": 900, "size": 1_000},
    }  # fmt: skip
    return Record(offset, now_ms, appid.encode(), json.dumps(value).encode())


@contextmanager
def _signed_in(settings: Settings, apps: Sequence[str]) -> Iterator[Visitor]:
    with BusinessDatabase(settings.business_url) as database:
        OwnerStore(database).add(OWNER, list(apps))
        link = MemberRegister(database).add("li@agency.example", "Li", OWNER, "owner")
        if link is None:
            raise RuntimeError("the new member is known already")
        sessions = console_records(database, settings).sessions
        token = new_token()
        member_id = sessions.use_link(token_digest(link.token), "$argon2id$")
        sessions.begin(str(member_id), token_digest(token))
        yield Visitor(f"http://127.0.0.1:{settings.console_port}", token)


def _until_shown(visitor: Visitor) -> None:
    """Wait until the console, which has just started, shows the apps."""
    deadline_s = time.monotonic() + READY_S
    while True:
        try:
            if b"/usage/" in visitor.get("/overview"):
                return
        except HTTPError as error:
            if error.code != HTTPStatus.SERVICE_UNAVAILABLE:
                raise
        if time.monotonic() > deadline_s:
            raise RuntimeError(f"the console shows no apps after {READY_S:.0f} s")
        time.sleep(0.5)


def _loaded_ms(browser: Browser, visitor: Visitor, path: str) -> float:
    """Milliseconds until a page is loaded and its scripts have run."""
    context = browser.new_context(base_url=visitor.base)
    try:
        context.add_cookies([{"name": PLAIN_COOKIE, "value": visitor.token, "url": visitor.base}])
        page = context.new_page()
        page.goto(path, wait_until="load")
        loaded: dict[str, float] = json.loads(page.evaluate(NAVIGATION))
        return loaded["domContentLoadedEventEnd"]
    finally:
        context.close()


if __name__ == "__main__":
    main()
