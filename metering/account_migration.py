"""Migrations: an app gets another appid, and what its packs and trial quota hold leaves it (rule 16).

The other app is in another partition, and gets its share by facts of its own. A pack that is recorded after
the migration, and was there before it, leaves as well (`Account.leaving`).
"""

from typing import Literal

from metering import lateness
from metering.accounts import Account
from metering.early_facts import EarlyRefund
from metering.events import Migrated
from metering.journal import Journal, details_json
from metering.openings import OpeningReason
from metering.purchases import take_back
from metering.rules import Rules

MigrationRefusal = Literal["already_migrated"]


def migrate(account: Account, event: Migrated, time_ms: int, journal: Journal, rules: Rules) -> None:
    """Let what an app holds leave it for another app, or refuse, as it has left already."""
    refusal: MigrationRefusal | None = None if account.migration is None else "already_migrated"
    journal.add(
        "migration_refused" if refusal else "migration",
        time_ms,
        account.appid,
        event_id=event.id,
        reason=refusal or "",
        source=event.source,
        details=details_json(to=event.data.to),
    )
    if refusal:
        return
    account.migration = EarlyRefund("", time_ms, event.id, event.source, by_platform=True, to=event.data.to)
    if time_ms <= lateness.newest_call_ms(account):
        lateness.mark(account, time_ms, "late_refund", event.id, event.source, journal, rules)
    _empty_trials(account, event, time_ms, journal)
    for capability, capability_account in account.capabilities.items():
        for pack in (*capability_account.open, *capability_account.spent):
            request = account.leaving(pack)
            if request is not None:
                take_back(account, capability, pack, request, journal, rules, time_ms=time_ms)


def _empty_trials(account: Account, event: Migrated, time_ms: int, journal: Journal) -> None:
    """Take what the trial quotas hold as used: it is used in the other app."""
    reason: OpeningReason = "migrated"
    for capability, left in account.trials.items():
        holder = account if capability == "" else account.capabilities[capability]
        if not left:
            continue
        holder.trial = 0
        holder.trial_used_before += left
        holder.trial_opened_ms = max(holder.trial_opened_ms, time_ms)
        shared_by = account.capabilities if capability == "" else (capability,)
        lateness.end_of_trial(account, [account.capabilities[each] for each in shared_by], time_ms)
        journal.add(
            "opening",
            time_ms,
            account.appid,
            capability,
            event_id=event.id,
            calls=left,
            reason=reason,
            source=event.source,
        )
