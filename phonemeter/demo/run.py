"""The run of the demo on a stack that is ready: publish, wait until all is stored, compare with the rules."""

import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final, NamedTuple

from kafka.errors import KafkaError

from metering.rating import Rating, rate
from phonemeter.clickhouse import ClickHouseError
from phonemeter.demo import log_progress
from phonemeter.demo.totals import StoredTotals, differences, read_stored
from phonemeter.demo.traffic import unpublished
from phonemeter.errors import OperationError
from phonemeter.kafka_admin import admin
from phonemeter.settings import Settings
from producers.bulk import BulkProducer
from producers.emission import Emission, Refusal
from sinks.admin_client import KafkaAdmin
from sinks.kafka_consumer import translate_kafka_errors

LOOK_INTERVAL_S: Final = 0.2
STALL_S_MAX: Final = 60.0
"""Longest time without progress: longer than a killed worker or sink takes to restart."""

REFUSALS_SHOWN_MAX: Final = 5


class DemoProgress(NamedTuple):
    """Number of this run's events that are in the log, metered, and visible in ClickHouse."""

    published: int
    metered: int
    stored: int


@dataclass(frozen=True, slots=True)
class DemoResult:
    """The result of a run.

    Attributes:
        events: lines that this run was to publish.
        published: those that Kafka has confirmed.
        refused: those that are no events; `refusals` has the first of them, by their place among all lines.
        log_records: events in the log, with those of earlier runs.
        publish_s: until the last one was confirmed.
        elapsed_s: until the last one was visible in ClickHouse.
        stored: what ClickHouse holds.
        rated: what the rules alone make of the same events.
    """

    events: int
    published: int
    refused: int
    refusals: list[Refusal]
    log_records: int
    publish_s: float
    elapsed_s: float
    stored: StoredTotals
    rated: Rating

    @property
    def problems(self) -> list[str]:
        """A sentence per difference between the log, ClickHouse and the rules."""
        found = differences(self.stored, self.rated)
        if self.published + self.refused != self.events:
            missing = self.events - self.published - self.refused
            found.insert(0, f"{missing:,} of {self.events:,} events were not confirmed by Kafka.")
        if self.stored.outcomes != self.log_records:
            found.insert(
                0, f"{self.log_records:,} events are in the log and {self.stored.outcomes:,} have an outcome."
            )
        return found


@contextmanager
def _publish_in_thread(
    settings: Settings, lines: Sequence[bytes], taken: list[bytes], refusals: list[Refusal]
) -> Iterator[tuple[Emission, Future[float]]]:
    """Publish in a thread; leaving the context early stops it after the current line."""
    stopping = threading.Event()

    def publish() -> float:
        began_s = time.monotonic()
        for number, line in enumerate(lines, 1):
            if stopping.is_set() or emission.stopped_because:
                break
            if emission.offer(number, line or None):
                taken.append(line)
        emission.finish()
        if emission.stopped_because:
            raise OperationError(f"Publishing stopped: {emission.stopped_because}")
        return time.monotonic() - began_s

    with (
        BulkProducer(settings) as producer,
        ThreadPoolExecutor(1, "phonemeter-demo-publish") as pool,
    ):
        emission = Emission(producer, refusals.append)
        try:
            yield emission, pool.submit(publish)
        finally:
            stopping.set()


def run(
    settings: Settings,
    lines: Sequence[bytes],
    *,
    show: Callable[[DemoProgress, int], None],
    check_stack: Callable[[], None],
) -> DemoResult:
    """Publish the lines that the log does not have yet, wait until they are stored, and add everything up.

    Several times a second, `show` gets the progress and the number of events of this run; `check_stack`
    raises if the supervisor gave up a service.

    Raises:
        PhonemeterError: Kafka or ClickHouse failed, or there is no more progress.
    """
    with admin(settings.kafka_access) as client:
        before = log_progress.ends(client)
        earlier = log_progress.read_log(settings.kafka_access, before) if any(before.values()) else []
        new = unpublished(lines, earlier)
        taken: list[bytes] = []
        refusals: list[Refusal] = []

        def look(progress: DemoProgress) -> None:
            check_stack()
            show(progress, len(new) - emission.totals.refused)

        began_s = time.monotonic()
        with _publish_in_thread(settings, new, taken, refusals) as (emission, publishing):
            following = _ProgressWatch(settings, client, sum(before.values()), emission, publishing)
            following.until_stored(look)
        elapsed_s = time.monotonic() - began_s
        log_records = sum(log_progress.ends(client).values())
    totals = emission.totals
    return DemoResult(
        events=len(new),
        published=totals.delivered,
        refused=totals.refused,
        refusals=[
            refusal._replace(line=lines.index(new[refusal.line - 1]) + 1)
            for refusal in refusals[:REFUSALS_SHOWN_MAX]
        ],
        log_records=log_records,
        publish_s=publishing.result(),
        elapsed_s=elapsed_s,
        stored=read_stored(settings.clickhouse),
        rated=rate([*_facts(earlier), *taken], settings.rules(), settled=True),
    )


def _facts(values: Iterable[bytes]) -> Iterator[bytes]:
    """The events without settlements, which the order in time makes needless."""
    return (value for value in values if b'"account.settled"' not in value)


@dataclass(slots=True)
class _ProgressWatch:
    """Watches the progress until each partition is stored up to its end, and every app is settled."""

    settings: Settings
    client: KafkaAdmin
    already: int
    emission: Emission
    publishing: Future[float]

    def until_stored(self, look: Callable[[DemoProgress], None]) -> None:
        """Call `look` with the progress at each interval.

        Raises:
            OperationError: publishing failed, or there is no more progress.
        """
        newest, moved_s = DemoProgress(0, 0, 0), time.monotonic()
        while True:
            try:
                with translate_kafka_errors():
                    progress, complete = self._look()
            except (KafkaError, ClickHouseError):
                # The supervisor restarts a service that died; without that, progress stops.
                progress, complete = newest, False
            look(progress)
            if complete:
                return
            if progress != newest:
                newest, moved_s = progress, time.monotonic()
            elif time.monotonic() - moved_s > STALL_S_MAX:
                raise OperationError(
                    f"Nothing has moved for {STALL_S_MAX:.0f} s: {progress.published:,} events published, "
                    f"{progress.metered:,} metered, {progress.stored:,} stored. The logs are in "
                    f"{self.settings.data_dir / 'logs'}."
                )
            time.sleep(LOOK_INTERVAL_S)

    def _look(self) -> tuple[DemoProgress, bool]:
        # Read first: the ends are final only if publishing was done before they were read.
        all_published = self.publishing.done()
        if all_published:
            self.publishing.result()
        stored = log_progress.stored(self.settings.clickhouse)
        ends = log_progress.ends(self.client)
        complete = all_published and all(stored.get(partition, 0) >= end for partition, end in ends.items())
        complete = complete and not log_progress.unsettled(self.settings.clickhouse)
        # The sink commits after an INSERT, and what is stored has been metered.
        metered = max(sum(log_progress.metered(self.client).values()), sum(stored.values()))
        return DemoProgress(
            self.emission.totals.delivered, metered - self.already, sum(stored.values()) - self.already
        ), complete
