"""A charge notice on real parts: from the console's page to the owner's webhook, and back into the page."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from html import unescape
from pathlib import Path
from typing import Any, NamedTuple

import aiohttp
import pytest
from sqlalchemy import select

from dashboards.console.sessions import token_digest
from phonemeter.business.database import BusinessDatabase
from phonemeter.business.members import MemberRegister
from phonemeter.business.owners import OwnerStore
from phonemeter.business.sessions import BusinessSessions
from phonemeter.business.tables import OUTBOX
from phonemeter.settings import Settings
from phonemeter.stack.services import ServiceName
from phonemeter.stack.stack import Stack
from producers.clock import wall_clock_ms
from sinks.connection import connect
from tests.dashboards.console.parts import HASHER, PASSWORD, Browser, Seen
from tests.metering.building import APP, purchased, registered, succeeded
from tests.real_parts import starts_real_parts
from tests.sinks.notifier.parts import SECRET, SECRET_VARIABLE, Receiver, webhook_routes
from tests.waiting import WITHIN_S, until

SERVICES: tuple[ServiceName, ...] = ("kafka", "engine", "worker", "sink", "notifier", "console")
EMAIL = "operator@a.example"
CALLS = 7
NOTICE = f"/notices/{APP}"


class Parts(NamedTuple):
    """The stack of this test, and where its webhooks arrive."""

    stack: Stack
    receiver: Receiver


@pytest.fixture
@starts_real_parts
def parts(
    stack_settings: Settings,
    free_port: Callable[[], int],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Parts]:
    monkeypatch.setenv(SECRET_VARIABLE, SECRET)
    with Receiver() as receiver:
        settings = stack_settings.replaced(
            alert_routes=webhook_routes(
                tmp_path / "routes.toml", receiver.url, more='alerts = ["charge_notice"]\n'
            ),
            notifier_port=free_port(),
        )
        with Stack(settings, only=SERVICES) as stack:
            yield Parts(stack, receiver)


@pytest.mark.asyncio
async def test_an_owner_gets_the_notice_that_was_previewed_once_and_the_page_says_so(
    parts: Parts, tmp_path: Path
) -> None:
    stack, receiver = parts
    add_operator(stack.settings)
    emit(stack, tmp_path / "facts.jsonl", facts())
    await until(lambda: calls_stored(stack) == CALLS)
    async with aiohttp.ClientSession(cookie_jar=aiohttp.CookieJar(unsafe=True)) as session:
        browser = Browser(f"http://127.0.0.1:{stack.settings.console_port}", session)
        assert (await browser.sign_in(EMAIL)).path == "/account"
        page = await browser.get(NOTICE)
        for _ in range(2):
            assert (await browser.post(NOTICE, fields_of(page))).path == f"/notices?sent={APP}"
        await until(lambda: deliveries(stack) == [("hook", "delivered")])
        assert "hook · 已送达" in (await browser.get("/notices")).text
    (message,) = receiver.verified()
    told = message["data"]
    assert (told["reason"], told["severity"], told["appid"]) == ("charge_notice", "warning", APP)
    assert told["details"]["monthly_calls_max"] == 50
    *lines, number = told["text"].split("\n")
    assert "\n".join(lines) == preview_of(page)
    assert lines[1:4] == [
        "小程序名称：会员中心",
        "能力名称：手机号快速验证组件",
        "最近用量：平均每月使用约在50次以内",
    ]
    assert told["id"] in number
    explained = json.loads(phonemeter(stack, "explain", event_id(stack), "--json"))
    assert "handed over to be sent to the owner" in json.dumps(explained)
    phonemeter(stack, "audit")


def facts() -> list[bytes]:
    """An app of some calls, now."""
    now_ms = wall_clock_ms()
    return [
        registered_by_name(now_ms),
        purchased(now_ms - 1_000, "P1", calls=250),
        *(succeeded(now_ms + number, event_id=f"call-{number}") for number in range(CALLS)),
    ]


def registered_by_name(time_ms: int) -> bytes:
    event: dict[str, Any] = json.loads(registered(time_ms, "enterprise"))
    return json.dumps({**event, "data": {**event["data"], "name": "会员中心"}}).encode()


def add_operator(settings: Settings) -> None:
    with BusinessDatabase(settings.business_url) as database:
        OwnerStore(database).add("a", [APP])
        link = MemberRegister(database).add(EMAIL, "operator", "a", "operator")
        assert link is not None
        sessions = BusinessSessions(database, settings.console_idle_min, settings.console_session_h)
        sessions.use_link(token_digest(link.token), HASHER.hash(PASSWORD))


def fields_of(page: Seen) -> dict[str, str]:
    """The hidden fields by which the preview is sent."""
    form = page.text.split('<form method="post" action="/notices/')[1].split("</form>")[0]
    return {name: unescape(value) for name, value in re.findall(r'name="(\w+)" value="([^"]*)"', form)}


def preview_of(page: Seen) -> str:
    found = re.search(r'id="preview-zh" lang="zh">([^<]*)<', page.text)
    assert found is not None
    return unescape(found[1])


def calls_stored(stack: Stack) -> int:
    with connect(stack.settings.clickhouse) as client:
        ((calls,),) = client.execute("SELECT sum(succeeded) FROM usage_daily")
    return int(calls)


def deliveries(stack: Stack) -> list[tuple[str, str]]:
    with connect(stack.settings.clickhouse) as client:
        found: list[tuple[str, str]] = client.execute(
            "SELECT route, state FROM deliveries WHERE reason = 'charge_notice'"
        )
    return found


def event_id(stack: Stack) -> str:
    """The id of the event that asked for the notice."""
    with BusinessDatabase(stack.settings.business_url) as database, database.begin() as connection:
        return str(connection.execute(select(OUTBOX.c.event_id)).scalar_one())


def emit(stack: Stack, file: Path, events: list[bytes]) -> None:
    file.write_bytes(b"\n".join(events))
    phonemeter(stack, "emit", file)


def phonemeter(stack: Stack, *arguments: str | Path) -> str:
    """Run the command line as a user does; its standard output."""
    done = subprocess.run(
        [sys.executable, "-m", "phonemeter", *map(str, arguments)],
        env={**os.environ, **stack.settings.to_environ()},
        capture_output=True,
        text=True,
        check=False,
        timeout=WITHIN_S,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout
