"""The sentences that explain decisions: why a record had the outcome that its entry says."""

from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

import msgspec

from metering.accounts import NEVER_MS, Account
from metering.ledger import Entry
from metering.pack_sentences import why_added, why_given_back, why_refused, why_waiting
from metering.rules import Rules
from metering.times import shanghai_date, shanghai_time


class Decision(NamedTuple):
    """The inputs of a sentence: the entry of the decision, the account before it, and circumstances."""

    entry: Entry
    account: Account
    rules: Rules
    seen_at_ms: int | None
    taken_over: int
    opened: int


def why(decision: Decision) -> str:
    """The sentence about a decision."""
    return _WHY[decision.entry.kind](decision)


def note_of_settlement(before: Account, entries: Sequence[Entry]) -> str:
    """The sentence about an app that was unsettled or is from this record on; otherwise empty."""
    marked = next((entry for entry in entries if entry.kind == "unsettled"), None)
    if marked is not None and marked.reason == "too_old":
        return "It came later than the settlement horizon allows: what it would have changed stays as it is."
    if marked is not None:
        return (
            f"The app is unsettled from {shanghai_date(marked.time_ms)} (Shanghai) on, until a settlement "
            "finds nothing left to move."
        )
    if before.unsettled_ms < NEVER_MS:
        return (
            f"The app was unsettled from {shanghai_date(before.unsettled_ms)} (Shanghai) on: what this says "
            "may have been settled otherwise since."
        )
    return ""


_UNCOVERED: Final = {
    "no_pack": "no pack was valid at its time",
    "exhausted": "the packs that were valid at its time held no calls any more",
    "too_late": "the pack that was valid at its time had lapsed when it arrived",
}

_OPENING_REFUSALS: Final = {
    "older": "a newer one, or a newer count of the platform, holds",
    "does_not_fit": "the quota does not hold that many calls any more",
    "capability_missing": "each capability has a trial quota of its own, and none was named",
}


_NOTICES: Final = {
    "": "it was handed over to be sent to the owner",
    "exempt": "it was not sent, because the app is exempt and charged nothing",
    "past": "it was not sent, because it arrived more than a day late",
}


def _why_duplicate(decision: Decision) -> str:
    first = f" at {shanghai_time(decision.seen_at_ms)}" if decision.seen_at_ms is not None else ""
    return f"Its id was seen{first}: it was counted then, and only then."


def _why_exempt(decision: Decision) -> str:
    account = decision.account
    owner = f"{account.entity_type}{f', {account.category}' if account.category else ''}"
    return f"The app is exempt ({owner}): its calls are counted and never charged."


def _why_opening(decision: Decision) -> str:
    calls, left = decision.entry.calls, decision.entry.remaining
    return f"{_signed(calls)} calls of the trial quota were used before this log; it holds {left:,} more."


def _why_observed(decision: Decision) -> str:
    if not decision.opened:
        return "What the platform itself counted was noted."
    return (
        f"What the platform itself counted was noted. As the log had no call yet, {_signed(decision.opened)} "
        "calls were used before it."
    )


def _signed(calls: int) -> str:
    return f"{-calls:,} fewer" if calls < 0 else f"{calls:,}"


def _why_registration(decision: Decision) -> str:
    how = "exempt" if decision.entry.reason == "exempt" else "charged"
    return f"The app's owner was registered; its calls are {how}."


_SETTLEMENT_REFUSALS: Final = {
    "overtaken": "the app was settled otherwise since it was worked out",
    "other_rules": "it was worked out by other rules than the log is metered by",
    "does_not_fit": "what came since it was worked out leaves no room for its moves",
    "not_following": "it was to book a difference to the platform's count, which the app does not follow",
}


def _why_agreement(decision: Decision) -> str:
    if msgspec.json.decode(decision.entry.details)["policy"] == "follow":
        return "From now on a difference to the platform's count that stays is booked."
    return "From now on a difference to the platform's count is shown, and not booked."


