"""What one partition of `phone-deliveries` says: which alerts wait, how far each chain of attempts is.

The log decides: a notifier acts on what it has read there, its own records included. What an owner wrote
after another one's claim began nothing; what became of an attempt is true whoever says so.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field

import msgspec

from sinks.notifier.records import Acknowledged, AnyRecord, Asked, Chain, Claim, Retry, RouteState

Place = tuple[str, str]
"""An alert's id and a route."""


@dataclass(slots=True)
class Deliveries:
    """The state of a partition. `forget` leaves out what only lists need: the contents of what is over."""

    forget: bool = True
    owner: str = ""
    chains: dict[str, Chain] = field(default_factory=dict)
    open: set[str] = field(default_factory=set)
    """Ids of the chains that are not over: being sent, or waiting for their next attempt."""
    dead: set[str] = field(default_factory=set)
    pending: dict[Place, Asked] = field(default_factory=dict)
    """What is in no chain yet."""
    asked: dict[Place, Asked] = field(default_factory=dict)
    chain_of: dict[Place, str] = field(default_factory=dict)
    acknowledged: dict[str, Acknowledged] = field(default_factory=dict)
    disabled: dict[str, RouteState] = field(default_factory=dict)
    contradicted: set[str] = field(default_factory=set)
    """Ids of chains whose newest record in the log does not count: what is known is to be written again, or
    that nothing is."""

    def apply(self, record: AnyRecord) -> Chain | None:
        """Take a record in; the chain, if the record begins an attempt of it."""
        match record:
            case Claim():
                self.owner = record.owner
            case Asked():
                self._ask(record)
            case Chain():
                return self._move(record)
            case Acknowledged():
                self.acknowledged.setdefault(record.alert, record)
            case Retry():
                self._retry(record)
            case RouteState():
                if record.disabled:
                    self.disabled[record.route] = record
                else:
                    self.disabled.pop(record.route, None)
        return None

    def erase(self, key: bytes) -> str:
        """Take in that the record of a key is gone; the chain that it was of, or nothing."""
        match key.decode(errors="replace").split("|"):
            case ["chain", name]:
                chain = self.chains.pop(name, None)
                self.open.discard(name)
                self.dead.discard(name)
                self.contradicted.discard(name)
                for alert in chain.alerts if chain else ():
                    self.chain_of.pop((alert, chain.route if chain else ""), None)
                return name
            case ["asked", alert, route]:
                self.asked.pop((alert, route), None)
                self.pending.pop((alert, route), None)
            case ["acknowledged", alert]:
                self.acknowledged.pop(alert, None)
        return ""

    def settled(self, alert: str) -> bool:
        """Whether a person has acknowledged the alert."""
        return alert in self.acknowledged

    def alerts_of(self, chain: Chain) -> Iterator[Asked]:
        """What is in a chain's message, in its order."""
        for alert in chain.alerts:
            asked = self.asked.get((alert, chain.route))
            if asked is not None:
                yield asked

    def _ask(self, record: Asked) -> None:
        place = (record.alert.id, record.route)
        chain = self.chain_of.get(place)
        if chain is None:
            self.asked.setdefault(place, record)
            self.pending.setdefault(place, record)
        elif not self.forget or self.chains[chain].state != "delivered":
            self.asked.setdefault(place, record)

    def _move(self, record: Chain) -> Chain | None:
        known = self.chains.get(record.id)
        if not self._counts(record, known):
            (self.contradicted.discard if known == record else self.contradicted.add)(record.id)
            return None
        self.contradicted.discard(record.id)
        self.chains[record.id] = record
        self._sort(record)
        for alert in record.alerts:
            place = (alert, record.route)
            self.chain_of[place] = record.id
            self.pending.pop(place, None)
            if self.forget and record.state == "delivered":
                self.asked.pop(place, None)
        begins = record.state == "sending" and (known is None or record.attempt > known.attempt)
        return record if begins else None

    def _counts(self, record: Chain, known: Chain | None) -> bool:
        if record.state == "sending" and self.owner not in {"", record.owner}:
            return False
        if known is None:
            return True
        if known.state == "delivered":
            return False
        if record.state == "delivered":
            return True
        if record.state == "sending":
            adopted = known.state == "sending" and (record.attempt, record.at_ms) == (
                known.attempt,
                known.at_ms,
            )
            return adopted or record.attempt > known.attempt
        return record.attempt >= known.attempt and known.state != "dead"

    def _retry(self, record: Retry) -> None:
        known = self.chains.get(record.chain)
        if known is not None and known.state == "dead":
            again = msgspec.structs.replace(
                known,
                at_ms=record.at_ms,
                state="waiting",
                before=known.attempt,
                since_ms=record.at_ms,
                due_ms=record.at_ms,
                reason="a person asked for another round",
            )
            self.chains[known.id] = again
            self._sort(again)

    def _sort(self, chain: Chain) -> None:
        self.open.discard(chain.id)
        self.dead.discard(chain.id)
        if chain.state == "dead":
            self.dead.add(chain.id)
        elif chain.state != "delivered":
            self.open.add(chain.id)
