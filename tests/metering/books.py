"""Checks of a ledger that hold whatever was settled or corrected in it (rules 8, 14 and 15)."""

import json
from collections import Counter, defaultdict
from collections.abc import Iterable

from metering.ledger import CALL_KINDS, Entry
from tests.metering.building import DAY_MS, HOUR_MS
from tests.metering.model import ms

OF_PACKS = {"purchase": 1, "opening": -1, "charge": -1, "lapse": -1, "refund": -1}
OF_TRIALS = {"trial_grant": 1, "opening": -1, "trial_charge": -1}
CALLS = {*CALL_KINDS, "corrected"}

Group = tuple[object, ...]


def assert_books(values: Iterable[bytes], entries: Iterable[Entry]) -> None:
    """Every call of a log is somewhere, settlements add up to nothing, and running balances are right."""
    entries = list(entries)
    arrived = Counter(_group_of_call(value) for value in values if b".succeeded" in value)
    assert _calls(entries) == {group: calls for group, calls in arrived.items() if calls}
    for offset, calls in _settled(entries).items():
        assert calls == 0, f"the settlement at offset {offset} adds {calls} calls"
    assert_running_balances(entries)


def assert_running_balances(entries: Iterable[Entry]) -> None:
    """Require that each quota holds from none to all of its calls, and that settled entries say how many."""
    entries = list(entries)
    shared = any(entry.kind == "trial_grant" and not entry.capability for entry in entries)
    given: defaultdict[Group, int] = defaultdict(int)
    held: defaultdict[Group, int] = defaultdict(int)
    for entry in entries:
        of_quota = OF_PACKS if entry.pack_id else OF_TRIALS
        if entry.kind not in of_quota:
            continue
        capability = "" if shared and not entry.pack_id else entry.capability
        quota = (entry.appid, capability, entry.pack_id)
        calls = of_quota[entry.kind] * entry.calls
        held[quota] += calls
        given[quota] += calls if entry.kind in {"purchase", "trial_grant"} else 0
        assert 0 <= held[quota] <= given[quota], f"{entry} leaves {held[quota]} of {given[quota]}"
        if entry.reason == "settled":
            assert entry.remaining == held[quota], f"{entry} leaves {held[quota]}"


def _calls(entries: Iterable[Entry]) -> dict[Group, int]:
    """The calls of each day and place, wherever they were taken from, with those that were corrected away."""
    found: Counter[Group] = Counter()
    for entry in entries:
        if entry.kind in CALLS:
            day = (entry.time_ms + 8 * HOUR_MS) // DAY_MS
            found[entry.appid, entry.capability, day, entry.scene, entry.store, entry.env] += entry.calls
    return {group: calls for group, calls in found.items() if calls}


def _settled(entries: Iterable[Entry]) -> Counter[int]:
    sums: Counter[int] = Counter()
    for entry in entries:
        if entry.kind in CALLS and entry.reason == "settled":
            sums[entry.offset] += entry.calls
    return sums


def _group_of_call(value: bytes) -> Group:
    event = json.loads(value)
    data = event["data"]
    day = (ms(event["time"]) + 8 * HOUR_MS) // DAY_MS
    places = (data.get(name, "") for name in ("scene", "store", "env"))
    return event["subject"], data["capability"], day, *places
