"""The notifier's loop: what arrives is noted in the log, what the log says is done, and noted again.

An attempt is made only when its own beginning was read back from `phone-deliveries`, after this notifier's
claim and before any other one's. So two notifiers never both continue a chain, and one that ends at any point
leaves in the log where each chain stands.
"""

import logging
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import Final, NamedTuple

from kafka.errors import KafkaError

from metering.topics import DELIVERIES
from sinks.lines import Position
from sinks.notifier import planning
from sinks.notifier.channels import Deliver, Message
from sinks.notifier.incoming import Judged, judge
from sinks.notifier.kafka_log import Outgoing, Publisher, Record, Source
from sinks.notifier.metrics import Metrics
from sinks.notifier.planning import Limits, Outcome
from sinks.notifier.records import (
    AnyRecord,
    Asked,
    Chain,
    Claim,
    RouteState,
    asked_key,
    chain_key,
    decode,
    encode,
    key_of,
    partition_of,
)
from sinks.notifier.routes import Routes
from sinks.notifier.share import Share

log = logging.getLogger(__name__)

IDLE_S: Final = 0.25
BUSY_S: Final = 0.02
BACKOFF_S: Final = 0.2
DRAIN_S_MAX: Final = 3.0
"""How long attempts under way are waited for when the notifier is to end; a service has five seconds."""
REPORT_MS: Final = 500
FORGOTTEN_AT_ONCE_MAX: Final = 1_000


class Task(NamedTuple):
    """What the notifier is to do.

    Attributes:
        routes: those of the file as it is now; None if there is no file, and nothing is delivered then.
        limits: of attempts.
        age_ms_max: alerts published longer ago are not delivered.
        deliver: makes an attempt.
    """

    routes: Callable[[], Routes | None]
    limits: Limits
    age_ms_max: int
    deliver: Deliver


class _Done(NamedTuple):
    """An attempt that was made."""

    chain: Chain
    outcome: Outcome
    seconds: float


