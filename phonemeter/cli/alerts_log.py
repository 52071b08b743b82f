"""The alerts and what became of them, as Kafka knows it; and what people say about them, written there."""

import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Final

import msgspec

from metering.alerts import Alert
from metering.topics import ALERTS, DELIVERIES
from phonemeter.replay.reading import TopicReader
from sinks.lines import BEFORE_ALL
from sinks.notifier.deliveries import Deliveries
from sinks.notifier.incoming import position_of
from sinks.notifier.kafka_log import Outgoing, Publisher
from sinks.notifier.records import Acknowledged, AnyRecord, Asked, decode, encode, key_of

_decoder: Final = msgspec.json.Decoder(Alert)


@dataclass(frozen=True, slots=True)
class Delivery:
    """How far an alert is on one route.

    `state` is `held` (for quiet hours or a digest), `waiting` (for its next attempt), `sending`, `delivered`,
    `dead` or `acknowledged`.
    """

    route: str
    state: str
    attempt: int
    due_ms: int
    reason: str
    chain: str
    partition: int


class DeliveryLog:
    """What all of `phone-deliveries` says. Made by `read_deliveries`."""

    def __init__(self, known: dict[int, Deliveries]) -> None:
        self.known = known
        self._by_alert: dict[str, list[Delivery]] = defaultdict(list)
        now_ms = _now_ms()
        for partition, deliveries in known.items():
            for asked in deliveries.asked.values():
                self._by_alert[asked.alert.id].append(_delivery(partition, deliveries, asked, now_ms))

    def of(self, alert: str) -> list[Delivery]:
        """The deliveries of an alert, by route."""
        return sorted(self._by_alert.get(alert, []), key=lambda one: one.route)

    def acknowledgement(self, alert: str) -> Acknowledged | None:
        """Who has acknowledged an alert first, and when."""
        found = [known.acknowledged[alert] for known in self.known.values() if alert in known.acknowledged]
        return min(found, key=lambda one: one.at_ms, default=None)


def read_deliveries(reader: TopicReader) -> DeliveryLog:
    """Read all of `phone-deliveries`."""
    found = {}
    for partition, span in reader.spans(DELIVERIES).items():
        known = found[partition] = Deliveries(forget=False)
        for batch in reader.batches(DELIVERIES, partition, span):
            for record in batch:
                if record.key is not None and record.value is None:
                    known.erase(record.key)
                elif record.value is not None:
                    try:
                        known.apply(decode(record.value))
                    except ValueError:
                        continue
    return DeliveryLog(found)


def read_alerts(reader: TopicReader) -> Iterator[Alert]:
    """Each alert on `phone-alerts` once, in the order of each partition."""
    for partition, span in reader.spans(ALERTS).items():
        newest = BEFORE_ALL
        for batch in reader.batches(ALERTS, partition, span):
            for record in batch:
                try:
                    alert = _decoder.decode(record.value or b"")
                    position = position_of(alert.id)
                except ValueError:
                    continue
                if position > newest:
                    newest = position
                    yield alert


def write(kafka: str, records: Sequence[tuple[int, AnyRecord]]) -> None:
    """Publish records, each on its partition, and wait until the broker has them."""
    with closing(Publisher(kafka)) as publisher:
        publisher.publish([Outgoing(partition, key_of(one), encode(one)) for partition, one in records])


def _delivery(partition: int, known: Deliveries, asked: Asked, now_ms: int) -> Delivery:
    chain = known.chains.get(known.chain_of.get((asked.alert.id, asked.route), ""))
    settled = known.settled(asked.alert.id)
    if chain is None:
        state = "held" if asked.due_ms > now_ms else "waiting"
        state = "acknowledged" if settled else state
        return Delivery(asked.route, state, 0, asked.due_ms, "", "", partition)
    state = "acknowledged" if settled and chain.state != "delivered" else chain.state
    return Delivery(asked.route, state, chain.attempt, chain.due_ms, chain.reason, chain.id, partition)


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
