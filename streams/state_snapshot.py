"""The newest checkpoint of a partition as records for an empty state topic, detached from the log's identity.

The log that a checkpoint was made of may be written anew with the same records at the same offsets, as by a
restore. Its topic then has another id, and its records another leader epoch. So the mark of a detached
checkpoint has neither. It keeps offset and fingerprint of the last metered record: the worker that takes over
refuses a log with another record there.
"""

from collections.abc import Iterable
from dataclasses import replace
from typing import NamedTuple

from metering.log_identity import Mark
from metering.rules import Terms
from streams.state_log import StateReader, StateRecord


class DetachedCheckpoint(NamedTuple):
    """A checkpoint: its records in the order to publish them, the next offset of the log, and its terms.

    Without a checkpoint there are no records.
    """

    records: list[StateRecord]
    next_offset: int
    terms: Terms | None


def detached_checkpoint(partition: int, stored: Iterable[StateRecord]) -> DetachedCheckpoint:
    """The newest checkpoint among the records of a partition of the state topic.

    Raises:
        StateDamagedError: it is not whole, or of another format.
    """
    values: dict[bytes, bytes] = {}
    for key, value in stored:
        if value is None:
            values.pop(key, None)
        else:
            values[key] = value
    reader = StateReader(partition)
    reader.add(StateRecord(key, value) for key, value in values.items())
    state, layout = reader.newest()
    if layout.terms is None:
        return DetachedCheckpoint([], 0, None)
    obsolete = set(layout.obsolete_keys)
    items = [StateRecord(key, value) for key, value in values.items() if key not in obsolete]
    mark = Mark(offset=layout.mark.offset, fingerprint=layout.mark.fingerprint)
    header = replace(layout.begin_epoch(0), mark=mark).header(state)
    return DetachedCheckpoint([*items, header], state.next_offset, layout.terms)
