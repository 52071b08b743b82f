"""Sentences that explain what became of a purchase, an assignment or a refund (rules 7, 10 and 16)."""

from typing import Any, Final

import msgspec

from metering.ledger import Entry
from metering.times import shanghai_time

_REFUSALS: Final = {
    "known_pack": "the app has, or had, a pack of that id",
    "too_many_packs": "the account holds as many packs as it can",
    "unknown_pack": "the app never had that pack, and too many refunds wait for their purchase",
    "already_waiting": "another refund of it waits for the purchase of the pack",
    "already_refunded": "the pack was refunded before",
    "lapsed": "the pack has lapsed",
    "used": "calls of the pack have been used",
    "after_7_days": "it was paid, or assigned, more than 7 days before",
}


def why_added(entry: Entry, *, taken_over: int, opened: int) -> str:
    """The sentence of a pack that was bought or assigned."""
    assigned_ms = _said(entry).get("assigned_at_ms")
    assigned = "" if assigned_ms is None else f", which an agency assigned on {shanghai_time(assigned_ms)},"
    over = f" and took over {taken_over:,} uncovered calls" if taken_over else ""
    before = f", {opened:,} of which were used before this log," if opened else ""
    return f"Pack {entry.pack_id} of {entry.calls:,} calls{assigned}{before} was added{over}."


def why_given_back(entry: Entry) -> str:
    """The sentence of a refund or cancellation that was given, or that the platform did."""
    said = _said(entry)
    cancels = "cancels" in said
    if "by" not in said:
        had = "assigned" if cancels else "paid"
        return f"Pack {entry.pack_id} was given back: it was untouched and {had} within 7 days."
    act = "cancelled the assignment of" if cancels else "took back"
    marked = f" A request would have been refused: {_REFUSALS[entry.reason]}." if entry.reason else ""
    return f"The platform {act} pack {entry.pack_id}, with the {entry.calls:,} calls that it held.{marked}"


def why_refused(entry: Entry) -> str:
    """The sentence of a purchase or refund that was refused."""
    return f"The {_act(entry)} of pack {entry.pack_id} was refused: {_REFUSALS[entry.reason]}."


def why_waiting(entry: Entry) -> str:
    """The sentence of a refund that waits for its pack."""
    return f"Pack {entry.pack_id} has not been recorded yet: its {_act(entry)} waits for it."


def _act(entry: Entry) -> str:
    said = _said(entry)
    if "cancels" in said:
        return "cancellation"
    return "assignment" if "assigned_at_ms" in said else entry.kind.partition("_")[0]


def _said(entry: Entry) -> dict[str, Any]:
    said: dict[str, Any] = msgspec.json.decode(entry.details or "{}")
    return said
