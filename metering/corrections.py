"""Corrections: facts that void or change earlier facts of their app, by event id (rule 15).

The stream only notes them, and makes the app unsettled: a settlement works out what the facts give as they
should have been (`metering.corrected_facts`). They may come before the facts that they are about.
"""

from typing import Final, Literal

from metering.accounts import Account
from metering.events import AnyEvent, Authorization, Corrected, Purchased, Refunded, Registered
from metering.journal import Journal, details_json
from metering.lateness import mark
from metering.rules import Rules
from metering.times import to_ms

EARLY_CORRECTIONS_MAX: Final = 100
"""Limit of corrections of one app whose facts are not known; a further one is refused."""

CorrectionReason = Literal["void", "set"]
CorrectionRefusal = Literal["too_many_waiting"]


def correct(
    account: Account,
    event: Corrected,
    time_ms: int,
    journal: Journal,
    rules: Rules,
    *,
    is_known: bool,
    may_be_forgotten: bool,
) -> None:
    """Note a correction, and make its app unsettled.

    `is_known` tells whether the id of its fact is remembered, `may_be_forgotten` whether ids were forgotten:
    an id that is not remembered is no reason to refuse the correction then.
    """
    data = event.data
    refusal: CorrectionRefusal | None = None
    if not is_known and data.event_id not in account.early_corrections:
        if len(account.early_corrections) < EARLY_CORRECTIONS_MAX:
            account.early_corrections = (*account.early_corrections, data.event_id)
        elif not may_be_forgotten:
            refusal = "too_many_waiting"
    reason: CorrectionReason = "void" if data.set is None else "set"
    said = {} if data.set is None else {"set": data.set}
    journal.add(
        "correction_refused" if refusal else "correction",
        time_ms,
        account.appid,
        event_id=event.id,
        reason=refusal or reason,
        source=event.source,
        details=details_json(**said, event_id=data.event_id, note=data.note),
    )
    if refusal is None:
        account.is_corrected = True
        mark(account, account.clock_ms, "correction", event.id, event.source, journal, rules)


def mark_corrected(account: Account, event: AnyEvent, time_ms: int, journal: Journal, rules: Rules) -> None:
    """Make an app unsettled by a fact that came after its correction, or may depend on corrected ones."""
    is_awaited = event.id in account.early_corrections
    if isinstance(event, Authorization) and not is_awaited:
        return
    if is_awaited:
        account.early_corrections = tuple(each for each in account.early_corrections if each != event.id)
    elif not isinstance(event, (Purchased, Refunded, Registered)):
        return
    if isinstance(event, Purchased):
        data = event.data
        time_ms = min(time_ms, to_ms(event.had_from), to_ms(data.starts_at or event.had_from))
    mark(account, time_ms, "correction", event.id, event.source, journal, rules)
