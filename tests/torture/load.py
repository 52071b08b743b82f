"""Seeded traffic, published at a steady rate from a thread, and probes that measure recovery."""

import contextlib
import itertools
import threading
import time
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from types import MappingProxyType
from typing import Any

from confluent_kafka import KafkaException, Producer
from kafka import KafkaProducer
from kafka.errors import KafkaError

from metering import topics
from metering.times import DAY_MS
from producers.client import EventProducer
from producers.delivery import Delivery
from producers.errors import ProducerError, RefusedError
from producers.events import authorization_succeeded, to_json
from producers.settings import ProducerSettings
from producers.simulate import TrafficPlan, simulate

START_MS = 1_767_196_800_000
"""2026-01-01T00:00:00+08:00"""

SIMULATED_DAYS = 200
APPS = 16
PROBES = 8
"""Apps with a probe after every fault, enough for every partition."""

STEP_S = 0.1

TRANSACTION_S = 60.0
HURRIED = 1_000


@dataclass
class Probe:
    """An event that has to reach ClickHouse, and its delivery to the broker."""

    id: str
    value: bytes
    delivery: Delivery | None = None

    @property
    def given_up(self) -> bool:
        """True if the producer gave up its delivery."""
        if self.delivery is None or not self.delivery.done:
            return False
        try:
            self.delivery.result(0)
        except ProducerError:
            return True
        return False


