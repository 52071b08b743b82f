"""The explanation of one event, as `phonemeter explain --json` prints it and as HTTP answers it."""

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Struct

from dashboards.http.answers import AsOf, CompleteUntil, RunsOn
from metering.explanation import PackVerdict


class ToldEntry(Struct, frozen=True, kw_only=True):
    """An entry of the ledger: what `calls` and `remaining` mean goes by its kind."""

    offset: int
    line: int
    kind: str
    time: str
    recorded_at: str
    appid: str
    capability: str
    event_id: str
    calls: int
    amount_micro_yuan: int
    pack_id: str
    remaining: int
    reason: str
    errno: int
    scene: str
    store: str
    env: str
    client: str
    source: str
    details: dict[str, Any]


class ToldPack(Struct, frozen=True, kw_only=True):
    """A pack that a call considered, as it was then."""

    pack_id: str
    calls: int
    remaining: int
    starts_at: str
    expires_at: str
    verdict: PackVerdict


class ToldBalance(Struct, frozen=True, kw_only=True):
    """The balance before or after a decision."""

    calls_left: int
    trial: int
    packs: dict[str, int]


class ToldExplanation(Struct, frozen=True, kw_only=True):
    """The decision on one record, with its reason in a word and `why` in a sentence."""

    partition: int
    offset: int
    recorded_at: str
    appid: str
    event_id: str
    capability: str
    time: str
    clock_at: str
    decision: str
    reason: str
    why: str
    pack_id: str
    seen_at: str | None
    considered: list[ToldPack]
    alerts: list[str]
    before: ToldBalance | None
    after: ToldBalance | None
    entries: list[ToldEntry]
    settlement: str


class ToldOccurrence(Struct, frozen=True, kw_only=True):
    """One record with the id; of a duplicate, the offset of the record that counted."""

    explanation: ToldExplanation
    duplicate_of: int | None


class ToldTakeover(Struct, frozen=True, kw_only=True):
    """A pack that was recorded later and took the call over."""

    offset: int
    pack_id: str
    entries: list[ToldEntry]


class ToldMove(Struct, frozen=True, kw_only=True):
    """A settlement that moved calls like this one."""

    offset: int
    recorded_at: str
    event_id: str
    calls: int
    of_calls: int
    from_: str = msgspec.field(name="from")
    to: str


class ToldChange(Struct, frozen=True, kw_only=True):
    """A correction of the event, or of such a correction."""

    event_id: str
    offset: int
    corrects: str
    action: Literal["void", "set"]
    fields: dict[str, Any]
    note: str
    source: str
    time: str
    recorded_at: str
    state: Literal["unsettled", "settled", "refused"]
    settled_at: str | None
    holds: bool


class EventStory(Struct, frozen=True, kw_only=True):
    """The story of one event: the decisions, what changed since, and its entries in both ledgers.

    `published` are its entries in `phone-ledger`, `stored` those in ClickHouse: the same, unless one of them
    is behind.
    """

    event_id: str
    appid: str
    partition: int
    occurrences: list[ToldOccurrence]
    takeovers: list[ToldTakeover]
    settlements: list[ToldMove]
    corrections: list[ToldChange]
    published: list[ToldEntry]
    publications: int
    stored: list[ToldEntry]
    not_asked: str
    settings_note: str


class EventAnswer(EventStory, frozen=True, kw_only=True):
    """The story of one event, as of the figures' now."""

    as_of: AsOf
    runs_on: RunsOn
    complete_until: CompleteUntil
    explained: Annotated[
        bool, Meta(description="Whether it was metered again; if not, only `stored` has anything.")
    ]
