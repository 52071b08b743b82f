"""The migration of an app to another appid: what moves, and the facts that carry it over (rule 16)."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import msgspec
from clickhouse_driver import Client

from metering.events import Capability
from metering.times import from_ms
from phonemeter.clickhouse import unknown_app
from phonemeter.errors import UserError
from producers.events import (
    CloudEvent,
    account_alerting_set,
    account_migrated,
    account_opened,
    account_registered,
    account_routing_set,
    named_id,
    pack_assigned,
    pack_purchased,
)
from sinks.connection import rows
from sinks.entry_columns import ID_DIGITS_MIN

SOURCE: Final = "/phonemeter/migrate"

_MIGRATION: Final = """
SELECT JSONExtractString(details, 'to'), toUnixTimestamp64Milli(time)
FROM ledger WHERE appid = %(appid)s AND kind = 'migration' LIMIT 1
"""
_PACKS: Final = """
SELECT
    bought.pack_id, bought.capability, packs.calls, packs.used_before, packs.used_before + packs.charged,
    bought.details, leaving.calls IS NOT NULL,
    packs.status IN ('pending', 'active', 'exhausted') AND packs.expires_at > (SELECT now FROM clock)
FROM
(
    SELECT pack_id, toString(argMax(capability, place)) AS capability, argMax(details, place) AS details
    FROM
    (
        SELECT pack_id, capability, details, (source_offset, line) AS place
        FROM ledger WHERE appid = %(appid)s AND kind = 'purchase' AND calls > 0
    )
    GROUP BY pack_id
) AS bought
INNER JOIN (SELECT * FROM packs WHERE appid = %(appid)s) AS packs USING (pack_id)
LEFT JOIN
(
    SELECT pack_id, toNullable(sum(ledger.calls)) AS calls
    FROM ledger WHERE appid = %(appid)s AND kind = 'refund' AND reason = 'migrated' GROUP BY pack_id
) AS leaving USING (pack_id)
ORDER BY bought.capability, packs.expires_at, packs.starts_at, bought.pack_id
"""
_TRIALS: Final = """
SELECT toString(capability), trial_size, trial_remaining
FROM balances_now WHERE appid = %(appid)s AND trial_size > 0 ORDER BY capability
"""
_TRIALS_LEFT: Final = """
SELECT toString(capability), sum(calls)
FROM ledger WHERE appid = %(appid)s AND kind = 'opening' AND reason = 'migrated' GROUP BY capability
"""
_OWNER: Final = "SELECT entity_type, name, category FROM apps WHERE appid = %(appid)s AND entity_type != ''"
_THRESHOLDS: Final = """
SELECT argMax(details, (source_offset, line)) FROM ledger
WHERE appid = %(appid)s AND kind = 'alerting_set' HAVING count() > 0
"""
_ROUTING: Final = """
SELECT toString(capability) AS of, argMax(details, (source_offset, line)) FROM ledger
WHERE appid = %(appid)s AND kind = 'routing_set' GROUP BY of ORDER BY of
"""
_ANY: Final = "SELECT 1 FROM ledger WHERE appid = %(appid)s LIMIT 1"
_UNSETTLED: Final = "SELECT count() FROM unsettled WHERE appid = %(appid)s"
_TOLD: Final = f"""
SELECT DISTINCT substring(event_id, 1, {ID_DIGITS_MIN:d}) AS digits
FROM ledger WHERE appid = %(appid)s AND digits IN %(ids)s
"""  # noqa: S608 - our own number


@dataclass(frozen=True, slots=True)
class MovedPack:
    """A pack that moves to the new app.

    Attributes:
        used: calls of it that the old app has used.
        told: how many of these the purchase in the new app says; None if the new app has no pack of that id.
    """

    pack_id: str
    capability: Capability
    calls: int
    used: int
    told: int | None
    terms: dict[str, Any]

    @property
    def is_there(self) -> bool:
        """True if the new app has a pack of that id."""
        return self.told is not None

    @property
    def short(self) -> int:
        """Calls that its purchase in the new app says too few: they were counted or corrected afterwards."""
        return 0 if self.told is None else self.used - self.told


@dataclass(frozen=True, slots=True)
class MovedTrial:
    """The used calls of a trial quota; `capability` is empty for the one that all capabilities share."""

    capability: Capability | None
    size: int
    used: int


@dataclass(slots=True)
class MigrationPlan:
    """The holdings that move from an app to its new appid, as the ledger in ClickHouse says.

    Attributes:
        migrated_ms: the time of the migration; None while the old app has not left.
        owner: entity type, name and category; empty if there is none, or the new app has one.
        thresholds: those that the owner set; empty if there are none, or the new app has some.
        routing: the routing policies that the owner set, by capability; those that the new app has not.
        told: the first digits of the ids of the events that the new app has already.
    """

    old: str
    new: str
    migrated_ms: int | None = None
    packs: list[MovedPack] = field(default_factory=list)
    trials: list[MovedTrial] = field(default_factory=list)
    owner: tuple[str, ...] = ()
    thresholds: dict[str, Any] = field(default_factory=dict)
    routing: dict[Capability, dict[str, Any]] = field(default_factory=dict)
    told: frozenset[str] = frozenset()

    def leaving(self, time_ms: int) -> CloudEvent:
        """The fact that ends the old app."""
        return account_migrated(appid=self.old, to=self.new, time=from_ms(time_ms), source=SOURCE)

    def arriving(self) -> list[CloudEvent]:
        """The facts that begin the new app and that it does not have yet; none before the old one left."""
        return [fact for fact in self.facts() if _digits(fact) not in self.told]

    def facts(self) -> list[CloudEvent]:
        """The facts that begin the new app; none before the old one left."""
        return [] if self.migrated_ms is None else list(self._facts(self.migrated_ms))

    def _facts(self, time_ms: int) -> Iterator[CloudEvent]:
        if self.owner:
            entity_type, name, category = self.owner
            owner = account_registered(
                appid=self.new, entity_type=entity_type, time=from_ms(time_ms), name=name, category=category
            )
            yield self._named(owner, "owner")
        if self.thresholds:
            thresholds = account_alerting_set(appid=self.new, time=from_ms(time_ms), **self.thresholds)
            yield self._named(thresholds, "thresholds")
        for capability, policy in self.routing.items():
            budgets = {budget["store"]: budget["calls"] for budget in policy["store_budgets"]}
            chosen = {**policy, "store_budgets": budgets}
            routing = account_routing_set(
                appid=self.new, capability=capability, time=from_ms(time_ms), **chosen
            )
            yield self._named(routing, "routing", capability)
        for trial in self.trials:
            if trial.used:
                opened = account_opened(
                    appid=self.new, trial_used=trial.used, time=from_ms(time_ms), capability=trial.capability
                )
                yield self._named(opened, "trial", trial.capability or "")
        for pack in self.packs:
            if not pack.is_there:
                yield self._named(_bought(self.new, pack, time_ms), "pack", pack.pack_id)

    def _named(self, event: CloudEvent, *what: str) -> CloudEvent:
        """The event with an id of its own, so that carrying an app over again changes nothing."""
        return {**event, "id": named_id("account.migrated", self.old, self.new, *what), "source": SOURCE}


def read_plan(client: Client, old: str, new: str, *, is_shared: bool) -> MigrationPlan:
    """Read what moves, as far as the ledger is stored; `is_shared` if all capabilities share a trial quota.

    Raises:
        UserError: the app cannot be migrated, and why.
        OperationError: the ledger has no entry about it.
        clickhouse_driver.errors.Error, OSError, EOFError: ClickHouse is away or refuses.
    """
    plan = MigrationPlan(old, new)
    for left in rows(client, _MIGRATION, {"appid": new}):
        raise UserError(f"{new} has itself got another appid, {left[0]}: name that one.")
    for to, plan.migrated_ms in rows(client, _MIGRATION, {"appid": old}):
        if to != new:
            raise UserError(f"{old} has got another appid already, {to}; an app is migrated once.")
    if not rows(client, _ANY, {"appid": old}):
        raise unknown_app(old)
    ((unsettled,),) = rows(client, _UNSETTLED, {"appid": old})
    if unsettled and plan.migrated_ms is None:
        raise UserError(
            f"{old} is unsettled: what it has used may still change. Wait until phonemeter apps shows it as "
            "settled, then call this again."
        )
    there = {pack_id: told for pack_id, _, _, told, *_ in rows(client, _PACKS, {"appid": new})}
    plan.packs = list(_packs(rows(client, _PACKS, {"appid": old}), there, plan.migrated_ms))
    plan.trials = _trials(client, old, is_shared=is_shared, has_left=plan.migrated_ms is not None)
    if not rows(client, _OWNER, {"appid": new}):
        plan.owner = next(iter(rows(client, _OWNER, {"appid": old})), ())
    if not rows(client, _THRESHOLDS, {"appid": new}):
        for (details,) in rows(client, _THRESHOLDS, {"appid": old}):
            plan.thresholds = msgspec.json.decode(details)
    set_there = {capability for capability, _ in rows(client, _ROUTING, {"appid": new})}
    plan.routing = {
        capability: msgspec.json.decode(details)
        for capability, details in rows(client, _ROUTING, {"appid": old})
        if capability not in set_there
    }
    ids = tuple(map(_digits, plan.facts()))
    if ids:
        plan.told = frozenset(row[0] for row in rows(client, _TOLD, {"appid": new, "ids": ids}))
    return plan


def _digits(event: CloudEvent) -> str:
    """The first digits of an event's id, of which ClickHouse keeps that many at least."""
    return str(event["id"])[:ID_DIGITS_MIN]


