"""Seeded traffic, published at a steady rate from a thread, and the events that recovery is measured with."""

import contextlib
import threading
import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from kafka import KafkaProducer
from kafka.errors import KafkaError

from metering import topics
from metering.times import DAY_MS
from producers.client import EventProducer
from producers.errors import ProducerError
from producers.events import authorization_succeeded, to_json
from producers.settings import ProducerSettings
from producers.simulate import Plan, simulate

START_MS = 1_767_196_800_000
"""2026-01-01T00:00:00+08:00"""

SIMULATED_DAYS = 200
APPS = 16
PROBES = 8
"""Apps that are asked after every fault: enough to meet every partition."""

STEP_S = 0.1


class Load:
    """Publishes from `start` to `stop`, whatever the broker does."""

    def __init__(self, kafka: str, seed: int, rate_per_s: int, minutes: float) -> None:
        self._settings = ProducerSettings(kafka=kafka, producer_delivery_timeout_s=30)
        taps = max(1_000.0, rate_per_s * 60 * minutes)
        self._events = simulate(
            Plan(start_ms=START_MS, rate_per_s=taps / (SIMULATED_DAYS * DAY_MS / 1_000), seed=seed, apps=APPS)
        )
        self._kafka = kafka
        self._rate_per_s = rate_per_s
        self._producer = EventProducer(self._settings, patient=True)
        self._renewing = threading.Lock()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self.published = 0
        self.refused = 0
        self.renewed = 0

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Stop, and wait until what was published is confirmed or given up."""
        self._stop.set()
        self._thread.join()
        try:
            self._producer.close()
        except ProducerError:
            self.refused += 1

    def probes(self, mark: str) -> list[str]:
        """Publish one event for each of some apps; their ids."""
        events = [
            authorization_succeeded(
                appid=f"wxprobe{number:09d}", code=mark, capability="quick", time=datetime.now(UTC)
            )
            for number in range(PROBES)
        ]
        for event in events:
            self._publish(to_json(event))
        return [str(event["id"]) for event in events]

    def clocks_off(self) -> int:
        """Events of producers whose clocks are an hour slow, or fast by nearly, and by more than, an hour."""
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
        """Records that no producer of ours would send."""
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
        began_s = time.monotonic()
        while not self._stop.is_set():
            due = int((time.monotonic() - began_s) * self._rate_per_s)
            while self.published < due and not self._stop.is_set():
                self._publish(next(self._events).value)
                self.published += 1
            self._stop.wait(STEP_S)

    def _publish(self, value: bytes) -> None:
        while True:
            producer = self._producer
            try:
                producer.publish(value)
            except (ProducerError, KafkaError):
                self.refused += 1
                self._renew(producer)
                if self._stop.wait(0.5):
                    return
            else:
                return

    def _renew(self, producer: EventProducer) -> None:
        """What a program does whose producer has not sent anything for longer than it may take."""
        with self._renewing:
            if self._producer is producer:
                self._producer = EventProducer(self._settings, patient=True)
                self.renewed += 1
                with contextlib.suppress(ProducerError, KafkaError):
                    producer.close(timeout_s=0)
