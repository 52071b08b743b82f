"""Fencing of a zombie: a sink that was suspended and does not know that its partitions moved."""

from collections.abc import Callable, Mapping
from typing import Final

from sinks.kafka_consumer import SESSION_TIMEOUT_MS
from sinks.ledger_source import LedgerSource, ResumePoint

LEASE_S: Final = SESSION_TIMEOUT_MS / 1_000 / 2
"""Time after the sending of a commit during which an INSERT may begin. A commit that the broker took shows
that the sink was alive, and only a whole session later are its partitions given to another one."""


class Lease:
    """The time during which this sink may write. Every commit that succeeds renews it."""

    def __init__(self, source: LedgerSource, now_s: Callable[[], float]) -> None:
        self._source = source
        self._now_s = now_s
        self._since_s = float("-inf")

    @property
    def holds(self) -> bool:
        """True if an INSERT may begin."""
        return self._now_s() < self._since_s + LEASE_S

    @property
    def is_due(self) -> bool:
        """True if a commit is to come before the next INSERT, even if there is nothing new to commit."""
        return self._now_s() >= self._since_s + LEASE_S / 2

    def end(self) -> None:
        """Allow no INSERT before the next commit."""
        self._since_s = float("-inf")

    def commit(self, positions: Mapping[int, ResumePoint]) -> bool:
        """Commit, and renew the lease if that succeeds; returns whether it did."""
        sent_s = self._now_s()
        if not self._source.commit(positions):
            return False
        self._since_s = sent_s
        return True
