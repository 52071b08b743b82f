"""The service as a process, against the real broker and the stand-in over HTTP."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import aiohttp
import msgspec

from kafka_access.access import KafkaAccess
from metering.topics import EVENTS
from phonemeter.topic_reader import open_reader
from producers.wechat_sim.accounts import PushTarget
from producers.wechat_sim.packs import SPUS
from producers.wechat_sim.pushing import SentPush, make_push, quota_message, send, ticket_message
from producers.wechat_sim.server import SimulatedServer
from producers.wechat_sim.world import SimulatedWechat
from tests.conftest import RunningKafka
from tests.producers.wechat.parts import (
    AES_KEY,
    APP,
    APP_SECRET,
    OTHER,
    PLATFORM,
    PLATFORM_SECRET,
    PUSH_TOKEN,
    REFRESH_TOKEN,
    SECRETS,
    TICKET,
    on_port,
    simulated,
)
from tests.served import asked, scraped
from tests.waiting import WITHIN_S, until

FILE = f"""
[apps.{APP}]
secret = "env:TEST_APP_SECRET"
push_token = "env:TEST_PUSH_TOKEN"
push_aes_key = "env:TEST_AES_KEY"

[apps.{OTHER}]
component = "{PLATFORM}"
refresh_token = "env:TEST_REFRESH_TOKEN"

