"""The ledger as the settler reads it, in memory: the same answers as from ClickHouse."""

import json
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from metering.ledger import Entry
from metering.settlement_facts import CallFact, LedgerGroup
from metering.times import HOUR_MS
from sinks.settler.app_entries import AppEntries
from sinks.settler.following import FollowedDifference, FollowingApp
from sinks.settler.ledger import (
    CALL_KINDS,
    FACT_KINDS,
    SETTLEMENT_KINDS,
    AppScope,
    UnsettledApp,
    offset_of_end,
)

CALLS_AT_ONCE = 3
_NEEDED = {*CALL_KINDS, *FACT_KINDS}
Row = tuple[Any, ...]
"""Source partition, then the fields of an entry."""


class MemoryLedger:
    """Stands in for `sinks.settler.ledger.SettlerLedger`; `rows` returns those of the table at a query."""

    def __init__(self, rows: Callable[[], Sequence[Row]]) -> None:
        self._rows = rows

    def unsettled(self) -> list[UnsettledApp]:
        return unsettled_apps(self._rows())

    def complete_through(self, partition: int) -> int:
        of_partition = [row for row in self._rows() if row[0] == partition]
        if not of_partition:
            return -1
        last = Entry(*max(of_partition, key=_place)[1:])
        return offset_of_end(last.kind, last.reason, last.details, last.offset)

    def counts(self, partition: int, as_of: int, appids: Sequence[str]) -> dict[str, int]:
        entries = self._of_apps(partition, as_of, appids)
        return {appid: len(of_app) for appid, of_app in entries.items() if of_app}

    def entries(self, partition: int, as_of: int, appids: Sequence[str]) -> dict[str, list[Entry]]:
        return self._of_apps(partition, as_of, appids)

    def count(self, scope: AppScope) -> int:
        return self._app(scope).count(scope)

    def facts(self, scope: AppScope) -> list[Entry]:
        return self._app(scope).facts(scope)

    def used_before(self, scope: AppScope) -> list[tuple[str, str, str, int]]:
        return self._app(scope).used_before(scope)

    def sums(self, scope: AppScope, most: int) -> dict[LedgerGroup, int]:
        return self._app(scope).sums(scope, most)

    def calls(self, scope: AppScope) -> Iterator[list[CallFact]]:
        (calls,) = self._app(scope).calls(scope)
        for at in range(0, len(calls), CALLS_AT_ONCE):
            yield calls[at : at + CALLS_AT_ONCE]
            self._rows()

    def calls_of(self, scope: AppScope, event_ids: Sequence[str]) -> list[tuple[CallFact, int]]:
        return self._app(scope).calls_of(scope, event_ids)

    def _of_apps(self, partition: int, as_of: int, appids: Sequence[str]) -> dict[str, list[Entry]]:
        found: dict[str, list[Entry]] = {appid: [] for appid in appids}
        for row in sorted(self._rows(), key=_place):
            entry = Entry(*row[1:])
            if row[0] == partition and entry.offset <= as_of and entry.kind in _NEEDED:
                found.get(entry.appid, []).append(entry)
        return found

    def _app(self, scope: AppScope) -> AppEntries:
        entries = self._of_apps(scope.partition, scope.as_of, [scope.appid])
        return AppEntries(scope.as_of, entries[scope.appid])

    def following(self) -> list[FollowingApp]:
        policies: dict[str, str] = {}
        newest: dict[str, str] = {}
        for row in sorted(self._rows(), key=_place):
            entry = Entry(*row[1:])
            said = json.loads(entry.details or "{}")
            if entry.kind == "agreement_set":
                policies[entry.appid] = said["policy"]
            elif entry.kind in SETTLEMENT_KINDS and "follows" in said and entry.reason != "overtaken":
                newest[entry.appid] = said["follows"]
        return [
            FollowingApp(appid, 0, newest.get(appid, ""))
            for appid, said in policies.items()
            if said == "follow"
        ]

    def newest_settlements(self) -> dict[str, int]:
        entries = [Entry(*row[1:]) for row in sorted(self._rows(), key=_place)]
        return {entry.appid: entry.offset for entry in entries if entry.kind == "settlement"}

    def staying(self) -> list[FollowedDifference]:
        """The view `agreement`, of observations in the order of the log and without what arrives late."""
        entries = [Entry(*row[1:]) for row in sorted(self._rows(), key=_place)]
        unsettled = {app.appid for app in self.unsettled()}
        found = []
        for key in sorted({_quota(entry) for entry in entries if entry.kind == "usage_observed"}):
            charged = [e for e in entries if e.kind in {"charge", "trial_charge"} and _quota(e) == key]
            run: list[tuple[int, int]] = []
            for seen in entries:
                if seen.kind == "usage_observed" and _quota(seen) == key:
                    here = sum(entry.calls for entry in charged if entry.time_ms <= seen.time_ms)
                    gap = json.loads(seen.details)["used"] - here
                    run = [*run, (seen.time_ms, gap)] if run and run[-1][1] == gap else [(seen.time_ms, gap)]
            (since_ms, calls), (newest_ms, _) = run[0], run[-1]
            if calls and newest_ms - since_ms >= HOUR_MS and key[0] not in unsettled:
                found.append(FollowedDifference(*key, calls, since_ms))
        return found


def _quota(entry: Entry) -> tuple[str, str, str]:
    return entry.appid, entry.capability, entry.pack_id


def unsettled_apps(rows: Sequence[Row]) -> list[UnsettledApp]:
    """The apps that are unsettled by the rows of a table."""
    of_apps: dict[tuple[str, int], list[Row]] = {}
    for row in sorted(rows, key=_place):
        entry = Entry(*row[1:])
        if entry.kind in SETTLEMENT_KINDS and entry.reason != "too_old":
            of_apps.setdefault((entry.appid, row[0]), []).append(row)
    found = (_unsettled(appid, partition, of_app) for (appid, partition), of_app in of_apps.items())
    return [app for app in found if app is not None]


def _unsettled(appid: str, partition: int, rows: Sequence[Row]) -> UnsettledApp | None:
    entries = [Entry(*row[1:]) for row in rows]
    marked = settled = outcome = worked_out = None
    misfits = 0
    for entry in entries:
        if entry.kind == "unsettled":
            marked = entry
            continue
        outcome = entry
        follows = "follows" in json.loads(entry.details)
        if entry.kind == "settlement":
            settled, misfits = entry, 0
            worked_out = worked_out if follows else entry
        misfits += entry.reason == "does_not_fit" and not follows
    last = [entry.kind for entry in entries if entry.kind != "settlement_refused"][-1:]
    if marked is None or last != ["unsettled"]:
        return None
    return UnsettledApp(
        appid,
        partition,
        marked.time_ms,
        marked.offset,
        -1 if settled is None else settled.offset,
        -1 if outcome is None else outcome.offset,
        "" if outcome is None else outcome.event_id,
        "" if outcome is None or outcome.kind == "settlement" else outcome.reason,
        misfits,
        -1 if worked_out is None else json.loads(worked_out.details)["as_of"],
    )


def _place(row: Row) -> tuple[int, int, int]:
    return row[0], row[1], row[2]
