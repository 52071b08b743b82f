"""The times of readings: in turn, sooner after a push, later after a failure; a failure is logged once."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, cast

import pytest

from producers.errors import ProducerError
from producers.wechat import poller
from producers.wechat.app_reading import AppReading
from producers.wechat.errors import Trouble, WechatError
from producers.wechat.health import Health
from producers.wechat.metrics import Metrics
from producers.wechat.poller import Poller
from tests.producers.wechat.parts import everything_logged
from tests.waiting import until


class Reading:
    """A reading that counts, and fails when told to."""

    def __init__(self) -> None:
        self.begun = 0
        self.failure: ProducerError | None = None

    async def read(self) -> None:
        self.begun += 1
        if self.failure is not None:
            raise self.failure


class Running:
    """Readings of two apps, with pauses as told and a health."""

    def __init__(self, interval_s: float) -> None:
        self.pauses: list[float] = []
        self.readings = {"wx1": Reading(), "wx2": Reading()}
        self.metrics = Metrics()
        self.health = Health(self.metrics, interval_s)
        self.health.waiting_for = ""
        self.poller = Poller(
            cast("dict[str, AppReading]", self.readings), interval_s, self.metrics, self.health, self.spread
        )

    def spread(self, _least: float, _most: float) -> float:
        return 1.0

    def metric(self, name: str, **labels: str) -> float | None:
        return self.metrics.registry.get_sample_value(name, labels)


@asynccontextmanager
async def running(interval_s: float) -> AsyncIterator[Running]:
    made = Running(interval_s)
    task = asyncio.create_task(made.poller.run())
    try:
        yield made
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_every_app_is_read_at_once_and_then_every_interval() -> None:
    async with running(0.01) as made:
        await until(lambda: all(one.begun >= 3 for one in made.readings.values()))
    assert made.metric("phonemeter_wechat_apps") == 2
    assert made.metric("phonemeter_wechat_failing_apps") == 0


async def test_a_push_asks_for_one_reading_of_its_app_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(poller, "WAKE_PAUSE_S", 0.0)
    async with running(3_600) as made:
        await until(lambda: all(one.begun for one in made.readings.values()))
        made.poller.wake("wx1")
        made.poller.wake("wx1")
        await until(lambda: made.readings["wx1"].begun == 2)
        assert made.readings["wx2"].begun == 1


def pauses(trouble: Trouble, interval_s: float) -> list[float]:
    made = Running(interval_s)
    return [made.poller._pause_s(WechatError(trouble, "."), failures) for failures in range(1, 9)]


def test_pauses_after_failures_double_up_to_the_interval() -> None:
    assert pauses("busy", 300) == [5, 10, 20, 40, 80, 160, 300, 300]
    assert pauses("refused", 3) == [5] * 8


def test_after_too_many_requests_pauses_are_long_and_no_push_shortens_them() -> None:
    assert pauses("limited", 300) == [60, 120, 240, 480, 960, 1_920, 3_600, 3_600]


async def test_a_push_does_not_wake_an_app_that_asked_too_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(poller, "WAKE_PAUSE_S", 0.0)
    async with running(3_600) as made:
        made.readings["wx1"].failure = WechatError("limited", "Too often.")
        await until(lambda: made.metric("phonemeter_wechat_failing_apps") == 1)
        made.poller.wake("wx1")
        made.poller.wake("wx2")
        await until(lambda: made.readings["wx2"].begun == 2)
        assert made.readings["wx1"].begun == 1


async def test_a_failure_is_logged_once_and_so_is_its_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(poller, "FAILED_FIRST_S", 0.0)
    with everything_logged() as lines:
        async with running(0.01) as made:
            made.readings["wx1"].failure = WechatError("busy", "WeChat is busy.")
            await until(lambda: made.readings["wx1"].begun >= 5)
            assert made.health.failures == {"wx1": "WeChat is busy."}
            made.readings["wx1"].failure = None
            await until(lambda: not made.health.failures)
    told = [line for line in lines if "wx1" in line]
    assert told == [
        "WeChat's counts of wx1 could not be read, trying again: WeChat is busy.",
        "WeChat's counts of wx1 are read again.",
    ]


async def test_an_error_that_is_a_bug_ends_the_service() -> None:
    made = Running(3_600)
    made.readings["wx1"].failure = cast("Any", ZeroDivisionError("bug"))
    with pytest.raises(ZeroDivisionError):
        await made.poller.run()


def health_after(seconds: float, interval_s: float) -> Callable[[], list[str]]:
    now_s = 1_000.0
    metrics = Metrics(lambda: now_s)
    health = Health(metrics, interval_s)
    metrics.begin(iter(["wx1", "wx2"]))
    health.waiting_for = ""
    health.failures["wx1"] = "WeChat refused it."
    now_s += seconds
    metrics.record_reading("wx2")
    return lambda: [problem.sentence for problem in health.verdict().problems]


def test_an_app_that_is_not_read_for_long_is_a_broken_promise() -> None:
    assert health_after(900, 300)() == []
    assert health_after(901, 300)() == ["WeChat's counts of 1 app(s) are not read (wx1): WeChat refused it."]
    assert health_after(3_000, 1_000)() == []


def test_a_service_that_has_not_started_says_why() -> None:
    health = Health(Metrics(), 300)
    health.waiting_for = "Kafka does not answer."
    assert health.verdict().state == "starting"
    assert "Kafka does not answer." in health.verdict().problems[0].sentence
