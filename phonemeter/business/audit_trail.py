"""The audit trail: who changed what, written in the transaction of the change."""

from collections.abc import Sequence
from typing import Final

from sqlalchemy import Connection, insert, select

from dashboards.console.members import Actor, AuditEntry
from dashboards.console.pages.activity import DEEDS
from phonemeter.business.tables import AUDIT_TRAIL
from producers.clock import wall_clock_ms

LISTED_MAX: Final = 200
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


def newest(connection: Connection, owner_id: str) -> Sequence[AuditEntry]:
    """The newest lines about an owner."""
    columns = AUDIT_TRAIL.c
    chosen = (
        select(columns.at_ms, columns.who, columns.what, columns.subject)
        .where(columns.owner_id == owner_id)
        .order_by(columns.entry_id.desc())
        .limit(LISTED_MAX)
    )
    return [AuditEntry(*row) for row in connection.execute(chosen)]