[components.{PLATFORM}]
secret = "env:TEST_PLATFORM_SECRET"
push_token = "env:TEST_PUSH_TOKEN"
push_aes_key = "env:TEST_AES_KEY"
"""


class Service:
    """The service with its ports and its log."""

    def __init__(self, directory: Path, kafka: str, api: str, free_port: Callable[[], int]) -> None:
        self.port, self.push_port = free_port(), free_port()
        self.log = directory / "wechat.log"
        file = directory / "apps.toml"
        file.write_text(FILE)
        self._environ = os.environ | {
            "PHONEMETER_KAFKA": kafka,
            "PHONEMETER_WECHAT_APPS": str(file),
            "PHONEMETER_WECHAT_API": api,
            "PHONEMETER_WECHAT_PORT": str(self.port),
            "PHONEMETER_WECHAT_PUSH_PORT": str(self.push_port),
            "PHONEMETER_WECHAT_POLL_INTERVAL_S": "3600",
            "TEST_APP_SECRET": APP_SECRET,
            "TEST_PLATFORM_SECRET": PLATFORM_SECRET,
            "TEST_REFRESH_TOKEN": REFRESH_TOKEN,
            "TEST_PUSH_TOKEN": PUSH_TOKEN,
            "TEST_AES_KEY": AES_KEY,
        }

    @contextmanager
    def running(self, *at: str) -> Iterator["subprocess.Popen[bytes]"]:
        command = [sys.executable, "-m", "tests.producers.wechat.run_wechat", *at]
        with (
            self.log.open("ab") as log,
            subprocess.Popen(command, env=self._environ, stdout=log, stderr=log) as process,
        ):
            try:
                yield process
            finally:
                process.send_signal(signal.SIGTERM)
                try:
                    process.wait(WITHIN_S)
                finally:
                    process.kill()

    def target(self, receiver: str) -> PushTarget:
        return PushTarget(f"http://127.0.0.1:{self.push_port}/wechat/push/{receiver}", PUSH_TOKEN, AES_KEY)

    async def push(self, message: dict[str, str | int], receiver: str) -> str:
        push = make_push(message, self.target(receiver), receiver, "safe", "xml")
        return await self.send(push, receiver)

    async def send(self, push: SentPush, receiver: str) -> str:
        async with aiohttp.ClientSession() as session:
            return (await send(session, self.target(receiver), push)).text

    def is_ready(self) -> bool:
        try:
            return asked(self.port, "/readyz")[0] == 200
        except OSError:
            return False

    async def metric(self, name: str) -> float:
        return (await asyncio.to_thread(scraped, self.port)).get(name, 0.0)

    async def until_metric(self, name: str, value: float) -> None:
        await until(lambda: scraped(self.port).get(name) == value)


@asynccontextmanager
async def stand_in() -> AsyncIterator[tuple[SimulatedWechat, str]]:
    wechat = simulated()
    async with on_port(SimulatedServer(wechat).application()) as base:
        yield wechat, base


def published(kafka: str) -> list[dict[str, Any]]:
    with open_reader(KafkaAccess(kafka)) as reader:
        return [
            msgspec.json.decode(record.value or b"")
            for partition, span in reader.spans(EVENTS).items()
            for records in reader.batches(EVENTS, partition, span)
            for record in records
        ]


async def events_of(topics: RunningKafka) -> list[tuple[str, str, str, str]]:
    found = await asyncio.to_thread(published, topics.bootstrap)
    return sorted(
        (one["subject"], one["type"], one["source"], one["data"].get("pack_id", "")) for one in found
    )


BOUGHT = "pack.purchased"
SEEN = "platform.usage_observed"
READ, PUSHED = "/wechat/usage", "/wechat/push"


async def test_what_wechat_says_and_pushes_is_in_the_log_once_whenever_the_service_is_killed(
    topics: RunningKafka, tmp_path: Path, free_port: Callable[[], int]
) -> None:
    async with stand_in() as (wechat, base):
        wechat.buy(APP, "quick", 250, 90, pkg_id="ZY1")
        wechat.buy(OTHER, "quick", 77, 90, pkg_id="ZY2")
        service = Service(tmp_path, topics.bootstrap, base, free_port)
        message = quota_message(APP, SPUS["quick"], 800, 1_250, int(time.time()))
        push = make_push(message, service.target(APP), APP, "safe", "xml")
        with service.running("stored") as process:
            await until(service.is_ready)
            # The platform's app can only be read once there is a ticket.
            assert await service.push(ticket_message(PLATFORM, TICKET, 1), PLATFORM) == "success"
            await service.until_metric('phonemeter_wechat_facts_total{fact="purchase"}', 2)
            await service.until_metric('phonemeter_wechat_facts_total{fact="observation"}', 4)
            assert await service.send(push, APP) != "success"
            await until(lambda: process.poll() is not None)
        before = await events_of(topics)
        assert before == [
            (APP, BOUGHT, READ, "ZY1"),
            (APP, SEEN, PUSHED, ""),
            (APP, SEEN, READ, ""),
            (APP, SEEN, READ, "ZY1"),
            (OTHER, BOUGHT, READ, "ZY2"),
            (OTHER, SEEN, READ, ""),
            (OTHER, SEEN, READ, "ZY2"),
        ]
        with service.running():
            await until(service.is_ready)
            # WeChat was not answered, so it sends it again.
            assert await service.send(push, APP) == "success"
            assert await service.send(push, APP) == "replayed"
            assert await service.metric("phonemeter_wechat_unpriced_packs_total") == 0
            status, document = await asyncio.to_thread(asked, service.port, "/healthz")
        assert (status, document["state"], document["cluster"]) == (200, "healthy", "cluster")
    found = await asyncio.to_thread(published, topics.bootstrap)
    ids = {one["id"] for one in found if one["source"] == PUSHED or one["type"] == BOUGHT}
    assert len(ids) == 3
    log = service.log.read_text()
    assert "DEBUG" in log
    tokens = [*wechat.tokens._owners]
    assert len(tokens) >= 3
    assert [secret for secret in (*SECRETS, *tokens, "access_token=", "signature=") if secret in log] == []


async def test_a_push_that_kafka_cannot_take_is_not_answered_with_success(
    topics: RunningKafka, tmp_path: Path, free_port: Callable[[], int]
) -> None:
    async with stand_in() as (_, base):
        service = Service(tmp_path, topics.bootstrap, base, free_port)
        with service.running():
            await until(service.is_ready)
            pid = topics.supervised.pid
            assert pid is not None
            message = quota_message(APP, SPUS["quick"], 1, 10, int(time.time()))
            push = make_push(message, service.target(APP), APP, "safe", "json")
            os.kill(pid, signal.SIGSTOP)
            try:
                assert await service.send(push, APP) == "failed"
            finally:
                os.kill(pid, signal.SIGCONT)
            assert await service.send(push, APP) == "success"
    found = await asyncio.to_thread(published, topics.bootstrap)
    assert len({one["id"] for one in found if one["source"] == PUSHED}) == 1


async def test_a_taken_port_and_a_missing_file_are_told_in_a_sentence(
    topics: RunningKafka, tmp_path: Path, free_port: Callable[[], int]
) -> None:
    async with stand_in() as (_, base):
        service = Service(tmp_path, topics.bootstrap, base, free_port)
        with service.running():
            await until(service.is_ready)
            second = Service(tmp_path, topics.bootstrap, base, lambda: service.port)
            with second.running() as process:
                await until(lambda: process.poll() is not None)
    assert f"Port {service.port} cannot be opened on 127.0.0.1" in service.log.read_text()
