"""The run of the demo on a stack that is ready: publish, follow until all is stored, hold it to the rules."""

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final, NamedTuple

from kafka.admin import KafkaAdminClient
from kafka.errors import KafkaError

from metering.rating import Rating, rate
from phonemeter.demo import log
from phonemeter.demo.totals import Stored, differences, read_stored
from phonemeter.demo.traffic import not_yet
from phonemeter.errors import OperationError
from phonemeter.settings import Settings
from phonemeter.stack.kafka.topics import admin
from producers.bulk import BulkProducer
from producers.emission import Emission, Refusal
from producers.settings import ProducerSettings

LOOK_INTERVAL_S: Final = 0.2
STALL_S_MAX: Final = 60.0
"""So long may nothing move: longer than a worker or a sink that was killed needs to come back."""

REFUSALS_SHOWN_MAX: Final = 5


class Progress(NamedTuple):
    """How many events of this run are in the log, metered, and visible in ClickHouse."""

    published: int
    metered: int
    stored: int


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a run came to.

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
    stored: Stored
    rated: Rating

    @property
    def problems(self) -> list[str]:
        """A sentence for each thing that is not accounted for."""
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
def _publishing(
    settings: Settings, lines: Sequence[bytes], taken: list[bytes], refusals: list[Refusal]
) -> Iterator[tuple[Emission, Future[float]]]:
    """Publish in a thread of its own; leaving the context early breaks it off after the line in work."""
    stopping = threading.Event()
    producer_settings = ProducerSettings(
        **{name: getattr(settings, name) for name in ProducerSettings.model_fields}
    )

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
        BulkProducer(producer_settings) as producer,
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
    show: Callable[[Progress, int], None],
    check_stack: Callable[[], None],
) -> Outcome:
    """Publish the lines that the log does not have yet, wait for their outcome, and add everything up.

    Args:
        settings: of the stack, which is ready.
        lines: events in the order of the log.
        show: told how far it is, and the number of events of this run, several times a second.
        check_stack: raises if a service was given up.

    Raises:
        PhonemeterError: Kafka or ClickHouse failed, or nothing moves any more.
    """
    with admin(settings.kafka) as client:
        before = log.ends(client, settings.partitions)
        earlier = log.read_log(settings.kafka, before) if any(before.values()) else []
        new = not_yet(lines, earlier)
        taken: list[bytes] = []
        refusals: list[Refusal] = []

        def look(progress: Progress) -> None:
            check_stack()
            show(progress, len(new) - emission.totals.refused)

        began_s = time.monotonic()
        with _publishing(settings, new, taken, refusals) as (emission, publishing):
            following = _Following(settings, client, sum(before.values()), emission, publishing)
            following.until_stored(look)
        elapsed_s = time.monotonic() - began_s
        log_records = sum(log.ends(client, settings.partitions).values())
    totals = emission.totals
    return Outcome(
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
        rated=rate([*earlier, *taken], settings.rules()),
    )


@dataclass(slots=True)
class _Following:
    """Looks how far the events are, until each partition is stored up to its end."""

    settings: Settings
    client: KafkaAdminClient
    already: int
    emission: Emission
    publishing: Future[float]

    def until_stored(self, look: Callable[[Progress], None]) -> None:
        """Tell `look` every look.

        Raises:
            OperationError: publishing failed, or nothing moves any more.
        """
        newest, moved_s = Progress(0, 0, 0), time.monotonic()
        while True:
            try:
                progress, complete = self._look()
            except (KafkaError, log.NotToldError):
                # A service that died comes back; if it does not, nothing moves.
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

    def _look(self) -> tuple[Progress, bool]:
        # Asked first: the ends are final only if nothing was being published when they were read.
        all_published = self.publishing.done()
        if all_published:
            self.publishing.result()
        stored = log.stored(self.settings.clickhouse)
        ends = log.ends(self.client, self.settings.partitions)
        complete = all_published and all(stored.get(partition, 0) >= end for partition, end in ends.items())
        # The sink tells Kafka of an INSERT after it; what is stored has been metered.
        metered = max(sum(log.metered(self.client).values()), sum(stored.values()))
        return Progress(
            self.emission.totals.delivered, metered - self.already, sum(stored.values()) - self.already
        ), complete
