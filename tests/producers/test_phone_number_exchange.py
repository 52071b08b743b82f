"""The exchange of codes: metered before, whatever WeChat answers, and no number but in the result."""

import logging
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from producers.errors import RefusedError
from producers.interface import (
    AsyncEventProducer,
    AsyncPhoneNumberExchange,
    ExchangeError,
    FakeEventProducer,
    PhoneNumberExchange,
    tap_time,
)
from producers.phone_number_exchange import AskWechat
from producers.tap_events import event_id

APP = "wxfb1f3d218d111092"
NUMBER = "13800138000"
ANSWER = {
    "errcode": 0,
    "errmsg": "ok",
    "phone_info": {
        "phoneNumber": NUMBER,
        "purePhoneNumber": NUMBER,
        "countryCode": "86",
        "watermark": {"timestamp": 1_637_744_274, "appid": APP},
    },
}
NOW = datetime(2026, 10, 17, 10, 5, tzinfo=UTC)


def test_the_tap_is_metered_before_wechat_is_asked() -> None:
    producer = FakeEventProducer()
    metered: list[int] = []

    def ask(code: str) -> Mapping[str, Any]:
        assert code == "code-1"
        metered.append(len(producer.events))
        return ANSWER

    exchange = PhoneNumberExchange(producer, ask)
    number = exchange.exchange(appid=APP, code="code-1", capability="realtime", store="store-03")
    assert (number.pure_number, number.country_code) == (NUMBER, "86")
    assert metered == [1]
    (event,) = producer.events
    assert event["type"] == "phone.authorization.succeeded"
    assert event["id"] == event_id(APP, "code-1")
    assert event["data"]["capability"] == "realtime"
    assert exchange.counts == (1, 0, 0)


def no_answer(_code: str) -> Mapping[str, Any]:
    raise TimeoutError(f"the answer had {NUMBER}")


@pytest.mark.parametrize(
    ("ask", "errcode"),
    [
        (lambda _: {"errcode": 40029, "errmsg": "invalid code"}, 40029),
        (lambda _: {}, 0),
        (lambda _: ANSWER | {"phone_info": {"watermark": {"appid": "wxanother"}}}, None),
        (no_answer, None),
    ],
    ids=["refused", "empty", "another app", "no answer"],
)
def test_a_failed_exchange_leaves_the_one_call_and_names_no_number(
    ask: AskWechat, errcode: int | None, caplog: pytest.LogCaptureFixture
) -> None:
    producer = FakeEventProducer()
    exchange = PhoneNumberExchange(producer, ask)
    with caplog.at_level(logging.DEBUG), pytest.raises(ExchangeError) as failed:
        exchange.exchange(appid=APP, code="code-1", capability="quick")
    assert failed.value.errcode == errcode
    assert [event["type"] for event in producer.events] == ["phone.authorization.succeeded"]
    assert NUMBER not in caplog.text + str(failed.value)
    assert "its call was charged all the same" in caplog.text
    assert exchange.counts == (0, 1, 0)


@pytest.mark.parametrize("code", ["", "None", "undefined"])
def test_a_missing_code_is_refused_and_wechat_is_not_asked(code: str) -> None:
    exchange = PhoneNumberExchange(FakeEventProducer(), lambda _: pytest.fail("WeChat was asked"))
    with pytest.raises(RefusedError, match="give the code"):
        exchange.exchange(appid=APP, code=code, capability="quick")


def test_a_full_queue_keeps_nobody_from_signing_up(caplog: pytest.LogCaptureFixture) -> None:
    producer = FakeEventProducer()
    producer.is_full = True
    exchange = PhoneNumberExchange(producer, lambda _: ANSWER)
    number = exchange.exchange(appid=APP, code="code-1", capability="quick")
    assert (number.pure_number, number.delivery) == (NUMBER, None)
    assert "is not metered" in caplog.text
    assert exchange.counts == (1, 0, 1)


async def test_the_asynchronous_one_does_the_same() -> None:
    fake = FakeEventProducer()

    async def ask(_code: str) -> Mapping[str, Any]:
        return ANSWER

    exchange = AsyncPhoneNumberExchange(AsyncEventProducer(producer=fake), ask)
    number = await exchange.exchange(appid=APP, code="code-1", capability="quick")
    assert NUMBER not in f"{number} {number!r}"
    assert number.pure_number == NUMBER
    assert len(fake.events) == 1


@pytest.mark.parametrize(
    ("told", "expected"),
    [
        (NOW - timedelta(seconds=3), NOW - timedelta(seconds=3)),
        ((NOW - timedelta(minutes=5)).isoformat(), NOW - timedelta(minutes=5)),
        ("2026-10-17T18:04:59.500+08:00", NOW - timedelta(milliseconds=500)),
        (NOW + timedelta(milliseconds=1), NOW),
        (NOW - timedelta(minutes=5, milliseconds=1), NOW),
        ("1970-01-01T00:00:00Z", NOW),
        ("a quarter past ten", NOW),
        (datetime(2026, 10, 17, 10, 4), NOW),  # noqa: DTZ001 - a time without a zone says nothing
        (None, NOW),
    ],
    ids=["right", "late", "zone", "fast", "slow", "reset", "words", "no zone", "none"],
)
def test_the_phones_clock_is_taken_only_as_far_as_the_servers_allows(
    told: str | datetime | None, expected: datetime
) -> None:
    assert tap_time(told, received_at=NOW) == expected
