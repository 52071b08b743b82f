"""The load of the torture, without a broker."""

import itertools
import json
import threading
from collections.abc import Callable, Iterator

import pytest

from metering.rejections import Rejection
from metering.times import DAY_MS, parse_time
from producers.errors import DeliveryError, RefusedError, UnavailableError
from tests.torture import load
from tests.torture.load import HURRIED, PROBES, SIMULATED_DAYS, START_MS, Load, Probe
from tests.waiting import blocking_until


class Delivered:
    """The outcome of an event."""

    done = True

    def __init__(self, *, given_up: bool) -> None:
        self._given_up = given_up

    def result(self, _timeout_s: float) -> None:
        if self._given_up:
            raise DeliveryError("Kafka did not confirm it.")


class Producers:
    """A fake `EventProducer` that refuses, waits and gives up as the test says."""

    def __init__(self) -> None:
        self.to_give_up = 0
        self.to_refuse = 0
        self.published: list[bytes] = []
        self.going = threading.Event()
        self.going.set()

    def __call__(self, *_settings: object, **_options: object) -> "Producers":
        return self

    def publish(self, value: bytes) -> Delivered:
        self.going.wait()
        if self.to_refuse:
            self.to_refuse -= 1
            raise UnavailableError("Kafka does not answer.")
        self.published.append(value)
        given_up = self.to_give_up > 0
        self.to_give_up -= given_up
        return Delivered(given_up=given_up)

    def close(self, timeout_s: float | None = None) -> None:
        del timeout_s


@pytest.fixture
def producers(monkeypatch: pytest.MonkeyPatch) -> Producers:
    made = Producers()
    monkeypatch.setattr(load, "EventProducer", made)
    return made


@pytest.fixture
def quiet(producers: Producers) -> Iterator[Load]:
    """A load of probes only."""
    running = Load("127.0.0.1:1", seed=1, rate_per_s=0, minutes=1)
    running.start()
    yield running
    producers.going.set()
    running.stop()


def all_confirmed(load: Load, probes: list[Probe]) -> Callable[[], bool]:
    def look() -> bool:
        load.ask_again(probes)
        return all(probe.delivery is not None and not probe.given_up for probe in probes)

    return look


def test_probes_that_the_producer_gave_up_are_published_again(quiet: Load, producers: Producers) -> None:
    producers.to_give_up = PROBES + 3
    probes = quiet.probes("mark")
    blocking_until(all_confirmed(quiet, probes), 10)
    assert len(producers.published) == 2 * PROBES + 3
    assert set(producers.published) == {probe.value for probe in probes}
    assert quiet.renewed >= 1


def test_probes_are_published_though_the_broker_refuses_for_a_while(
    quiet: Load, producers: Producers
) -> None:
    producers.to_refuse = 2
    blocking_until(all_confirmed(quiet, quiet.probes("mark")), 10)
    assert len(producers.published) == PROBES
    assert (quiet.refused, quiet.renewed) == (2, 2)


def test_an_invalid_event_delays_no_other(
    quiet: Load, producers: Producers, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish = producers.publish

    def refuse_the_first(value: bytes) -> Delivered:
        monkeypatch.setattr(producers, "publish", publish)
        raise RefusedError(Rejection("not_json", f"{len(value)} bytes are no event."))

    monkeypatch.setattr(producers, "publish", refuse_the_first)
    probes = quiet.probes("mark")
    blocking_until(all_confirmed(quiet, probes[1:]), 10)
    assert (probes[0].delivery, quiet.refused, quiet.renewed) == (None, 1, 0)


def test_no_event_lies_in_the_future_however_many_are_generated() -> None:
    latest_ms = START_MS + (SIMULATED_DAYS + 20) * DAY_MS
    for value in itertools.islice(load._traffic(seed=7, taps=500), 1_700):
        assert parse_time(json.loads(value)["time"]) < latest_ms


def test_a_request_for_probes_does_not_wait_for_the_broker(quiet: Load, producers: Producers) -> None:
    producers.going.clear()
    probes = quiet.probes("mark")
    quiet.ask_again(probes)
    assert not producers.published
    producers.going.set()
    blocking_until(all_confirmed(quiet, probes), 10)


def test_nothing_but_probes_is_published_while_the_load_is_paused(producers: Producers) -> None:
    busy = Load("127.0.0.1:1", seed=1, rate_per_s=1_000, minutes=1)
    with busy.paused():
        busy.start()
        blocking_until(all_confirmed(busy, busy.probes("mark")), 10)
        assert len(producers.published) == PROBES
        busy.hurry()
        blocking_until(lambda: len(producers.published) == PROBES + HURRIED, 30)
    blocking_until(lambda: len(producers.published) > PROBES + HURRIED, 30)
    busy.stop()
