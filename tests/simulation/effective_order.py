"""The facts of a log in the order of their effective time, for a model that decides in that order."""

import json
from collections import Counter
from collections.abc import Sequence
from typing import Any

from metering.ledger import Entry
from metering.records import Record
from tests.metering.as_corrected import USE_CORRECTED, as_corrected
from tests.metering.building import text_of
from tests.metering.model import ms
from tests.metering.settler import RANKS, effective_ms
from tests.simulation.events import RULES

_NO_FACTS = frozenset({"duplicate", "rejection"})
_PURCHASES = frozenset({"pack.purchased", "pack.assigned"})
_OPENINGS = ("account.opened", "platform.usage_observed")
_SETTLED = "account.settled"
_LAST = 3
"""The rank of calls and of whatever else comes after the facts that decide them."""

Event = dict[str, Any]


def without_settlements(log: Sequence[Record]) -> list[Record]:
    """The log as it would be without settlers."""
    return [record for record in log if f'"{_SETTLED}"'.encode() not in (record.value or b"")]


def effective_order(log: Sequence[Record], entries: Sequence[Entry]) -> list[bytes]:
    """The facts of a log that `entries` count, as corrected, in the order of their effective time.

    A purchase takes effect when it is paid or starts, and what was used before the log from the beginning on.
    That an event arrived moved the clock of its app all the same, as thresholds that are set do here.
    """
    no_facts = {entry.offset for entry in entries if entry.kind in _NO_FACTS}
    arrived = [
        json.loads(record.value or b"")
        for record in without_settlements(log)
        if record.offset not in no_facts
    ]
    trials, observed = _opened(entries)
    facts = [((ms(event["time"]), _LAST, f"{event['id']} arrived"), _seen(event)) for event in arrived]
    for event in as_corrected(arrived, RULES.billing_start_ms):
        if event["type"] in _OPENINGS:
            continue
        time_ms = effective_ms(event, RULES.billing_start_ms)
        if event["type"] in _PURCHASES:
            used = observed.get((event["subject"], event["data"]["pack_id"]))
            if used is not None and USE_CORRECTED not in event:
                event["data"]["used_before"] = min(used, event["data"]["calls"])
            if event["type"] == "pack.assigned":
                event["data"].setdefault("assigned_at", event["time"])
        facts.append(
            ((time_ms, RANKS.get(event["type"], _LAST), event["id"]), {**event, "time": text_of(time_ms)})
        )
    facts.sort(key=lambda fact: fact[0])
    openings = [_opening(appid, used) for appid, used in trials.items() if used]
    return [json.dumps(event).encode() for event in (*openings, *(event for _, event in facts))]


def _seen(event: Event) -> Event:
    """The arrival of an event, which does nothing but move a clock."""
    if event["type"] == "clock.ticked":
        return event
    return {**event, "type": "account.alerting_set", "id": f"{event['id']} arrived", "data": {}}


def _opened(entries: Sequence[Entry]) -> tuple[Counter[str], dict[tuple[str, str], int]]:
    """The calls that were used before the log: of trial quotas, and of packs by the platform's count."""
    trials: Counter[str] = Counter()
    packs: Counter[tuple[str, str]] = Counter()
    observed = set()
    for entry in entries:
        if entry.kind != "opening" or entry.reason == "settled":
            continue
        if not entry.pack_id:
            trials[entry.appid] += entry.calls
            continue
        packs[entry.appid, entry.pack_id] += entry.calls
        if entry.reason == "observed":
            observed.add((entry.appid, entry.pack_id))
    return trials, {pack: packs[pack] for pack in observed}


def _opening(appid: str, used: int) -> Event:
    """The trial quota that was used before the log."""
    return {
        "id": "opening",
        "subject": appid,
        "type": "account.opened",
        "time": text_of(1),
        "data": {"trial_used": used},
    }
