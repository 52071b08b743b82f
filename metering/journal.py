"""The journal: collects ledger entries, numbered within their record."""

import msgspec
from msgspec import Struct

from metering.accounts import Account
from metering.events import Authorization, Capability
from metering.ledger import AlertReason, Entry, EntryKind
from metering.times import minute_of

_encoder = msgspec.json.Encoder(order="sorted")


class Journal:
    """Collects the entries of a run of records, in order.

    Attributes:
        entries: the collected entries.
        alerts: the entries of kind `alert` and `recovery`.
        offset, recorded_at_ms: of the current record.
        minute: the minute of the newest call, cached: most calls of a batch lie in the same.
    """

    def __init__(self) -> None:
        self.entries: list[Entry] = []
        self.alerts: list[Entry] = []
        self.offset = 0
        self.recorded_at_ms = 0
        self.minute = minute_of(0)
        self._line = 0

    def begin(self, offset: int, recorded_at_ms: int) -> None:
        """Begin the next record, whose entries are numbered from 0."""
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
        """Add an entry; `fields` are those of `Entry`."""
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

    def add_authorization(  # noqa: PLR0917 - keyword arguments would cost a third more
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
        """Add the outcome of an authorization."""
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

    def add_alert(
        self,
        account: Account,
        capability: Capability,
        *,
        recovered: bool,
        reason: AlertReason,
        time_ms: int,
        remaining: int,
        pack_id: str = "",
        **details: int | str,
    ) -> None:
        """Add an alert, or the recovery from one."""
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


def details_json(**details: str | int | tuple[int, ...] | Struct) -> str:
    """The details of an entry as a JSON object, with sorted keys, so that a replay gives the same bytes."""
    return _encoder.encode(details).decode()
