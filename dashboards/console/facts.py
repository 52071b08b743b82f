"""Facts that pages record: they reach `phone-events` through the outbox, in the transaction of the change."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal, Protocol

from msgspec import Struct

from dashboards.console.members import Actor

FactKind = Literal[
    "account.alerting_set",
    "account.agreement_set",
    "account.charge_notice_requested",
    "account.registered",
    "account.routing_set",
    "pack.assigned",
    "pack.assignment_cancelled",
    "pack.purchased",
    "pack.refunded",
]


class ConsoleFact(Struct, frozen=True):
    """A fact about an app, as the event has it (docs/reference/events.md).

    Attributes:
        kind: the type of the event.
        appid: the app that it is about.
        data: the `data` of the event: values of JSON, times as RFC 3339 text.
        time_ms: when it happened; None for the moment at which it is recorded.
    """

    kind: FactKind
    appid: str
    data: Mapping[str, Any]
    time_ms: int | None = None


class RecordedFact(Struct, frozen=True):
    """A fact that was recorded.

    Attributes:
        fact: with the time that it got.
        is_published: True once Kafka has confirmed it; the ledger has it a moment later.
    """

    fact: ConsoleFact
    is_published: bool


class RefusedFactError(Exception):
    """The metering would not accept a fact; the message is its sentence, in English."""


class FactDesk(Protocol):
    """The outbox, for pages. Blocking; each method raises RecordsUnavailableError if the database is away."""

    def record(self, actor: Actor, facts: Sequence[ConsoleFact], deed: str, subject: str = "") -> None:
        """Record facts, all or none, with one line in the audit trail.

        Args:
            actor: who does it; the apps have to be this owner's.
            facts: at least one.
            deed: one of the deeds of the page Activity.
            subject: what the deed is about, at most 254 characters.

        Raises:
            RefusedFactError: the metering would not accept one.
            RefusedChangeError: an app is not the owner's (`not_there`), or a fact of this pack was recorded
                before (`known_fact`).
        """

    def newest(self, owner_id: str, appid: str, kind: FactKind) -> Sequence[RecordedFact]:
        """The newest facts of a kind about an app, by this owner: 20 at most, the newest first."""
