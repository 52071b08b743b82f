"""Packs that are in two apps at once (rule 16): each app is metered by itself, so no entry can tell."""

import heapq
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Final

import msgspec
from msgspec import Struct

from metering.ledger import Entry

SHARED_MAX: Final = 1_000
"""Limit of shared packs that a report names."""


class SharedPack(Struct, frozen=True):
    """A pack that two apps had at the same time: from the later beginning until the earlier end."""

    pack_id: str
    appids: tuple[str, str]
    from_ms: int
    until_ms: int


@dataclass(slots=True)
class _Stay:
    """The stay of a pack in an app: from its effective time until its expiry, or until it was given back."""

    appid: str
    from_ms: int
    expires_ms: int
    given_back: int = 0
    until_ms: int | None = None

    @property
    def end_ms(self) -> int:
        return self.expires_ms if self.until_ms is None else min(self.until_ms, self.expires_ms)

    def refund(self, entry: Entry) -> None:
        """Take up a refund of it, or what a settlement made of one."""
        self.given_back += entry.calls
        if entry.calls >= 0:
            self.until_ms = entry.time_ms
        elif not self.given_back:
            self.until_ms = None


def shared_packs(entries: Iterable[Entry]) -> list[SharedPack]:
    """The packs that two apps had at once, from the entries of purchases and refunds.

    Those of each app are in the order of their offsets.
    """
    stays: defaultdict[str, list[_Stay]] = defaultdict(list)
    current: dict[tuple[str, str], _Stay] = {}
    came: dict[tuple[str, str], int] = {}
    for entry in entries:
        key = (entry.appid, entry.pack_id)
        if entry.kind == "purchase" and entry.calls > 0:
            current[key] = _stay(entry)
            stays[entry.pack_id].append(current[key])
        elif entry.kind == "purchase" and key in current:
            # A settlement takes it back.
            stays[entry.pack_id].remove(current.pop(key))
        elif key in current:
            current[key].refund(entry)
            if entry.reason == "migrated":
                came[_terms(entry)["to"], entry.pack_id] = entry.time_ms
    for (appid, pack_id), time_ms in came.items():
        # The new app has the same pack, with its start, from the migration on.
        for stay in stays[pack_id]:
            if stay.appid == appid:
                stay.from_ms = max(stay.from_ms, time_ms)
    found = (shared for pack_id in sorted(stays) for shared in _overlaps(pack_id, stays[pack_id]))
    return heapq.nsmallest(SHARED_MAX, found, key=lambda each: (each.pack_id, each.from_ms, each.appids))


def _stay(entry: Entry) -> _Stay:
    terms = _terms(entry)
    had_ms = terms.get("assigned_at_ms", terms["paid_at_ms"])
    return _Stay(entry.appid, min(had_ms, terms["starts_at_ms"]), terms["expires_at_ms"])


def _terms(entry: Entry) -> dict[str, Any]:
    terms: dict[str, Any] = msgspec.json.decode(entry.details)
    return terms


def _overlaps(pack_id: str, stays: list[_Stay]) -> Iterator[SharedPack]:
    stays = sorted(stays, key=lambda each: (each.from_ms, each.appid))
    for place, first in enumerate(stays):
        for second in stays[place + 1 :]:
            if second.from_ms >= first.end_ms:
                break
            until_ms = min(first.end_ms, second.end_ms)
            if second.appid != first.appid and second.from_ms < until_ms:
                yield SharedPack(pack_id, (first.appid, second.appid), second.from_ms, until_ms)