class Load:
    """Publishes from `start` to `stop`, also while the broker is down, with settings of `access` if any.

    Only its own thread waits for the broker; a call for probes returns at once.
    """

    def __init__(
        self,
        kafka: str,
        seed: int,
        rate_per_s: int,
        minutes: float,
        access: Mapping[str, Any] = MappingProxyType({}),
    ) -> None:
        self._settings = ProducerSettings(**{"kafka": kafka, **access, "producer_delivery_timeout_s": 30})
        self._events = _traffic(seed, max(1_000.0, rate_per_s * 60 * minutes))
        self._kafka = kafka
        self._rate_per_s = rate_per_s
        self._producer = EventProducer(self._settings, patient=True)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._going = threading.Event()
        self._going.set()
        self._hurried = 0
        self._stuck = threading.Event()
        self._asked: deque[Probe] = deque()
        self.published = 0
        self.refused = 0
        self.renewed = 0

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Stop, and wait until all events are confirmed or given up."""
        self._stop.set()
        self._thread.join()
        try:
            self._producer.close()
        except ProducerError:
            self.refused += 1

    @contextlib.contextmanager
    def paused(self) -> Iterator[None]:
        """Publish only probes in the meantime."""
        self._going.clear()
        try:
            yield
        finally:
            self._going.set()

    def hurry(self) -> None:
        """Publish a thousand events at once, even while paused."""
        if not self._hurried:
            self._hurried = HURRIED

    def probes(self, mark: str) -> list[Probe]:
        """Publish one event for each of some apps."""
        events = [
            authorization_succeeded(
                appid=f"wxprobe{number:09d}", code=mark, capability="quick", time=datetime.now(UTC)
            )
            for number in range(PROBES)
        ]
        asked = [Probe(str(event["id"]), to_json(event)) for event in events]
        self._asked.extend(asked)
        return asked

    def ask_again(self, probes: Sequence[Probe]) -> None:
        """Publish those again that the producer gave up."""
        for probe in probes:
            if probe.given_up:
                probe.delivery = None
                self._stuck.set()
                self._asked.append(probe)

    def transaction(self, *, commit: bool, open_s: float = 0.0, events: int = 40) -> int:
        """Publish some events in one transaction, and commit or abort it.

        Returns:
            Their number; 0 if the broker failed.
        """
        producer = Producer(
            {
                "bootstrap.servers": self._kafka,
                "transactional.id": f"torture-{time.monotonic_ns()}",
                "partitioner": "murmur2_random",
                "log_level": 0,
            }
        )
        try:
            producer.init_transactions(TRANSACTION_S)
            producer.begin_transaction()
            for number in range(events):
                event = authorization_succeeded(
                    appid=f"wxtx{number % PROBES:012d}",
                    code=f"{time.monotonic_ns()}",
                    capability="quick",
                    time=datetime.now(UTC),
                )
                producer.produce(topics.EVENTS, to_json(event), str(event["subject"]).encode())
            if producer.flush(TRANSACTION_S):
                return 0
            self._stop.wait(open_s)
            if commit:
                producer.commit_transaction(TRANSACTION_S)
            else:
                producer.abort_transaction(TRANSACTION_S)
        except KafkaException:
            return 0
        return events

    def clocks_off(self) -> int:
        """Publish events of producers whose clocks are an hour slow, or fast by less or more than an hour."""
        now = datetime.now(UTC)
        offsets = [timedelta(hours=-1), timedelta(minutes=59), timedelta(minutes=75)]
        with EventProducer(
            self._settings, now_ms=lambda: int((now + timedelta(hours=2)).timestamp() * 1_000)
        ) as wrong:
            for number in range(60):
                event = authorization_succeeded(
                    appid=f"wxclock{number % 5:09d}",
                    code=f"{now}-{number}",
                    capability="realtime",
                    time=now + offsets[number % 3],
                )
                wrong.publish(event)
        return 60

    def garbage(self) -> int:
        """Publish records that no producer of ours would send."""
        values: Sequence[tuple[bytes | None, bytes | None]] = (
            (b"wxgarbage", b"{"),
            (b"\xff", b"\xff\xfe\x00"),
            (b"wxgarbage", b"x" * 900_000),
            (b"wxgarbage", None),
            (b"wxgarbage", b"[" * 5_000),
            (b"wxgarbage", b'{"specversion":"1.0"}'),
            (b"wxgarbage", b""),
        )
        raw = KafkaProducer(bootstrap_servers=self._kafka, acks="all", max_request_size=1_000_000)
        try:
            for key, value in values:
                raw.send(topics.EVENTS, key=key, value=value)
            raw.flush()
        finally:
            raw.close()
        return len(values)

    def _run(self) -> None:
        due = 0.0
        looked_s = time.monotonic()
        while not self._stop.is_set():
            before_s, looked_s = looked_s, time.monotonic()
            if self._going.is_set():
                due += (looked_s - before_s) * self._rate_per_s
            if self._stuck.is_set():
                # A producer with metadata of a deleted topic may never deliver to the new one.
                self._stuck.clear()
                self._renew(self._producer)
            while self._asked:
                probe = self._asked.popleft()
                probe.delivery = self._publish(probe.value)
            while self._hurried or (due >= 1 and self._going.is_set()):
                if self._asked or self._stop.is_set():
                    break
                self._publish(next(self._events))
                self.published += 1
                if self._hurried:
                    self._hurried -= 1
                else:
                    due -= 1
            self._stop.wait(STEP_S)

    def _publish(self, value: bytes) -> Delivery | None:
        while True:
            producer = self._producer
            try:
                return producer.publish(value)
            except RefusedError:
                # The event is invalid, for any producer.
                self.refused += 1
                return None
            except (ProducerError, KafkaError):
                self.refused += 1
                self._renew(producer)
                if self._stop.wait(0.5):
                    return None

    def _renew(self, producer: EventProducer) -> None:
        """Replace a producer that could not deliver in time."""
        self._producer = EventProducer(self._settings, patient=True)
        self.renewed += 1
        with contextlib.suppress(ProducerError, KafkaError):
            producer.close(timeout_s=0)


def _traffic(seed: int, taps: float) -> Iterator[bytes]:
    """So many events of seeded apps, and then of other seeds: a replaced log needs more."""
    rate_per_s = taps / (SIMULATED_DAYS * DAY_MS / 1_000)
    for again in itertools.count():
        plan = TrafficPlan(start_ms=START_MS, rate_per_s=rate_per_s, seed=seed + 1_000 * again, apps=APPS)
        # Simulated time has no end, and events in the future are refused.
        yield from (event.value for event in itertools.islice(simulate(plan), int(taps)))
