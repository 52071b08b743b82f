"""A seeded half-year of eight apps, metered by the rules, with the platform's own count of their calls."""

import json
from functools import cache
from typing import Final

from msgspec.structs import replace

from metering.events import CAPABILITIES
from metering.ledger import CALL_KINDS, Entry
from metering.partition import meter
from metering.partition_state import PartitionState
from metering.records import Record
from metering.rules import Rules
from metering.times import DAY_MS, format_time
from producers.simulate import TrafficPlan, simulate

START_MS: Final = 1_704_038_400_000
"""2024-01-01T00:00:00 in Shanghai."""

DAYS: Final = 182
STORES: Final = ("store-01", "00210", "门店三", "")
"""Stores of the calls on the pages, with a name of digits and an empty one."""

PLATFORM_AHEAD: Final = 3
"""Number of calls that the platform counts more than we do of the first app's trial quota."""

PLAN: Final = TrafficPlan(
    start_ms=START_MS, duration_ms=DAYS * DAY_MS, taps=14_000, seed=8, apps=8, skew=0.8, careless_share=0.5,
    refund_share=0.3, late_share=0.02,
)  # fmt: skip


def simulated_entries() -> tuple[Entry, ...]:
    """The ledger entries: of every kind that the cookbook asks about."""
    return simulated_half_year()[0]


@cache
def simulated_half_year() -> tuple[tuple[Entry, ...], PartitionState]:
    """The same entries, and the state of the apps after the last of them."""
    arrivals = list(simulate(PLAN))
    records = [
        Record(offset, arrival.arrives_ms, json.loads(arrival.value)["subject"].encode(), arrival.value)
        for offset, arrival in enumerate(arrivals)
    ]
    metered = meter(PartitionState(0), records, Rules())
    end_ms = START_MS + DAYS * DAY_MS
    observed = meter(metered.state, _observations(metered.entries, len(records), end_ms), Rules())
    if metered.dead_letters or observed.dead_letters:
        raise RuntimeError("the simulated half-year has records that are no events")
    return (*metered.entries, *observed.entries), observed.state


def entries_for_pages() -> list[Entry]:
    """The same with calls in several stores, and some records that are no events."""
    entries = [
        replace(entry, store=STORES[entry.offset % len(STORES)]) if entry.event_id else entry
        for entry in simulated_entries()
    ]
    first = entries[-1].offset + 1
    late_ms = START_MS + DAYS * DAY_MS - 1
    return entries + [
        Entry(
            first + n, 0, "rejection", late_ms, late_ms, "", reason=reason, details='{"sentence":"no event"}'
        )
        for n, reason in enumerate(("bad_json", "bad_json", "unknown_type"))
    ]


def _observations(entries: list[Entry], first: int, end_ms: int) -> list[Record]:
    """The platform's count per app: of its trial, and of one pack that was charged."""
    records: list[Record] = []
    for appid in sorted({entry.appid for entry in entries}):
        trial = sum(entry.calls for entry in entries if (entry.appid, entry.kind) == (appid, "trial_charge"))
        used = trial + (0 if records else PLATFORM_AHEAD)
        records.append(_observation(appid, "", used, first + len(records), end_ms))
        packs = [entry for entry in entries if (entry.appid, entry.kind) == (appid, "charge")]
        if packs:
            pack_id, capability = packs[-1].pack_id, packs[-1].capability
            used = sum(entry.calls for entry in packs if entry.pack_id == pack_id)
            records.append(
                _observation(appid, pack_id, used, first + len(records), end_ms, capability=capability)
            )
    return records


def _observation(
    appid: str, pack_id: str, used: int, offset: int, end_ms: int, *, capability: str = CAPABILITIES[0]
) -> Record:
    event = {
        "specversion": "1.0", "id": f"observation-{offset}", "source": "/platform", "subject": appid,
        "type": "platform.usage_observed", "time": format_time(end_ms),
        "data": {"capability": capability, "pack_id": pack_id, "used": used, "size": 1_000},
    }  # fmt: skip
    return Record(offset, end_ms, appid.encode(), json.dumps(event).encode())


def is_call(entry: Entry) -> bool:
    """Return true if the entry moves calls of succeeded authorizations."""
    return entry.kind in CALL_KINDS
