"""The receiver of pushes over real HTTP."""

import asyncio
import time
from collections.abc import AsyncIterator, Sequence

import aiohttp
import pytest

from producers.events import CloudEvent
from producers.wechat import receiver
from producers.wechat.apps import PushKeys, WechatApp, WechatApps, WechatComponent
from producers.wechat.message_crypt import MessageKey
from producers.wechat.metrics import Metrics
from producers.wechat.push_actions import PushActions
from producers.wechat.receiver import PushReceiver
from producers.wechat.web_pages import served
from producers.wechat_sim.accounts import PushTarget
from producers.wechat_sim.packs import SPUS
from producers.wechat_sim.pushing import (
    Format,
    Mode,
    PushReply,
    SentPush,
    make_push,
    quota_message,
    send,
    signed,
    ticket_message,
    validity_message,
)
from tests.ports import free_port
from tests.producers.wechat.parts import (
    AES_KEY,
    APP,
    OTHER,
    PLATFORM,
    PUSH_TOKEN,
    TICKET,
    Collector,
    Fixed,
    everything_logged,
    on_port,
)
from tests.waiting import until

PLAIN_APP = "wx5100000000000003"
SUCCESS = PushReply(200, "success")


class Receiving:
    """A receiver with a clock that can be moved, and what it did."""

    def __init__(self) -> None:
        self.ahead_s = 0.0
        self.published = Collector()
        self.woken: list[str] = []
        self.tickets: list[tuple[str, str]] = []
        self.metrics = Metrics()
        keys = PushKeys(Fixed(PUSH_TOKEN), MessageKey(AES_KEY))
        self.apps = WechatApps(
            {
                APP: WechatApp(APP, ("quick",), secret=Fixed("x"), push=keys),
                OTHER: WechatApp(OTHER, ("quick",), component=PLATFORM, refresh_token=Fixed("x")),
                PLAIN_APP: WechatApp(
                    PLAIN_APP, ("realtime",), secret=Fixed("x"), push=PushKeys(Fixed(PUSH_TOKEN), None)
                ),
            },
            {PLATFORM: WechatComponent(PLATFORM, Fixed("x"), push=keys)},
        )
        actions = PushActions(
            self.apps,
            {"quick": SPUS["quick"], "realtime": SPUS["realtime"]},
            self.publish,
            self.woken.append,
            self.take_ticket,
        )
        self.receiver = PushReceiver(
            self.apps, actions, self.metrics, 300, now_s=lambda: time.time() + self.ahead_s
        )
        self.publishing, self.confirming = asyncio.Event(), asyncio.Event()
        self.confirming.set()
        self.base = ""
        self.session: aiohttp.ClientSession

    async def publish(self, events: Sequence[CloudEvent]) -> None:
        self.publishing.set()
        await self.confirming.wait()
        await self.published(events)

    def take_ticket(self, platform: str, ticket: str) -> bool:
        self.tickets.append((platform, ticket))
        return len(self.tickets) == 1

    def target(self, receiver: str = APP, more: str = "") -> PushTarget:
        return PushTarget(f"{self.base}/wechat/push/{receiver}{more}", PUSH_TOKEN, AES_KEY)

    async def push(
        self,
        message: dict[str, str | int],
        *,
        receiver: str = APP,
        mode: Mode = "safe",
        style: Format = "xml",
        more: str = "",
    ) -> PushReply:
        target = self.target(receiver, more)
        return await send(self.session, target, make_push(message, target, receiver, mode, style))

    def outcomes(self) -> dict[str, float]:
        return {
            sample.labels["outcome"]: sample.value
            for family in self.metrics.pushes.collect()
            for sample in family.samples
            if sample.name.endswith("_total")
        }


@pytest.fixture
async def receiving() -> AsyncIterator[Receiving]:
    made = Receiving()
    async with on_port(made.receiver.application()) as made.base, aiohttp.ClientSession() as made.session:
        yield made


def quota(appid: str = APP, capability: str = "quick", used: int = 800) -> dict[str, str | int]:
    return quota_message(appid, SPUS[capability], used, 1_000, int(time.time()))


