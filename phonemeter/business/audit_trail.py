"""The audit trail: who changed what, written in the transaction of the change."""

from collections.abc import Sequence
from typing import Final

from sqlalchemy import Connection, insert, select

from dashboards.console.members import ENTRIES_A_PAGE, Actor, AuditEntry
from dashboards.console.pages.activity import DEEDS
from phonemeter.business.tables import AUDIT_TRAIL
from producers.clock import wall_clock_ms

COMMAND_LINE: Final = "phonemeter"
"""The author of changes by a command."""


def note(connection: Connection, actor: Actor, what: str, subject: str = "") -> None:
    """Write a line; `what` is one of the deeds that the page knows."""
    if what not in DEEDS:
        raise KeyError(what)
    row = {
        "at_ms": wall_clock_ms(),
        "owner_id": actor.owner_id,
        "who": actor.who,
        "what": what,
        "subject": subject,
    }
    connection.execute(insert(AUDIT_TRAIL).values(row))


def newest(connection: Connection, owner_id: str, before: int | None = None) -> Sequence[AuditEntry]:
    """The newest lines about an owner, or those before another one."""
    columns = AUDIT_TRAIL.c
    chosen = select(columns.entry_id, columns.at_ms, columns.who, columns.what, columns.subject).where(
        columns.owner_id == owner_id
    )
    if before is not None:
        chosen = chosen.where(columns.entry_id < before)
    chosen = chosen.order_by(columns.entry_id.desc()).limit(ENTRIES_A_PAGE + 1)
    return [AuditEntry(*row) for row in connection.execute(chosen)]
