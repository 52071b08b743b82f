"""Openings: trial quotas and packs of which calls were used before this log (rule 16).

An opening has effect from the beginning of its quota. It is told by a person (`account.opened`, a purchase
with `used_before`), or taken from the platform's own count where the log has no call yet.
"""

from typing import Final, Literal, NamedTuple

from metering import alert_rules, lateness
from metering.accounts import Account, CapabilityAccount
from metering.charges import set_aside
from metering.early_facts import EarlyObservation
from metering.events import Capability, Opened, Purchased, UsageObserved
from metering.journal import Journal
from metering.milestones import schedule
from metering.packs import Pack
from metering.rules import Rules

EARLY_OBSERVATIONS_MAX: Final = 100
"""Limit of counts of one app that wait for the purchase of their pack; a further one is only recorded."""

OpeningReason = Literal["stated", "observed", "migrated"]
OpeningRefusal = Literal["older", "does_not_fit", "capability_missing"]


class _Opening(NamedTuple):
    """The calls of a quota that were used before this log, as of a time, and the event that tells it."""

    used: int
    time_ms: int
    event_id: str
    source: str
    reason: OpeningReason

    def is_newer(self, time_ms: int, used: int) -> bool:
        """True if it holds against one of that time and count; of the same time the greater count holds."""
        return (self.time_ms, self.used) > (time_ms, used)


def open_trial(account: Account, event: Opened, time_ms: int, journal: Journal, rules: Rules) -> None:
    """Open a trial quota as a person states it, also after calls were taken from it."""
    shared = rules.trial_scope == "account"
    capability: Capability | Literal[""] = "" if shared else event.data.capability or ""
    holder = account if capability == "" else account.capabilities[capability]
    used = event.data.trial_used
    refusal: OpeningRefusal | None = None
    if not shared and capability == "":
        refusal = "capability_missing"
    elif (time_ms, used) < (holder.trial_opened_ms, holder.trial_used_before):
        refusal = "older"
    elif used - holder.trial_used_before > holder.trial:
        refusal = "does_not_fit"
    if refusal is None:
        _open_trial(
            account, capability, _Opening(used, time_ms, event.id, event.source, "stated"), journal, rules
        )
        return
    journal.add(
        "opening_refused",
        time_ms,
        account.appid,
        capability,
        event_id=event.id,
        remaining=holder.trial,
        reason=refusal,
        source=event.source,
    )


def open_bought(account: Account, pack: Pack, event: Purchased, time_ms: int, journal: Journal) -> None:
    """Take calls from a new pack: those that its purchase states, or those of a count that waited for it."""
    capability, used = event.data.capability, event.data.used_before
    opening = None
    if used:
        opening = _Opening(used, time_ms, event.id, event.source, "stated")
    waiting = account.take_early_observation(pack.pack_id)
    if (
        waiting is not None
        and waiting.capability == capability
        and (opening is None or (waiting.time_ms, waiting.used) > (opening.time_ms, opening.used))
    ):
        opening = _Opening(waiting.used, waiting.time_ms, waiting.event_id, waiting.source, "observed")
    if opening is not None:
        _book(account, capability, pack, opening, journal)


def open_observed(
    account: Account, event: UsageObserved, time_ms: int, journal: Journal, rules: Rules
) -> None:
    """Take the platform's count of a quota for what was used before this log, if that has no call yet.

    Of several counts from before the first call, the one of the latest time holds.
    """
    data = event.data
    capability_account = account.capabilities[data.capability]
    if data.covers != "quota" or capability_account.has_called:
        return
    opening = _Opening(data.used, time_ms, event.id, event.source, "observed")
    if not data.pack_id:
        _observe_trial(account, data.capability, opening, journal, rules)
        return
    pack = _find(capability_account, data.pack_id)
    if pack is not None:
        _observe_pack(account, data.capability, pack, opening, journal, rules)
    elif not _is_known(account, data.pack_id):
        _wait(account, data.capability, data.pack_id, opening)


def _observe_trial(
    account: Account, capability: Capability, opening: _Opening, journal: Journal, rules: Rules
) -> None:
    shared = rules.trial_scope == "account"
    holder = account if shared else account.capabilities[capability]
    counted = rules.trial_calls - holder.trial - holder.trial_used_before
    opening = opening._replace(used=min(opening.used, rules.trial_calls))
    if not counted and opening.is_newer(holder.trial_opened_ms, holder.trial_used_before):
        _open_trial(account, "" if shared else capability, opening, journal, rules)