@pytest.mark.parametrize("style", ["xml", "json"])
@pytest.mark.parametrize("mode", ["compatible", "safe"])
async def test_an_encrypted_push_becomes_an_event_and_asks_for_a_reading(
    receiving: Receiving, mode: Mode, style: Format
) -> None:
    assert await receiving.push(quota(), mode=mode, style=style) == SUCCESS
    (event,) = receiving.published.events
    assert (event["subject"], event["type"], event["source"]) == (
        APP,
        "platform.usage_observed",
        "/wechat/push",
    )
    assert event["data"] == {"capability": "quick", "used": 800, "size": 1_000, "covers": "capability"}
    assert receiving.woken == [APP]
    assert receiving.outcomes() == {"stored": 1}


@pytest.mark.parametrize("style", ["xml", "json"])
@pytest.mark.parametrize("mode", ["plain", "compatible"])
async def test_without_a_key_a_plain_push_becomes_an_event(
    receiving: Receiving, mode: Mode, style: Format
) -> None:
    message = quota(PLAIN_APP, "realtime")
    assert await receiving.push(message, receiver=PLAIN_APP, mode=mode, style=style) == SUCCESS
    assert len(receiving.published.events) == 1


@pytest.mark.parametrize("more", ["", f"/{OTHER}"])
async def test_a_platform_receives_for_the_apps_that_authorized_it(receiving: Receiving, more: str) -> None:
    assert await receiving.push(quota(OTHER), receiver=PLATFORM, more=more) == SUCCESS
    assert [event["subject"] for event in receiving.published.events] == [OTHER]


async def test_the_end_of_a_validity_asks_for_a_reading_and_writes_nothing(receiving: Receiving) -> None:
    message = validity_message(APP, SPUS["quick"], 5, int(time.time()))
    assert await receiving.push(message) == SUCCESS
    assert (receiving.published.events, receiving.woken) == ([], [APP])


async def test_a_platforms_ticket_is_kept_and_the_first_one_lets_its_apps_be_read(
    receiving: Receiving,
) -> None:
    for _ in range(2):
        assert await receiving.push(ticket_message(PLATFORM, TICKET, 1), receiver=PLATFORM) == SUCCESS
    assert receiving.tickets == [(PLATFORM, TICKET)] * 2
    assert receiving.woken == [OTHER]


@pytest.mark.parametrize(
    ("message", "receiver"),
    [
        ({"Event": "user_enter_tempsession", "MsgType": "event"}, APP),
        (quota(APP, "realtime"), APP),
        (quota("wx-somebody-else"), APP),
        (quota_message(APP, "10000092", 1, 2, 3), APP),
        (quota(OTHER), APP),
        (quota(APP), PLATFORM),
        (ticket_message(APP, TICKET, 1), APP),
        ({"AppId": PLATFORM, "InfoType": "unauthorized"}, PLATFORM),
    ],
)
async def test_what_does_not_concern_us_is_answered_and_does_nothing(
    receiving: Receiving, message: dict[str, str | int], receiver: str
) -> None:
    assert await receiving.push(message, receiver=receiver) == SUCCESS
    assert (receiving.published.events, receiving.woken, receiving.tickets) == ([], [], [])
    assert receiving.outcomes() == {"ignored": 1}


async def test_success_is_answered_only_after_kafka_has_confirmed(receiving: Receiving) -> None:
    receiving.confirming.clear()
    pushing = asyncio.create_task(receiving.push(quota()))
    await receiving.publishing.wait()
    assert not pushing.done()
    assert receiving.published.events == []
    receiving.confirming.set()
    assert await pushing == SUCCESS


async def test_a_push_that_kafka_does_not_take_is_refused_and_taken_when_it_comes_again(
    receiving: Receiving,
) -> None:
    target = receiving.target()
    push = make_push(quota(), target, APP, "safe", "xml")
    receiving.published.away = True
    assert (await send(receiving.session, target, push)).status == 503
    receiving.published.away = False
    assert await send(receiving.session, target, push) == SUCCESS
    assert len(receiving.published.events) == 1


async def test_a_push_is_taken_once(receiving: Receiving) -> None:
    target = receiving.target()
    push = make_push(quota(), target, APP, "safe", "xml")
    assert await send(receiving.session, target, push) == SUCCESS
    assert await send(receiving.session, target, push) == PushReply(403, "replayed")
    # Somebody who has seen one may not use its address for another one either.
    other = make_push(quota(), target, APP, "safe", "xml")
    assert (await send(receiving.session, target, SentPush(push.query, other.body))).status == 403
    assert len(receiving.published.events) == 1


