"""The record at which an owned partition begins to be read. Pure."""

from typing import NamedTuple, Self

import msgspec

from metering.log_identity import Mark, PartitionView, difference
from sinks.ledger_source import ResumePoint
from sinks.position import BEFORE_ALL, Position


class StartingPoint(NamedTuple):
    """Record at which a partition begins to be read, and why there.

    Attributes:
        verify: true if the log is read again, and must turn out to have the newest stored entry.
        mark: identity of the log, as far as it was read.
        rewinds: reasons to read the log again that are to be reported.
    """

    offset: int
    verify: bool
    mark: Mark
    rewinds: tuple[str, ...]

    @classmethod
    def of(cls, committed: ResumePoint, stored: Position, view: PartitionView) -> Self:
        """Decide from the group's position, the newest stored entry and the log as the broker has it now."""
        rewinds = []
        mark = msgspec.structs.replace(committed.mark, topic_id=view.topic_id)
        differs = difference(committed.mark, committed.offset, view) if view.begin <= committed.offset else ""
        if differs:
            mark = Mark(view.topic_id)
            rewinds.append(f"it is not the log that was read before: {differs}; it must have what is stored")
        if stored < committed.stored:
            rewinds.append(f"ClickHouse has entries up to {stored}, but acknowledged {committed.stored}")
        return cls(
            offset=view.begin if rewinds or stored == BEFORE_ALL else committed.offset,
            verify=stored != BEFORE_ALL and (bool(rewinds) or committed.stored == BEFORE_ALL),
            mark=mark,
            rewinds=tuple(rewinds),
        )
