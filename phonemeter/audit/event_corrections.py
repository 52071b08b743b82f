"""The corrections of one event, found in the log: who told what and when, and whether the figures have it."""

from collections.abc import Iterable
from typing import Any, Final, Literal, NamedTuple

import msgspec
from msgspec import Struct

from metering.ledger import Entry

CorrectionState = Literal["unsettled", "settled", "refused"]

_KINDS: Final = frozenset({"correction", "correction_refused"})


class ToldCorrection(Struct, frozen=True):
    """One correction of an event, or of a correction of it.

    Attributes:
        event_id: its event id.
        offset: its record in the log.
        corrects: event id of what it is about.
        action: what it does.
        fields: what is set; empty where it is void.
        note, source: why, and who told it.
        time_ms, recorded_at_ms: when it was told, and when it arrived.
        state: whether the figures have it.
        settled_at_ms: when they had it; None until then.
        holds: False if a later one made it void, or it was refused.
    """

    event_id: str
    offset: int
    corrects: str
    action: Literal["void", "set"]
    fields: dict[str, Any]
    note: str
    source: str
    time_ms: int
    recorded_at_ms: int
    state: CorrectionState
    settled_at_ms: int | None
    holds: bool


class _Said(Struct):
    """Details of the entry of a correction."""

    event_id: str
    set: dict[str, Any] = {}
    note: str = ""


class _Ended(NamedTuple):
    """A settlement that left nothing to settle: its app, and the offset as of which it was worked out."""

    appid: str
    as_of: int
    at_ms: int


class CorrectionSearch:
    """Collects the corrections of a partition, and the settlements of their apps."""

    def __init__(self) -> None:
        self._corrections: list[tuple[Entry, _Said]] = []
        self._appids: set[str] = set()
        self._ended: dict[int, _Ended] = {}

    def add(self, entries: Iterable[Entry]) -> None:
        """Take up ledger entries, in the order of the log."""
        for entry in entries:
            if entry.kind in _KINDS:
                self._corrections.append((entry, msgspec.json.decode(entry.details, type=_Said)))
                self._appids.add(entry.appid)
            elif entry.kind == "settlement" and entry.appid in self._appids:
                as_of = msgspec.json.decode(entry.details)["as_of"]
                self._ended[entry.offset] = _Ended(entry.appid, as_of, entry.recorded_at_ms)
            elif entry.kind == "unsettled" and entry.reason == "settlement":
                self._ended.pop(entry.offset, None)

    def of(self, appid: str, event_id: str, offset: int) -> list[ToldCorrection]:
        """The corrections of an event whose record is at an offset, in the order in which they hold."""
        offsets = {event_id: offset}
        own = [each for each in self._corrections if each[0].appid == appid]
        while found := [
            entry for entry, said in own if said.event_id in offsets and entry.event_id not in offsets
        ]:
            offsets.update({entry.event_id: entry.offset for entry in found})
        related = [each for each in own if each[1].event_id in offsets]
        void: set[str] = set()
        told: list[ToldCorrection] = []
        for entry, said in sorted(
            related, key=lambda each: (each[0].time_ms, each[0].event_id), reverse=True
        ):
            holds = entry.kind == "correction" and entry.event_id not in void
            if holds and not said.set:
                void.add(said.event_id)
            told.append(self._told(entry, said, offsets[said.event_id], holds=holds))
        return told[::-1]

    def _told(self, entry: Entry, said: _Said, fact_offset: int, *, holds: bool) -> ToldCorrection:
        since = max(entry.offset, fact_offset)
        settled = [
            each.at_ms for each in self._ended.values() if each.appid == entry.appid and each.as_of >= since
        ]
        refused = entry.kind == "correction_refused"
        return ToldCorrection(
            entry.event_id,
            entry.offset,
            said.event_id,
            "set" if said.set else "void",
            said.set,
            said.note,
            entry.source,
            entry.time_ms,
            entry.recorded_at_ms,
            "refused" if refused else "settled" if settled else "unsettled",
            None if refused or not settled else settled[0],
            holds,
        )