def _packs(
    found: Sequence[tuple[Any, ...]], there: Mapping[str, int], migrated_ms: int | None
) -> Iterator[MovedPack]:
    for pack_id, capability, calls, _, used, details, has_left, is_valid in found:
        if is_valid if migrated_ms is None else has_left:
            terms = msgspec.json.decode(details)
            yield MovedPack(pack_id, capability, calls, used, there.get(pack_id), terms)


def _trials(client: Client, appid: str, *, is_shared: bool, has_left: bool) -> list[MovedTrial]:
    left: Mapping[str, int] = dict(rows(client, _TRIALS_LEFT, {"appid": appid}))
    trials = []
    for capability, size, remaining in rows(client, _TRIALS, {"appid": appid}):
        held = left.get("" if is_shared else capability, 0) if has_left else remaining
        trials.append(MovedTrial(None if is_shared else capability, size, size - held))
    return trials[:1] if is_shared else trials


def _bought(appid: str, pack: MovedPack, time_ms: int) -> CloudEvent:
    """The purchase or assignment of a pack, as it was in the old app."""
    terms = pack.terms
    same: dict[str, Any] = {
        "appid": appid,
        "pack_id": pack.pack_id,
        "capability": pack.capability,
        "calls": pack.calls,
        "validity_days": terms["validity_days"],
        "price_micro_yuan": terms["price_micro_yuan"],
        "paid_at": from_ms(terms["paid_at_ms"]),
        "order_id": terms.get("order_id", ""),
        "starts_at": from_ms(terms["starts_at_ms"]),
        "price_basis": terms.get("price_basis", "paid"),
        "used_before": pack.used,
        "time": from_ms(time_ms),
    }
    if "assigned_at_ms" in terms:
        return pack_assigned(assigned_at=from_ms(terms["assigned_at_ms"]), **same)
    return pack_purchased(**same)
