"""Checks of the promises of services: each takes observations and yields the problems. Pure, without a clock.

They judge durations and not counts: because of clock ticks, some records of an idle log always wait.
"""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Final, NamedTuple

from metering.health import Problem, Service
from metering.topics import ALERTS, EVENTS, LEDGER

DONE: Final[Mapping[str, str]] = {EVENTS: "metered", LEDGER: "stored", ALERTS: "read"}
"""By topic, the word for a record that is done."""

TURN_S_MAX: Final = 60.0
"""The longest that one turn of a service's loop may take: longer than any wait for a server in it."""

CLICKHOUSE_AWAY_S_MAX: Final = 10.0
"""The longest that ClickHouse may refuse: an INSERT that fails once and is retried is no outage."""

ALERT_WAITS_S_MAX: Final = 900.0
"""The longest that an alert may wait for its receiver: some attempts, with backoff."""

UNSETTLED_S_MAX: Final = 60.0
"""The longest that an app may be unsettled while a settler runs: some rounds, each the way of an event."""

BALANCES_S_MAX: Final = 1_800.0

AUDITS_MISSED_MAX: Final = 3


@dataclass(frozen=True, slots=True)
class HealthLimits:
    """The durations after which a promise counts as broken.

    Attributes:
        waited_s: wait of the oldest record that is not done.
        stood_s: time that a position stays the same while its log grows.
        held_up_s: time that a transaction is open.
    """

    waited_s: float = 60.0
    stood_s: float = 60.0
    held_up_s: float = 60.0

    def with_pause(self, seconds: float) -> "HealthLimits":
        """The limits of a service that delays records for so long on purpose."""
        return HealthLimits(self.waited_s + seconds, self.stood_s + seconds, self.held_up_s)


@dataclass(frozen=True, slots=True)
class ConsumerPosition:
    """The position of a service in a partition of the topic that it consumes.

    Attributes:
        next_offset: offset of the record that is done next.
        end: the last stable offset: the end of the records that can be read.
        waited_s: longest possible wait of the oldest record that is not done.
        stood_s: time for which `next_offset` has stayed the same while records waited.
        held_up: number of records behind an open transaction.
        held_up_s: time for which there have been such records.
        stopped: the reason that the partition was stopped; empty if it was not.
    """

    topic: str
    partition: int
    next_offset: int
    end: int
    waited_s: float = 0.0
    stood_s: float = 0.0
    held_up: int = 0
    held_up_s: float = 0.0
    stopped: str = ""

    @property
    def waiting(self) -> int:
        """The lag: number of records that can be read and are not done."""
        return max(0, self.end - self.next_offset)


def position_problems(
    positions: Collection[ConsumerPosition], limits: HealthLimits = HealthLimits()
) -> Iterator[Problem]:
    """Find the problems of a service's positions."""
    for position in positions:
        yield from _position_problems(position, limits)


def _position_problems(position: ConsumerPosition, limits: HealthLimits) -> Iterator[Problem]:
    where, done = f"Partition {position.partition} of {position.topic}", DONE[position.topic]
    number = position.partition
    if position.next_offset > position.end + position.held_up:
        yield Problem(
            "agreeing",
            f"{where} ends at record {position.end + position.held_up}, but was {done} up to record "
            f"{position.next_offset}: its log lost records or was recreated.",
            number,
        )
    if position.stopped:
        yield Problem("advancing", f"{where} is stopped at {position.stopped}", number)
    elif position.waiting and position.stood_s > limits.stood_s:
        yield Problem(
            "advancing",
            f"{where} has stayed at record {position.next_offset} of {position.end} for "
            f"{_time(position.stood_s)}: no record was {done}.",
            number,
        )
    elif position.waiting and position.waited_s > limits.waited_s:
        yield Problem(
            "fresh",
            f"{where} is behind: {_records(position.waiting)} not {done}, the oldest for "
            f"{_time(position.waited_s)}.",
            number,
        )
    if position.held_up and position.held_up_s > limits.held_up_s:
        yield Problem(
            "advancing",
            f"{where} is held up at record {position.end} by a transaction that has been open for "
            f"{_time(position.held_up_s)}: {_records(position.held_up)} cannot be read before its producer "
            f"commits or aborts it.",
            number,
        )


def loop_problems(service: Service, turn_s: float, why: str = "") -> Iterator[Problem]:
    """Find a loop whose current turn began `turn_s` ago; `why` is the failure since then."""
    if turn_s > TURN_S_MAX:
        reason = f": {why}" if why else "."
        yield Problem("advancing", f"The {service} has made no progress for {_time(turn_s)}{reason}")


def unread_problems(
    topic: str, unread: Mapping[int, tuple[float, str]], limits: HealthLimits = HealthLimits()
) -> Iterator[Problem]:
    """Find partitions that could not be read, given with the seconds and the reason."""
    for partition, (seconds, why) in sorted(unread.items()):
        if seconds > limits.stood_s:
            yield Problem(
                "advancing",
                f"Partition {partition} of {topic} could not be read for {_time(seconds)}: "
                f"{why.rstrip('.')}.",
                partition,
            )


def takeover_problems(waiting_s: Mapping[int, float]) -> Iterator[Problem]:
    """Find assigned partitions whose state is not restored, given with the seconds since the assignment."""
    for partition, seconds in sorted(waiting_s.items()):
        if seconds > HealthLimits().stood_s:
            yield Problem(
                "advancing",
                f"Partition {partition} of {EVENTS} was assigned to this worker {_time(seconds)} ago, and "
                f"its state is not restored yet.",
                partition,
            )