def _open_trial(
    account: Account, capability: Capability | Literal[""], opening: _Opening, journal: Journal, rules: Rules
) -> None:
    holder = account if capability == "" else account.capabilities[capability]
    moved = opening.used - holder.trial_used_before
    holder.trial -= moved
    holder.trial_used_before = opening.used
    holder.trial_opened_ms = opening.time_ms
    shared_by = account.capabilities if capability == "" else (capability,)
    if holder.trial == 0 and any(account.capabilities[each].has_called for each in shared_by):
        lateness.end_of_trial(account, [account.capabilities[each] for each in shared_by], 0)
    _add(account, capability, opening, journal, moved=moved, remaining=holder.trial)
    lateness.mark_late_opening(account, opening.event_id, opening.source, journal, rules, grown=moved < 0)
    for each in shared_by:
        _check_levels(account, each, opening, journal, rules, moved=moved)


def _observe_pack(
    account: Account,
    capability: Capability,
    pack: Pack,
    opening: _Opening,
    journal: Journal,
    rules: Rules,
) -> None:
    opening = opening._replace(used=min(opening.used, pack.calls))
    counted = pack.calls - pack.remaining - pack.used_before
    if counted or not opening.is_newer(pack.opened_ms, pack.used_before):
        return
    capability_account = account.capabilities[capability]
    is_active = pack.covers(account.clock_ms)
    if pack in capability_account.spent:
        capability_account.reopen(pack)
        capability_account.active_size += pack.calls if is_active else 0
    moved = _book(account, capability, pack, opening, journal)
    capability_account.active_remaining -= moved if is_active else 0
    if pack.remaining == 0:
        set_aside(account, capability_account, pack)
    if moved:
        lateness.mark_observed(account, pack, opening.event_id, opening.source, journal, rules)
    _check_levels(account, capability, opening, journal, rules, moved=moved)
    schedule(account, rules)


def _book(account: Account, capability: Capability, pack: Pack, opening: _Opening, journal: Journal) -> int:
    """Set what was used of a pack before this log, and return by how many calls that is more than it was."""
    used = min(opening.used, pack.calls)
    moved = used - pack.used_before
    pack.remaining -= moved
    pack.used_before, pack.opened_ms = used, opening.time_ms
    _add(account, capability, opening, journal, moved=moved, remaining=pack.remaining, pack_id=pack.pack_id)
    return moved


def _add(
    account: Account,
    capability: Capability | Literal[""],
    opening: _Opening,
    journal: Journal,
    *,
    moved: int,
    remaining: int,
    pack_id: str = "",
) -> None:
    """Add the entry of an opening; a count that changes nothing has none beside its own."""
    if moved or opening.reason == "stated":
        journal.add(
            "opening",
            opening.time_ms,
            account.appid,
            capability,
            event_id=opening.event_id,
            calls=moved,
            pack_id=pack_id,
            remaining=remaining,
            reason=opening.reason,
            source=opening.source,
        )


def _check_levels(
    account: Account,
    capability: Capability,
    opening: _Opening,
    journal: Journal,
    rules: Rules,
    *,
    moved: int,
) -> None:
    if moved < 0:
        alert_rules.check_recovery(account, capability, opening.time_ms, journal, rules)
    alert_rules.check_opened(account, capability, opening.time_ms, journal, rules)


def _find(capability_account: CapabilityAccount, pack_id: str) -> Pack | None:
    packs = (*capability_account.open, *capability_account.spent)
    return next((pack for pack in packs if pack.pack_id == pack_id), None)


def _is_known(account: Account, pack_id: str) -> bool:
    return any(pack.pack_id == pack_id for each in account.capabilities.values() for pack in each.packs)


def _wait(account: Account, capability: Capability, pack_id: str, opening: _Opening) -> None:
    """Keep a count until the purchase of its pack is recorded."""
    earlier = next((each for each in account.early_observations if each.pack_id == pack_id), None)
    if earlier is not None and not opening.is_newer(earlier.time_ms, earlier.used):
        return
    others = tuple(each for each in account.early_observations if each is not earlier)
    if len(others) < EARLY_OBSERVATIONS_MAX:
        count = EarlyObservation(
            pack_id, capability, opening.used, opening.time_ms, opening.event_id, opening.source
        )
        account.early_observations = (*others, count)
