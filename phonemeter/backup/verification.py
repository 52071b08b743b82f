"""The proof of a backup or of a restored log: its events, metered again, give its ledger."""

from collections.abc import Callable, Mapping

from metering.rules import Rules
from metering.topics import EVENTS
from phonemeter.backup.manifest import Manifest
from phonemeter.errors import OperationError
from phonemeter.event_log import refuse_cut_log
from phonemeter.replay.ledger_check import compare_ledger
from phonemeter.topic_reader import OffsetSpan, RecordSource


def verify_ledger(
    source: RecordSource, manifest: Manifest, here: Rules, progress: Callable[[int], None], *, of: str
) -> int:
    """Meter the events of a backup, or of the Kafka that it was restored into, and compare the ledger.

    Where no worker has recorded its rules, those of the settings `here` are taken. `of` names the source in
    sentences.

    Returns:
        Number of entries in the ledger.

    Raises:
        OperationError: they differ, or something cannot be read.
    """

    def rules_of(partition: int) -> Rules:
        part = manifest.metered.get(partition)
        return here if part is None else part.terms.rules

    log: Mapping[int, OffsetSpan] = source.spans(EVENTS)
    refuse_cut_log(log)
    metered = {partition: part.next_offset for partition, part in manifest.metered.items()}
    checked = compare_ledger(source, rules_of, log, metered, progress)
    if checked.difference:
        raise OperationError(
            f"The ledger {of} is not what its events give (first at {checked.difference}): `phonemeter "
            f"audit` says whether Kafka has the same difference; an older version may have written the "
            f"ledger."
        )
    return checked.lines