class Notifier:
    """Delivers alerts until `stop` is set. Everything but the attempts runs in the caller's thread."""

    def __init__(
        self,
        source: Source,
        publisher: Publisher,
        task: Task,
        metrics: Metrics,
        stop: threading.Event,
        now_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
    ) -> None:
        self._source = source
        self._publisher = publisher
        self._task = task
        self._routes = task.routes()
        self._metrics = metrics
        self._stop = stop
        self._now_ms = now_ms
        self._shares: dict[int, Share] = {}
        self._judged: dict[int, Position] = {}
        self._to_begin: set[int] = set()
        self._under_way: dict[str, Chain] = {}
        self._results: SimpleQueue[_Done] = SimpleQueue()
        self._unrecorded: list[_Done] = []
        self._reported_ms = 0

    def run(self) -> None:
        """Work until told to stop, then record what became of the attempts under way."""
        while not self._stop.is_set():
            try:
                self.turn()
            except KafkaError as error:
                log.warning("Kafka: %s; trying again.", error)
                self._stop.wait(BACKOFF_S)
        self._drain()

    def turn(self) -> None:
        """Do one round: what moved, what arrived, what came of attempts, what is due."""
        self._routes = self._task.routes()
        busy = self._under_way or any(share.unread for share in self._shares.values())
        arrived = self._source.poll(BUSY_S if busy else IDLE_S)
        moved = self._rebalance()
        alerts = []
        for record in arrived:
            if (record.topic, record.partition) in moved:
                continue
            if record.topic == DELIVERIES:
                self._read(record)
            elif record.partition in self._judged:
                alerts.append(record)
        self._ask(alerts)
        self._begin_alerts()
        self._record_outcomes()
        for share in self._shares.values():
            self._act(share)
        self._report()

    def _rebalance(self) -> set[tuple[str, int]]:
        """Part with what went, begin with what came; all of that, whose records may be out of place now."""
        moved: set[tuple[str, int]] = set()
        for event in self._source.rebalances():
            moved.update(event.partitions)
            for topic, partition in event.partitions:
                if topic == DELIVERIES:
                    self._shares.pop(partition, None)
                else:
                    self._judged.pop(partition, None)
                    self._to_begin.discard(partition)
                if event.kind == "revoked":
                    labels = {"topic": topic, "partition": str(partition)}
                    self._metrics.lag_records.remove_by_labels(labels)
                elif topic == DELIVERIES:
                    self._shares[partition] = Share(partition)
                    self._source.begin_deliveries(partition)
                else:
                    self._to_begin.add(partition)
        return moved

    def _begin_alerts(self) -> None:
        """Find out where the alerts of new partitions stand; what was read before that is dropped."""
        for partition in sorted(self._to_begin):
            self._judged[partition] = self._source.begin_alerts(partition)
            self._to_begin.discard(partition)

    def _read(self, record: Record) -> None:
        share = self._shares.get(record.partition)
        if share is None or record.key is None:
            return
        if record.value is None:
            share.unread.pop(share.known.erase(record.key), None)
            return
        try:
            read = decode(record.value)
        except ValueError:
            log.warning(
                "Record %d of %s partition %d is none of the notifier's; it is left alone.",
                record.offset,
                DELIVERIES,
                record.partition,
            )
            return
        chain = share.known.apply(read)
        if isinstance(read, Chain):
            share.unread.pop(read.id, None)
        if chain is not None and share.active and chain.owner == share.owner:
            self._attempt(share, chain)

    def _attempt(self, share: Share, chain: Chain) -> None:
        """Make an attempt in a thread of its own: a receiver that hangs holds up nobody else."""
        routes = self._routes
        route = routes.routes.get(chain.route) if routes else None
        asked = list(share.known.alerts_of(chain))
        self._under_way[chain.id] = chain
        if routes is None or route is None or len(asked) != len(chain.alerts):
            nothing = Outcome(delivered=False, reason="the route or the alert is not known any more")
            self._results.put(_Done(chain, nothing, 0.0))
            return
        alerts = [one.alert for one in asked]
        apps = [routes.app(alert.appid) for alert in alerts]
        message = Message(chain.id, alerts, apps, held=asked[0].held)

        def make() -> None:
            began_s = time.monotonic()
            now_ms = self._now_ms()
            try:
                if planning.is_stale(chain, now_ms):
                    outcome = Outcome(delivered=False, reason="the notifier stood still; nothing was sent")
                else:
                    outcome = self._task.deliver(route, message, now_ms)
            except Exception as error:  # noqa: BLE001 - an attempt must end with an outcome, whatever a library raises
                # Without its message, which may repeat an address.
                log.warning("Delivering %s raised %s, a bug.", chain.id, type(error).__name__)
                outcome = Outcome(delivered=False, reason=f"phonemeter has a bug: {type(error).__name__}")
            self._results.put(_Done(chain, outcome, time.monotonic() - began_s))

        threading.Thread(target=make, name=f"phonemeter-{chain.route}", daemon=True).start()

    def _ask(self, records: Sequence[Record]) -> None:
        """Note for each new alert where it is to go; then that this is done."""
        if not records:
            return
        positions: dict[int, Position] = {}
        judged: list[Judged] = []
        for record in records:
            known = positions.get(record.partition, self._judged[record.partition])
            one = judge(record, known, self._routes, self._task.age_ms_max, self._now_ms())
            positions[record.partition] = one.position
            judged.append(one)
        try:
            self._publisher.publish([self._outgoing(asked) for one in judged for asked in one.asked])
        except KafkaError:
            for record in reversed(records):
                self._source.seek_alerts(record.partition, record.offset)
            raise
        self._judged.update(positions)
        for one in judged:
            self._metrics.alerts.labels(one.outcome).inc()
        nexts = {record.partition: record.offset + 1 for record in records}
        self._source.commit({partition: (at, positions[partition]) for partition, at in nexts.items()})

    def _record_outcomes(self) -> None:
        while True:
            try:
                self._unrecorded.append(self._results.get_nowait())
            except Empty:
                break
        if not self._unrecorded:
            return
        now_ms = self._now_ms()
        records: list[Chain | RouteState] = []
        for done in self._unrecorded:
            after = planning.concluded(done.chain, done.outcome, self._task.limits, now_ms)
            records.append(after)
            if done.outcome.gone:
                records.append(planning.route_gone(done.chain, done.outcome, now_ms))
        self._publisher.publish([self._outgoing(one) for one in records])
        chains = [one for one in records if isinstance(one, Chain)]
        for done, after in zip(self._unrecorded, chains, strict=True):
            self._tell(after, done.seconds)
            self._under_way.pop(after.id, None)
            share = self._shares.get(partition_of(after.route, self._source.partitions))
            if share is not None:
                share.unread[after.id] = now_ms
        self._unrecorded.clear()

    def _tell(self, after: Chain, seconds: float | None = None) -> None:
        outcome = {"delivered": "delivered", "waiting": "failed", "dead": "dead"}[after.state]
        self._metrics.attempts.labels(after.channel, outcome).inc()
        if seconds is not None:
            self._metrics.attempt_seconds.labels(after.channel).observe(seconds)
        if after.state == "delivered":
            log.info("%s: delivered at attempt %d (%s).", after.id, after.attempt, after.reason)
        elif after.state == "waiting":
            log.warning(
                "%s: attempt %d failed (%s); the next one in %.0f s.",
                after.id,
                after.attempt,
                after.reason,
                (after.due_ms - after.at_ms) / 1_000,
            )
        else:
            log.error(
                "%s: given up at attempt %d (%s); see phonemeter alerts list --dead.",
                after.id,
                after.attempt,
                after.reason,
            )

    def _act(self, share: Share) -> None:
        """Publish what follows from what is known of a partition."""
        now_ms = self._now_ms()
        if not share.claimed:
            self._publish(share.partition, [Claim(at_ms=now_ms, owner=share.owner)])
            share.claimed = True
        if not share.active or self._stop.is_set():
            return
        self._tidy(share, now_ms)
        self._correct(share, now_ms)
        planned = [chain for chain in self._planned(share, now_ms) if share.settled(chain.id, now_ms)]
        if not planned:
            return
        self._publish(share.partition, planned)
        for chain in planned:
            share.unread[chain.id] = now_ms
            if chain.state == "sending":
                share.last_begun_ms[chain.route] = now_ms
            elif share.known.chains.get(chain.id) != chain:
                self._tell(chain)

    def _correct(self, share: Share, now_ms: int) -> None:
        """Write what is known where the log's newest record is one that does not count."""
        for name in [one for one in share.known.contradicted if share.settled(one, now_ms)]:
            chain = planning.corrected(share.known, name)
            value = None if chain is None else encode(chain)
            self._publisher.publish([Outgoing(share.partition, chain_key(name), value)])
            share.unread[name] = now_ms

    def _planned(self, share: Share, now_ms: int) -> Iterator[Chain]:
        """What to write of chains: interrupted, impossible, to begin."""
        known, routes = share.known, self._routes
        yield from planning.interrupted(known, frozenset(self._under_way), self._task.limits, now_ms)
        if routes is None:
            return
        yield from planning.given_up(known, routes.routes, now_ms)
        busy = Counter(chain.route for chain in self._under_way.values())
        for chain in planning.begun(known, routes.routes, busy, share.last_begun_ms, now_ms):
            if chain.id not in self._under_way:
                yield chain

    def _tidy(self, share: Share, now_ms: int) -> None:
        """Have records removed that are too old to be of use, once per partition taken over."""
        if share.tidied:
            return
        old = list(planning.forgotten(share.known, now_ms))[:FORGOTTEN_AT_ONCE_MAX]
        keys = [key_of(chain) for chain in old]
        keys += [asked_key(alert, chain.route) for chain in old for alert in chain.alerts]
        self._publisher.publish([Outgoing(share.partition, key, None) for key in keys])
        share.tidied = True

    def _publish(self, partition: int, records: Iterable[AnyRecord]) -> None:
        self._publisher.publish([Outgoing(partition, key_of(one), encode(one)) for one in records])

    def _outgoing(self, record: Asked | Chain | RouteState) -> Outgoing:
        partition = partition_of(record.route, self._source.partitions)
        return Outgoing(partition, key_of(record), encode(record))

    def _report(self) -> None:
        now_ms = self._now_ms()
        if now_ms - self._reported_ms < REPORT_MS:
            return
        self._reported_ms = now_ms
        shares = [share.known for share in self._shares.values()]
        self._metrics.open.set(sum(planning.open_alerts(known) for known in shares))
        self._metrics.dead.set(sum(planning.dead_chains(known) for known in shares))
        self._metrics.disabled_routes.set(sum(len(known.disabled) for known in shares))
        self._metrics.oldest_due_ms = min(
            (due for known in shares if (due := planning.oldest_due_ms(known)) is not None), default=None
        )
        for (topic, partition), lag in self._source.lags().items():
            self._metrics.lag_records.labels(topic, partition).set(lag)

    def _drain(self) -> None:
        end_s = time.monotonic() + DRAIN_S_MAX
        while (self._under_way or self._unrecorded) and time.monotonic() < end_s:
            with suppress(Empty):
                self._unrecorded.append(self._results.get(timeout=BUSY_S))
            try:
                self._record_outcomes()
            except KafkaError as error:
                log.warning("What became of some attempts could not be recorded (%s).", error)
                return