@pytest.mark.parametrize("ahead_s", [-302, 302, 86_400])
async def test_a_push_of_another_time_is_refused(receiving: Receiving, ahead_s: float) -> None:
    receiving.ahead_s = ahead_s
    assert await receiving.push(quota()) == PushReply(403, "replayed")


async def test_a_plain_push_can_be_sent_again_neither_within_the_time_nor_after_it(
    receiving: Receiving,
) -> None:
    target = receiving.target(PLAIN_APP)
    push = make_push(quota(PLAIN_APP, "realtime"), target, PLAIN_APP, "plain", "json")
    for receiving.ahead_s, status in ((-290.0, 200), (0.0, 403), (290.0, 403), (310.0, 403), (700.0, 403)):
        assert (await send(receiving.session, target, push)).status == status


@pytest.mark.parametrize("receiver", ["wx-unknown", OTHER])
async def test_who_has_no_token_receives_nothing(receiving: Receiving, receiver: str) -> None:
    assert await receiving.push(quota(receiver), receiver=receiver) == PushReply(403, "forged")


async def test_a_body_that_is_too_large_is_not_read(receiving: Receiving) -> None:
    target = receiving.target(PLAIN_APP)
    push = make_push(quota(PLAIN_APP, "realtime"), target, PLAIN_APP, "plain", "json")
    reply = await send(receiving.session, target, push._replace(body=b" " * 70_000 + push.body))
    assert reply == PushReply(400, "invalid")


async def test_a_body_that_does_not_come_is_not_waited_for(
    receiving: Receiving, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(receiver, "BODY_WITHIN_S", 0.05)
    target = receiving.target()
    push = make_push(quota(), target, APP, "safe", "xml")

    async def slowly() -> AsyncIterator[bytes]:
        yield push.body[:10]
        await asyncio.Event().wait()

    async with receiving.session.post(target.url, params=push.query, data=slowly()) as response:
        assert response.status == 400


async def test_only_so_many_pushes_are_worked_on_at_once(
    receiving: Receiving, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(receiver, "AT_ONCE_MAX", 2)
    receiving.confirming.clear()
    waiting = [asyncio.create_task(receiving.push(quota(used=used))) for used in range(2)]
    await until(lambda: receiving.receiver._under_way == 2)
    assert await receiving.push(quota()) == PushReply(503, "failed")
    receiving.confirming.set()
    assert await asyncio.gather(*waiting) == [SUCCESS, SUCCESS]
    assert await receiving.push(quota()) == SUCCESS


async def test_wechats_check_of_an_address_is_answered_with_its_text(receiving: Receiving) -> None:
    now, query = str(int(time.time())), {"echostr": "4375120948345356249", "nonce": "1514711492"}
    query |= {"timestamp": now, "signature": signed(PUSH_TOKEN, now, query["nonce"])}
    address = f"{receiving.base}/wechat/push/{APP}"
    async with receiving.session.get(address, params=query) as response:
        assert (response.status, await response.text()) == (200, "4375120948345356249")
    for wrong in ({"signature": "0" * 40}, {"nonce": "1"}, {"timestamp": "0"}):
        async with receiving.session.get(address, params=query | wrong) as response:
            assert response.status == 403
            assert "4375120948345356249" not in await response.text()
    receiving.ahead_s = 301
    async with receiving.session.get(address, params=query) as response:
        assert response.status == 403


async def test_neither_tokens_nor_tickets_nor_keys_are_logged(receiving: Receiving) -> None:
    with everything_logged() as lines:
        await receiving.push(ticket_message(PLATFORM, TICKET, 1), receiver=PLATFORM)
        await receiving.push(quota(), receiver="wx-unknown")
        receiving.published.away = True
        await receiving.push(quota())
        await receiving.push(quota(), mode="plain")
    text = "\n".join(lines)
    assert "could not be stored" in text
    for secret in (TICKET, PUSH_TOKEN, AES_KEY, "signature="):
        assert secret not in text


async def test_an_address_that_is_no_http_leaves_nothing_in_the_log(receiving: Receiving) -> None:
    port = free_port()
    address = f"http://127.0.0.1:{port}/wechat/push/{APP}?openid=oABCDEFGH&x={'y' * 20_000}"
    with everything_logged() as lines:
        async with (
            served(receiving.receiver.application(), "127.0.0.1", port, "push_port"),
            receiving.session.post(address) as response,
        ):
            assert response.status == 400
    assert "oABC" not in "\n".join(lines)
    assert "Traceback" not in "\n".join(lines)
