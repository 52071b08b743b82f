"""Writing ledger lines: numbers them within their record and fills in what all lines of a record share."""

import msgspec

from metering.accounts import Account
from metering.events import Authorization, Capability
from metering.ledger import Entry, EntryKind
from metering.times import minute_of

_encoder = msgspec.json.Encoder(order="sorted")


class Lines:
    """Collects the entries of a run of records, in order.

    Attributes:
        entries: what was collected.
        alerts: those of the entries that people are told of.
        offset, recorded_at_ms: of the record being worked on.
        minute: the one that was asked for last. Most calls of a batch lie in the same.
    """

    def __init__(self) -> None:
        self.entries: list[Entry] = []
        self.alerts: list[Entry] = []
        self.offset = 0
        self.recorded_at_ms = 0
        self.minute = minute_of(0)
        self._line = 0

    def begin(self, offset: int, recorded_at_ms: int) -> None:
        """Go to the next record; its lines count from 0."""
        self.offset = offset
        self.recorded_at_ms = recorded_at_ms
        self._line = 0

    def add(
        self,
        kind: EntryKind,
        time_ms: int,
        appid: str,
        capability: Capability | str = "",
        **fields: str | int,
    ) -> None:
        """Write one line; `fields` are those of `Entry`."""
        self.entries.append(
            Entry(
                self.offset,
                self._line,
                kind,
                time_ms,
                self.recorded_at_ms,
                appid,
                capability,
                **fields,  # type: ignore[arg-type]  # each call names fields of Entry with their types
            )
        )
        self._line += 1

    def authorization(  # noqa: PLR0917 - naming them costs a third of what writing the line does
        self,
        event: Authorization,
        time_ms: int,
        kind: EntryKind,
        calls: int = 1,
        amount_micro_yuan: int = 0,
        pack_id: str = "",
        remaining: int = 0,
        reason: str = "",
        errno: int = 0,
    ) -> None:
        """Write the outcome of an authorization."""
        data = event.data
        self.entries.append(
            Entry(
                self.offset,
                self._line,
                kind,
                time_ms,
                self.recorded_at_ms,
                event.subject,
                data.capability,
                event.id,
                calls,
                amount_micro_yuan,
                pack_id,
                remaining,
                reason,
                errno,
                data.scene,
                data.store,
                data.env,
                data.client,
                event.source,
            )
        )
        self._line += 1

    def alert(
        self,
        account: Account,
        capability: Capability,
        *,
        recovered: bool,
        reason: str,
        time_ms: int,
        remaining: int,
        pack_id: str = "",
        **details: int | str,
    ) -> None:
        """Write that a threshold was crossed, or that a top-up lifted the balance clear of it."""
        self.add(
            "recovery" if recovered else "alert",
            time_ms,
            account.appid,
            capability,
            pack_id=pack_id,
            remaining=remaining,
            reason=reason,
            details=details_json(**details),
        )
        self.alerts.append(self.entries[-1])


def details_json(**details: str | int | tuple[int, ...]) -> str:
    """What only one kind of line has, as a JSON object with sorted keys (the same bytes at every replay)."""
    return _encoder.encode(details).decode()