def _why_settlement(decision: Decision) -> str:
    said = msgspec.json.decode(decision.entry.details)
    if "follows" in said:
        return "The platform's count had differed for an hour: the difference was booked, at no store."
    number = said["moves"] + said["refunds"] + said.get("terms", 0)
    if not number:
        return "The app was worked out in the order of effective time, and nothing differed."
    return (
        "The app was worked out in the order of effective time: "
        f"{number:,} corrections bring it to what the same facts give in that order."
    )


def _why_correction(decision: Decision) -> str:
    said = msgspec.json.decode(decision.entry.details)
    told = f" Note: {said['note']}" if said["note"] else ""
    if "set" not in said:
        return f"Event {said['event_id']} is void: it is taken as if it had never been.{told}"
    fields = ", ".join(f"{name} = {value}" for name, value in said["set"].items())
    return f"Event {said['event_id']} is taken as if it had said {fields}.{told}"


def _why_correction_refused(decision: Decision) -> str:
    said = msgspec.json.decode(decision.entry.details)
    return (
        f"The correction of event {said['event_id']} was refused: the app has no such event, and too many of "
        "its corrections wait for theirs."
    )


def _why_settlement_refused(decision: Decision) -> str:
    why = f"The settlement was not applied: {_SETTLEMENT_REFUSALS[decision.entry.reason]}."
    return why if "follows" in msgspec.json.decode(decision.entry.details) else f"{why} Another will follow."


_WHY: Final[dict[str, Callable[[Decision], str]]] = {
    "charge": lambda decision: (
        f"Pack {decision.entry.pack_id} took the call: of the packs that were valid at its time and held "
        f"calls, it expires first."
    ),
    "trial_charge": lambda decision: (
        f"The trial quota took the call, before any pack; it holds {decision.entry.remaining:,} more."
    ),
    "free": lambda decision: (
        f"The call was before billing began ({shanghai_time(decision.rules.billing_start_ms)}): it is free."
    ),
    "exempt": _why_exempt,
    "uncovered": lambda decision: (
        f"Nothing could cover the call: the trial quota is used up, and {_UNCOVERED[decision.entry.reason]}."
    ),
    "denied": lambda decision: f"The user refused (errno {decision.entry.errno}): counted, never charged.",
    "failed": lambda decision: (
        f"The component failed (errno {decision.entry.errno}): counted, never charged."
    ),
    "duplicate": _why_duplicate,
    "purchase": lambda decision: why_added(
        decision.entry, taken_over=decision.taken_over, opened=decision.opened
    ),
    "purchase_refused": lambda decision: why_refused(decision.entry),
    "refund": lambda decision: why_given_back(decision.entry),
    "refund_refused": lambda decision: why_refused(decision.entry),
    "refund_waiting": lambda decision: why_waiting(decision.entry),
    "registration": _why_registration,
    "alerting_set": lambda _decision: "The app's alert thresholds were set.",
    "migration": lambda decision: (
        f"The app got another appid, {msgspec.json.decode(decision.entry.details)['to']}: what its packs and "
        "its trial quota held has left."
    ),
    "migration_refused": lambda _decision: "The app had got another appid before, and what it held has left.",
    "agreement_set": _why_agreement,
    "routing_set": lambda decision: (
        f"The routing policy of {decision.entry.capability} was set: which members are sent to WeChat."
    ),
    "charge_notice": lambda decision: f"A charge notice was asked for: {_NOTICES[decision.entry.reason]}.",
    "opening": _why_opening,
    "opening_refused": lambda decision: (
        f"The opening of the trial quota was refused: {_OPENING_REFUSALS[decision.entry.reason]}."
    ),
    "usage_observed": _why_observed,
    "correction": _why_correction,
    "correction_refused": _why_correction_refused,
    "settlement": _why_settlement,
    "settlement_refused": _why_settlement_refused,
}
"""A sentence for each kind of entry that is the outcome of an event."""
