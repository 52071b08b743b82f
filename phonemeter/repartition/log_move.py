"""A move of the log to topics with more partitions: copied while everything runs, then finished.

To finish it, the old log is closed (`old_log`), what is left of it is copied, and the ledger that the new log
gives is compared with the old one (`ledger_proof`). Then what the notifier has done is carried over, the
ledger in ClickHouse is put aside, and the new topics are opened. Each step may be done again after a failure.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from kafka import TopicPartition
from pydantic import ValidationError

from metering.log_identity import Mark
from metering.placement import PartitionIndex
from metering.repartitioning import PartitionSplit, refusal_of
from metering.topics import ALERTS, EVENTS, NOTIFIER_GROUP
from phonemeter.backup.closed_kafka import GROUPS, ClosedKafka, CopyNames, commit
from phonemeter.backup.log_writer import LogWriter
from phonemeter.clickhouse import NoLedgerError, ledger_client, refuse_cluster
from phonemeter.errors import OperationError, UserError
from phonemeter.event_log import recorded_rules, refuse_cut_log
from phonemeter.kafka_admin import admin
from phonemeter.repartition.delivery_move import move_deliveries
from phonemeter.repartition.ledger_proof import LedgerProof, OldProgress, ProvenLedger
from phonemeter.repartition.log_copy import LogCopy
from phonemeter.repartition.old_log import SETTING, OldLog
from phonemeter.replay.rebuild import put_ledger_aside
from phonemeter.replay.service_groups import refuse_members
from phonemeter.settings import Settings
from phonemeter.stack.kafka.progress import committed
from phonemeter.stack.kafka.topics import REPARTITION, LogMove, alter_and_wait
from phonemeter.topic_reader import OffsetSpan, TopicReader, open_reader, spans_of
from sinks.kafka_consumer import decode_metadata, encode_metadata
from sinks.notifier.kafka_log import NOTED
from sinks.preconditions import found_topics

ShowMove = Callable[[str, int, int], None]
"""Called with the step, the records that are done in it, and all of them."""

COMMAND: Final = "repartition"


@dataclass(frozen=True, slots=True)
class CopyReport:
    """The result of a copy: records of the old log, those that the new one lacked, and the time it took."""

    records: int
    appended: int
    took_s: float


@dataclass(frozen=True, slots=True)
class MoveReport:
    """The result of a finished move.

    Attributes:
        copied: the copy of what was left.
        lines: number of ledger entries that were compared.
        deliveries: number of records of deliveries that were carried over.
        ledger_kept_as: the name under which ClickHouse keeps the old ledger; empty if it had none.
        took_s: time for which the log was closed.
    """

    copied: CopyReport
    lines: int
    deliveries: int
    ledger_kept_as: str
    took_s: float


class LogMover:
    """A move of the log of these settings to topics with another prefix and so many partitions."""

    def __init__(
        self,
        settings: Settings,
        prefix: str,
        partitions: int,
        show: ShowMove = lambda _step, _done, _total: None,
    ) -> None:
        self._settings = settings
        self._old = settings.kafka_access
        try:
            self._new = settings.replaced(kafka_prefix=prefix).kafka_access
        except ValidationError:
            raise UserError(
                f"{prefix!r} is no prefix of topics: letters, digits, dots, underscores and hyphens are "
                f"allowed."
            ) from None
        self._partitions = partitions
        self._show = show
        self._log = OldLog(self._old)

    def copy(self) -> CopyReport:
        """Copy what the new log lacks, while everything runs.

        Raises:
            UserError: the numbers do not fit, or the new topics have other records.
            OperationError: Kafka does not do its part.
        """
        spans, moved = self._begin()
        if moved is not None and moved.done:
            raise UserError(f"The log was moved to the prefix {moved.prefix!r} already.")
        if moved is not None:
            raise UserError(
                "The old log is closed by a move that is not finished: run the command with --finish, or "
                "with --abandon."
            )
        return self._copied(spans)[0]

    def finish(self) -> MoveReport:
        """Close the old log, copy the rest, compare the ledgers, and open the new log.

        Raises:
            UserError: the numbers or the settings do not fit, or services are running.
            OperationError: the ledgers differ, or Kafka or ClickHouse does not do its part.
        """
        refuse_cluster(self._settings.clickhouse, COMMAND)
        _, moved = self._begin()
        began_s = time.monotonic()
        if moved is not None and moved.done:
            self._target().open()
            return MoveReport(CopyReport(0, 0, 0.0), 0, 0, "", time.monotonic() - began_s)
        with open_reader(self._old) as old:
            differs = recorded_rules(old, self._settings.rules()).difference
        if differs:
            raise UserError(f"{differs} Set them to the log's, so that the new log gives the same ledger.")
        spans = self._log.close(self._new.prefix, self._partitions)
        copied, splits = self._copied(spans)
        with admin(self._old) as client:
            if spans_of(client, EVENTS) != spans:
                raise OperationError(
                    f"Somebody wrote to {self._old.topic(EVENTS)} after it was closed; run the command again."
                )
        proven = self._proven(splits)
        with open_reader(self._old) as old:
            deliveries = move_deliveries(old, self._new, self._partitions, proven.alert_ids)
        self._commit_notified(proven)
        aside = self._put_ledger_aside()
        self._log.retire()
        self._target().open()
        return MoveReport(copied, proven.lines, deliveries, aside, time.monotonic() - began_s)

    def abandon(self) -> None:
        """Let producers and services go on with the old log."""
        self._log.reopen()

    def _begin(self) -> tuple[dict[int, OffsetSpan], LogMove | None]:
        """Check the numbers and the old log, and create the new topics, closed.

        Returns:
            The old spans, and the move that was begun before, if there is one.
        """
        if self._new.prefix == self._old.prefix:
            raise UserError(f"The topics have the prefix {self._old.prefix!r} already; name another one.")
        with admin(self._old) as client:
            spans = spans_of(client, EVENTS)
        refusal = refusal_of(len(spans), self._partitions)
        if refusal:
            raise UserError(refusal)
        refuse_cut_log(spans)
        moved = self._log.move()
        if moved is not None:
            self._refuse_another_move(moved)
        if moved is None or not moved.done:
            target = self._target()
            target.check()
            target.close()
            self._take_largest_records(moved)
        return spans, moved

    def _refuse_another_move(self, moved: LogMove) -> None:
        if (moved.prefix, moved.partitions) != (self._new.prefix, self._partitions):
            raise UserError(
                f"A move to the prefix {moved.prefix!r} and {moved.partitions} partitions was begun: finish "
                f"that one, or take it back with --abandon."
            )

    def _target(self) -> ClosedKafka:
        with admin(self._old) as client:
            topic_id = client.describe_topics([EVENTS])[0]["topic_id"]
        names = CopyNames(
            f"{REPARTITION}of {topic_id} into {self._partitions}",
            "A restore, or another repartition,",
            "Name a prefix without topics, or delete those that have it.",
        )
        return ClosedKafka(self._new, self._partitions, names)

    def _take_largest_records(self, moved: LogMove | None) -> None:
        """Let the new log take records as large as the old one."""
        with admin(self._old) as client:
            was = (found_topics(client)[EVENTS].config or {}).get(SETTING, "")
        bytes_max = str(moved.bytes_max) if moved is not None else was
        with admin(self._new) as client:
            if (found_topics(client)[EVENTS].config or {}).get(SETTING, "") in {bytes_max, ""}:
                return
            refusal = alter_and_wait(client, EVENTS, SETTING, bytes_max)
            if refusal:
                raise OperationError(
                    f"Kafka does not let {SETTING} of {self._new.topic(EVENTS)} be set to {bytes_max}: "
                    f"{refusal}"
                )

    def _copied(self, spans: Mapping[int, OffsetSpan]) -> tuple[CopyReport, dict[int, PartitionSplit]]:
        began_s = time.monotonic()
        total = sum(span.end for span in spans.values())
        splits = {}
        with (
            open_reader(self._old) as old,
            open_reader(self._new) as new,
            LogWriter(self._new, COMMAND) as writer,
        ):
            copy = LogCopy(
                old, self._new, new, self._partitions, lambda done: self._show("copying", done, total)
            )
            for number, span in spans.items():
                splits[number] = copy.copy(writer, PartitionIndex(number, len(spans)), span.end)
        return CopyReport(copy.read, copy.appended, time.monotonic() - began_s), splits

    def _proven(self, splits: Mapping[int, PartitionSplit]) -> ProvenLedger:
        total = sum(split.end(target) for split in splits.values() for target in split.targets)
        with open_reader(self._old) as old, open_reader(self._new) as new:
            was = self._old_progress(old, splits)
            proof = LedgerProof(
                old,
                new,
                self._partitions,
                self._settings.rules(),
                lambda done: self._show("metering", done, total),
            )
            for number, split in splits.items():
                proof.prove(PartitionIndex(number, len(splits)), split, was[number])
        return proof.found

    def _old_progress(self, old: TopicReader, partitions: Mapping[int, object]) -> dict[int, OldProgress]:
        recorded = recorded_rules(old, self._settings.rules()).recorded
        with admin(self._old) as client:
            notified = {
                at.partition: decode_metadata(NOTED, done.metadata)[0]
                for at, done in committed(client, NOTIFIER_GROUP).items()
                if at.topic == ALERTS
            }
        return {
            number: OldProgress(
                recorded[number].next_offset if number in recorded else 0,
                notified.get(number, OldProgress().notified),
            )
            for number in partitions
        }

    def _commit_notified(self, proven: ProvenLedger) -> None:
        """Have the notifier of the new topics leave out the alerts that the old one has handled."""
        with admin(self._new) as client:
            refuse_members(client, GROUPS)
            commit(
                client,
                NOTIFIER_GROUP,
                {
                    TopicPartition(ALERTS, partition): (0, encode_metadata(NOTED, position, Mark()))
                    for partition, position in proven.notified.items()
                },
            )

    def _put_ledger_aside(self) -> str:
        """Let the sink begin a new ledger; returns the name of the old one, empty if there was none."""
        try:
            with ledger_client(self._settings.clickhouse) as client:
                ((stored,),) = client.execute("SELECT count() FROM ledger")
        except NoLedgerError:
            return ""
        return put_ledger_aside(self._settings.clickhouse) if stored else ""
