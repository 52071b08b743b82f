"""`GET /v1/events/{event_id}`: the app is found in ClickHouse, a process of its own explains the event."""

from collections.abc import Callable, Sequence
from typing import Any, Final, Protocol

import msgspec

from dashboards.http.errors import NothingFoundError, WrongParameterError
from dashboards.http.event_answer import EventStory, ToldEntry
from dashboards.reads.asking import Ask, iso
from metering.iso_moments import with_iso_moments

ID_CHARACTERS_MAX: Final = 128
APPS_NAMED: Final = 5

_OWNERS: Final = """
SELECT DISTINCT appid FROM ledger
WHERE event_id = %(event_id)s AND (%(all)s OR appid IN %(appids)s) ORDER BY appid LIMIT 100
"""


_FIELDS: Final = tuple(name for name in ToldEntry.__struct_fields__ if name != "details")

_ENTRIES: Final = """
SELECT
    source_partition, source_offset, line, kind, time, recorded_at, appid, capability, event_id, calls,
    amount_micro_yuan, pack_id, remaining, reason, errno, scene, store, env, client, source, details
FROM ledger
WHERE appid = %(appid)s AND event_id = %(event_id)s ORDER BY source_offset, line LIMIT 1000
"""


class EventExplainer(Protocol):
    """The explainer of events: it meters their partition again, outside of this process."""

    async def explain(self, appid: str, event_id: str) -> bytes:
        """The explanation, as `phonemeter explain --json` prints it.

        Raises:
            ExplainingBusyError: it explains another one.
            ExplainingTooLongError: its time was not enough.
            NothingFoundError: the log has no such event.
            LedgerAwayError: it failed.
        """


class StoredEvents:
    """Events in ClickHouse.

    Args:
        stored_id: how ClickHouse has an event id: of a SHA-256 the first digits.
    """

    def __init__(self, stored_id: Callable[[str], str]) -> None:
        self._stored_id = stored_id

    def owner(self, ask: Ask, event_id: str, apps: Sequence[str]) -> str:
        """The app of an event, among some, or all if none are named.

        Raises:
            NothingFoundError: none of them has such an event.
            WrongParameterError: several have.
        """
        if not 1 <= len(event_id) <= ID_CHARACTERS_MAX:
            raise NothingFoundError(event_not_found(event_id))
        asked = {"event_id": self._stored_id(event_id), "all": int(not apps), "appids": tuple(apps) or ("",)}
        owners: list[str] = [appid for (appid,) in ask(_OWNERS, asked) if appid]
        if not owners:
            raise NothingFoundError(event_not_found(event_id))
        if len(owners) > 1:
            named = ", ".join(owners[:APPS_NAMED])
            raise WrongParameterError(f"Several apps have an event of this id ({named}); add app=APPID.")
        (owner,) = owners
        return owner

    def story(self, ask: Ask, appid: str, event_id: str) -> EventStory:
        """The entries of an event, and nothing else of its story.

        Raises:
            NothingFoundError: the app has no such event.
        """
        stored_id = self._stored_id(event_id)
        found = ask(_ENTRIES, {"appid": appid, "event_id": stored_id})
        if not found:
            raise NothingFoundError(event_not_found(event_id))
        return EventStory(
            event_id=event_id,
            appid=appid,
            partition=found[0][0],
            occurrences=[],
            takeovers=[],
            settlements=[],
            corrections=[],
            published=[],
            publications=0,
            stored=[_entry(fields, event_id) for _, *fields in found],
            not_asked="",
            settings_note="",
        )


def event_not_found(event_id: str) -> str:
    """The sentence about an event that is not there, or of an app that is not for this key."""
    return (
        f"There is no event {event_id[:64]!r} of an app for this API key in the ledger; what was sent just "
        "now may not be stored yet."
    )


def story_of(explained: bytes) -> EventStory:
    """The story in an explanation."""
    return msgspec.json.decode(explained, type=EventStory)


def _entry(fields: Sequence[Any], event_id: str) -> ToldEntry:
    *own, details = fields
    entry: dict[str, Any] = dict(zip(_FIELDS, own, strict=True)) | {"event_id": event_id}
    entry["time"], entry["recorded_at"] = iso(entry["time"]), iso(entry["recorded_at"])
    told: Any = with_iso_moments(msgspec.json.decode(details or "{}"))
    return ToldEntry(**entry, details=told)
