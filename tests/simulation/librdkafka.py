"""The simulated librdkafka, whose threads go on while the event loop is blocked."""

from collections import defaultdict, deque
from typing import NamedTuple, cast

from confluent_kafka import KafkaError, Message

from streams.publisher import OnDelivery
from tests.simulation.kafka import Kafka, Place
from tests.simulation.virtual_time import OUTSIDE, Process

IN_FLIGHT_S_MAX = 5.0
"""The time that records of a killed process may stay in flight."""

REFUSED = 0.0003
"""The probability that Kafka refuses a request for good."""


class _Sent(NamedTuple):
    """A record with its callback; also used as the message of that."""

    place: Place
    key: bytes | None
    value: bytes | None
    on_delivery: OnDelivery

    def topic(self) -> str:
        return self.place[0]


class Librdkafka:
    """All clients of one process, which are killed and frozen with it."""

    def __init__(self, kafka: Kafka, process: Process) -> None:
        self.kafka = kafka
        self.process = process
        self.lost_after_s = float("inf")
        self._clients: list[Client] = []

    def connect(self) -> "Client":
        """Create one more client; the process may still have older ones."""
        self._clients.append(Client(self))
        return self._clients[-1]

    def process_killed(self) -> None:
        """Let records in flight arrive for a while, or lose them."""
        self.lost_after_s = self.kafka.loop.time()
        if self.kafka.chance.random() < 0.6:
            self.lost_after_s += self.kafka.chance.uniform(0.0, IN_FLIGHT_S_MAX)

    def process_thawed(self) -> None:
        """Send what waited while the process was frozen."""
        for client in self._clients:
            client.thaw()


class Client:
    """One client: one request per partition at a time, each with its own delay.

    A request is sent again until it is stored; after one that is refused for good, all that wait are refused.
    """

    def __init__(self, owner: Librdkafka) -> None:
        self._owner = owner
        self._waiting: defaultdict[Place, deque[_Sent]] = defaultdict(deque)
        self._in_flight: dict[Place, tuple[_Sent, ...]] = {}
        self._held: list[Place] = []
        self._outcomes: list[tuple[_Sent, KafkaError | None]] = []

    def produce(
        self, topic: str, value: bytes | None, key: bytes | None, partition: int, *, on_delivery: OnDelivery
    ) -> None:
        place = (topic, partition)
        self._waiting[place].append(_Sent(place, key, value, on_delivery))
        if place not in self._in_flight:
            self._send(place)

    def poll(self, timeout: float) -> int:
        del timeout
        outcomes, self._outcomes = self._outcomes, []
        for sent, error in outcomes:
            sent.on_delivery(error, cast("Message", sent))
        return len(outcomes)

    def purge(self, *, blocking: bool = True) -> None:
        if not blocking:
            self._owner.kafka.faults["publisher renewed"] += 1
        if any(self._waiting.values()):
            self._owner.kafka.faults["publication given up"] += 1
        self._waiting.clear()

    def thaw(self) -> None:
        held, self._held = self._held, []
        for place in held:
            self._owner.kafka.faults["zombie's record arrives after its sleep"] += 1
            self._arrive(place)
        for place in tuple(self._waiting):
            if place not in self._in_flight:
                self._send(place)

    def _send(self, place: Place) -> None:
        waiting = self._waiting[place]
        if not waiting:
            return
        kafka = self._owner.kafka
        size = min(kafka.chance.choice((1, 2, 100)), len(waiting))
        self._in_flight[place] = tuple(waiting.popleft() for _ in range(size))
        self._after(kafka.chance.expovariate(30.0), place)

    def _after(self, delay_s: float, place: Place) -> None:
        loop = self._owner.kafka.loop
        loop.call_at(loop.time() + delay_s, self._arrive, place, context=OUTSIDE)

    def _arrive(self, place: Place) -> None:
        kafka, process = self._owner.kafka, self._owner.process
        if process.dead and kafka.loop.time() > self._owner.lost_after_s:
            kafka.faults["record of a dead worker lost"] += 1
        elif process.frozen and kafka.chance.random() < 0.5:
            self._held.append(place)
        elif not kafka.up:
            kafka.back.append(lambda: self._arrive(place))
        elif kafka.chance.random() < REFUSED:
            self._refuse(place)
        else:
            self._store(place)

    def _store(self, place: Place) -> None:
        kafka, process = self._owner.kafka, self._owner.process
        if process.dead:
            kafka.faults["record of a dead worker arrives"] += 1
        for sent in self._in_flight[place]:
            kafka.append(*place, sent.key, sent.value, kafka.clock_ms(place))
        confirmed_s = kafka.chance.uniform(0.001, 0.02)
        if kafka.chance.random() < 0.01:
            kafka.faults["acknowledgement lost"] += 1
            # The request is sent again, and found to be stored.
            confirmed_s += kafka.chance.uniform(1.0, 12.0)
        loop = kafka.loop
        loop.call_at(loop.time() + confirmed_s, self._confirm, place, context=OUTSIDE)

    def _confirm(self, place: Place) -> None:
        self._outcomes += [(sent, None) for sent in self._in_flight.pop(place)]
        if not (self._owner.process.dead or self._owner.process.frozen):
            self._send(place)

    def _refuse(self, place: Place) -> None:
        self._owner.kafka.faults["publication refused"] += 1
        refused = (*self._in_flight.pop(place), *self._waiting.pop(place, ()))
        self._outcomes += [(sent, KafkaError(KafkaError.MSG_SIZE_TOO_LARGE)) for sent in refused]
