"""A check of a ledger by a count that shares no code with the rules.

It knows the traffic of the benchmarks only: purchases first, all at one time, then taps, all at another.
Taps of an app are told apart by their id; each takes the trial quota first and then the pack that expires
first. So the n-th different tap of an app can only have one line.
"""

import json
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from itertools import accumulate, zip_longest
from typing import Any, NamedTuple

TRIAL_CALLS = 1_000
CALLS = frozenset({"charge", "trial_charge", "free", "exempt", "uncovered"})
KINDS = CALLS | {"duplicate", "purchase"}
"""The lines that are compared: exactly one of these comes of each event of the traffic, none of a tick."""

COLUMNS = ("offset", "kind", "appid", "event_id", "calls", "amount_micro_yuan", "pack_id", "remaining")


class EntryFields(NamedTuple):
    """The fields of a ledger entry that are compared."""

    offset: int
    kind: str
    appid: str
    event_id: str
    calls: int
    amount_micro_yuan: int
    pack_id: str
    remaining: int


class _Pack(NamedTuple):
    days: int
    pack_id: str
    calls: int
    price_micro_yuan: int


class _App:
    """An app's packs in the order in which they are used up, and the taps that it had."""

    def __init__(self) -> None:
        self.packs: list[_Pack] = []
        self.used_up_after: list[int] = []
        self.ids: set[str] = set()

    def buy(self, pack: _Pack) -> None:
        self.packs = sorted([*self.packs, pack])
        self.used_up_after = [TRIAL_CALLS, *(pack.calls for pack in self.packs)]
        self.used_up_after = list(accumulate(self.used_up_after))

    def tap(self) -> tuple[str, int, str, int]:
        """Kind, money, pack and remainder of the newest tap; the ids count them."""
        number = len(self.ids)
        if number <= TRIAL_CALLS or not self.packs:
            return "trial_charge", 0, "", TRIAL_CALLS - number
        at = bisect_right(self.used_up_after, number - 1) - 1
        pack = self.packs[at]
        nth = number - self.used_up_after[at]
        price = pack.price_micro_yuan
        amount = price * nth // pack.calls - price * (nth - 1) // pack.calls
        return "charge", amount, pack.pack_id, pack.calls - nth


def expected(log: Iterable[tuple[int, bytes]]) -> Iterator[EntryFields]:
    """The lines that must come of a partition's events, given as offset and value, in their order."""
    apps: dict[str, _App] = {}
    for offset, value in log:
        event = json.loads(value)
        if event["type"] == "clock.ticked":
            continue
        appid, event_id, data = event["subject"], event["id"], event["data"]
        app = apps.setdefault(appid, _App())
        if event["type"] == "pack.purchased":
            calls, price = data["calls"], data["price_micro_yuan"]
            app.buy(_Pack(data["validity_days"], data["pack_id"], calls, price))
            yield EntryFields(offset, "purchase", appid, event_id, calls, price, data["pack_id"], calls)
        elif event_id in app.ids:
            yield EntryFields(offset, "duplicate", appid, event_id, 0, 0, "", 0)
        else:
            app.ids.add(event_id)
            kind, amount, pack_id, remaining = app.tap()
            yield EntryFields(offset, kind, appid, event_id, 1, amount, pack_id, remaining)


def published(columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> Iterator[EntryFields]:
    """The lines of a ledger record that are compared."""
    places = [columns.index(name) for name in COLUMNS]
    for row in rows:
        line = EntryFields(*(row[place] for place in places))
        if line.kind in KINDS:
            yield line


def difference(wanted: Iterable[EntryFields], found: Iterable[EntryFields]) -> str | None:
    """A sentence about the first wrong entry; None if there is none."""
    for want, have in zip_longest(wanted, found):
        if want != have:
            return f"expected {want}, found {have}"
    return None