def clickhouse_problems(away_s: float, why: str) -> Iterator[Problem]:
    """Find that ClickHouse has refused for too long; `why` is its answer."""
    if away_s > CLICKHOUSE_AWAY_S_MAX:
        yield Problem("reachable", f"ClickHouse has accepted nothing for {_time(away_s)}: {why.rstrip('.')}.")


def delivery_problems(
    refusal: str,
    waiting_s: float,
    dead: int,
    disabled: int,
    recipients_refusal: str = "",
    *,
    recipients_known: bool = True,
) -> Iterator[Problem]:
    """Find problems in the delivery of alerts.

    Args:
        refusal: the reason that the current routes file cannot be used; empty if it can.
        waiting_s: wait of the oldest alert that could be delivered.
        dead: number of deliveries that were given up and that nobody has acknowledged.
        disabled: number of routes that their receivers disabled.
        recipients_refusal: the reason that the recipients of owners cannot be read; empty if they can.
        recipients_known: they were read before.
    """
    if recipients_refusal:
        meanwhile = "the previous ones are in effect" if recipients_known else "alerts are held for them"
        yield Problem(
            "delivered", f"Recipients of owners can't be read, and {meanwhile}: {recipients_refusal}"
        )
    if refusal:
        yield Problem(
            "delivered", f"The routes file is refused, and the previous routes are in effect: {refusal}"
        )
    if waiting_s > ALERT_WAITS_S_MAX:
        yield Problem(
            "delivered",
            f"An alert has waited for {_time(waiting_s)}: a receiver does not accept its messages.",
        )
    if dead:
        yield Problem(
            "delivered",
            f"Messages whose attempts all failed and that nobody has acknowledged: {dead:,}; see "
            f"`phonemeter alerts list --dead`.",
        )
    if disabled:
        yield Problem(
            "delivered",
            f"Routes that their receivers have disabled: {disabled:,}; see `phonemeter alerts list`.",
        )


def settling_problems(waits_s: Mapping[str, float], reasons: Mapping[str, str]) -> Iterator[Problem]:
    """Find apps that have been unsettled for too long, given with the seconds and with reasons if known."""
    late = {appid: seconds for appid, seconds in waits_s.items() if seconds > UNSETTLED_S_MAX}
    if late:
        longest = max(late, key=lambda appid: (late[appid], appid))
        why = f": {reasons[longest].rstrip('.')}." if longest in reasons else "."
        yield Problem(
            "settled",
            f"Apps that have been unsettled for more than a minute: {len(late):,}, {longest} for "
            f"{_time(late[longest])}{why}",
        )


@dataclass(frozen=True, slots=True)
class AuditFindings:
    """The findings of the audit's service.

    Attributes:
        interval_s: time from the start of one audit to that of the next.
        ended_s: age of the last audit.
        failure: the reason that the last attempt failed; empty if it did not.
        drift: by place, number of entries that differed in the last audit.
        balances_s: age of the balances.
    """

    interval_s: float
    ended_s: float
    failure: str
    drift: Mapping[str, int]
    balances_s: float


def audit_problems(findings: AuditFindings) -> Iterator[Problem]:
    """Find drift in the last audit, and an audit or balances that are overdue."""
    for place, entries in findings.drift.items():
        if entries:
            yield Problem(
                "agreeing",
                f"By the last audit, entries in {place} that are not what the rules say: {entries:,}; "
                f"`phonemeter audit` names them.",
            )
    if findings.ended_s > AUDITS_MISSED_MAX * findings.interval_s:
        why = f": {findings.failure}" if findings.failure else "."
        yield Problem("fresh", f"No audit has ended for {_time(findings.ended_s)}{why}")
    if findings.balances_s > BALANCES_S_MAX:
        yield Problem("fresh", f"The balances have not been read for {_time(findings.balances_s)}.")


def membership_problems(groups: Mapping[str, tuple[str, int]]) -> Iterator[Problem]:
    """Find topics that nobody reads, given by topic with consumer group and its number of members."""
    for topic, (group, members) in groups.items():
        if not members:
            yield Problem("present", f"Nobody reads {topic}: consumer group {group} has no members.")


class StoringProgress(NamedTuple):
    """The progress of storing the ledger of a source partition; entries are given as (source offset, line).

    Attributes:
        newest: the newest entry in ClickHouse.
        acknowledged: the newest entry that ClickHouse has acknowledged to the sink.
        log_end: the high watermark of the partition of `phone-events`.
    """

    partition: int
    newest: tuple[int, int]
    acknowledged: tuple[int, int]
    log_end: int


def storage_problems(progress: Collection[StoringProgress]) -> Iterator[Problem]:
    """Find entries that ClickHouse lost, and entries of records that the log lost."""
    for one in progress:
        if one.newest < one.acknowledged:
            yield Problem(
                "agreeing",
                f"ClickHouse has lost entries of partition {one.partition}: it acknowledged them up to "
                f"{_line(one.acknowledged)} and has them up to {_line(one.newest)}; the sink stores them "
                f"again.",
                one.partition,
            )
        if one.newest[0] >= one.log_end:
            yield Problem(
                "agreeing",
                f"ClickHouse has entries of record {one.newest[0]} in partition {one.partition}, and "
                f"{EVENTS} ends at record {one.log_end} there: its log lost records or was recreated.",
                one.partition,
            )


def _line(position: tuple[int, int]) -> str:
    offset, line = position
    return "none" if offset < 0 else f"record {offset}, line {line}"


def _records(count: int) -> str:
    return "1 record" if count == 1 else f"{count:,} records"


def _time(seconds: float) -> str:
    whole = int(seconds)
    if whole < 120:  # noqa: PLR2004 - two minutes
        return f"{whole} s"
    if whole < 7_200:  # noqa: PLR2004 - two hours
        return f"{whole // 60} min"
    return f"{whole // 3_600} h"
