"""Sentences about an audit."""

from collections.abc import Iterator
from typing import Final

from metering.times import shanghai_date, shanghai_time
from phonemeter.audit.differences import Difference
from phonemeter.audit.figures import LedgerFigures
from phonemeter.audit.report import AuditReport, CellDifference, Place, PlaceReport, RepairReport
from phonemeter.audit.shared_packs import SharedPack
from phonemeter.audit.stored_ledger import RepeatedEvent
from phonemeter.formats import yuan

KINDS: Final = {
    "missing": "missing",
    "doubled": "there twice or more",
    "altered": "altered",
    "foreign": "unknown to the rules",
    "contradicted": "published again with other content",
    "unreadable": "unreadable",
    "not_listed": "ranges that were not compared in detail",
}
ITEMS: Final[dict[Place, str]] = {
    "phone-ledger": "entries",
    "ClickHouse": "entries",
    "phone-dead-letters": "dead letters",
}


def verdict(report: AuditReport) -> str:
    """The result in one sentence."""
    if report.clean:
        return "The ledger is what the rules say."
    wrong = [f"{place} {_counts(found)}" for place, found in report.places.items() if found.kinds]
    if not wrong:
        return "The log is not the one that was metered."
    return f"The ledger is not what the rules say: {'; '.join(wrong)}."


def repair_result(repaired: RepairReport) -> str:
    """The result of a repair in one sentence."""
    again = "; its end was restored by a sink" if repaired.end_restored else ""
    return f"The ledger in ClickHouse was built again from {repaired.lines:,} entries of phone-ledger{again}."


def scope(report: AuditReport) -> str:
    """The extent of an audit in one sentence."""
    figures = report.figures
    records = sum(partition.records for partition in report.partitions)
    letters = sum(partition.dead_letters for partition in report.partitions)
    return (
        f"Audited: {records:,} records of the log, {figures.events:,} of them events with an outcome and "
        f"{letters:,} rejected; {figures.entries:,} entries, {figures.calls:,} calls charged, "
        f"¥{yuan(figures.micro_yuan)}, in {report.took_s:,.1f} s."
    )


def forgotten(report: AuditReport) -> Iterator[str]:
    """A sentence if ClickHouse keeps clients for a while only."""
    if report.clients_forgotten_before_ms:
        day = shanghai_date(report.clients_forgotten_before_ms).isoformat()
        yield (
            f"Clients of lines from before {day} are not compared: ClickHouse forgets them by then. All else "
            f"of these lines is compared."
        )


def in_flight(report: AuditReport) -> Iterator[str]:
    """A sentence per partition that was not audited to its end."""
    for partition in report.partitions:
        if partition.in_flight:
            yield (
                f"Partition {partition.partition}: audited up to offset {partition.audited_to:,} of "
                f"{partition.log_end:,}; {partition.in_flight:,} not metered yet."
            )
        if partition.not_stored:
            yield (
                f"Partition {partition.partition}: ClickHouse audited up to offset "
                f"{partition.stored_offset:,}; entries not stored yet: {partition.not_stored:,}."
            )


def differences(report: AuditReport, most: int) -> Iterator[str]:
    """Sentences about the first differences of each place: figures, then entries."""
    for place, found in report.places.items():
        if not found.kinds:
            continue
        yield f"{place}: {_counts(found)}, of {found.items:,} {ITEMS[place]}."
        cells = [cell for cell in found.cells if cell.expected != cell.found]
        yield from (f"  {_cell(cell)}" for cell in cells[:most])
        yield from _more(len(cells) - most, "figures")
        yield from (f"  {_difference(one, place)}" for one in found.differences[:most])
        yield from _more(len(found.differences) - most, "differences")


def repeated(report: AuditReport, most: int) -> Iterator[str]:
    """Sentences about events that were counted more than once because their repeats had a new time."""
    if report.repeated:
        yield (
            f"{len(report.repeated):,} events were counted more than once, because they came again with "
            f"another time when their ids were no longer remembered. The rules say so; see who sends them:"
        )
    yield from (f"  {_repeated(one)}" for one in report.repeated[:most])
    yield from _more(len(report.repeated) - most, "such events")


def shared_packs(report: AuditReport, most: int) -> Iterator[str]:
    """Sentences about packs that were in two apps at once."""
    if report.shared_packs:
        yield (
            f"{len(report.shared_packs):,} packs were in two apps at once, which WeChat does not allow: an "
            "assignment was not cancelled, or a pack recorded for the wrong app. Correct the facts:"
        )
    yield from (f"  {_shared_pack(one)}" for one in report.shared_packs[:most])
    yield from _more(len(report.shared_packs) - most, "such packs")


def beyond_horizon(report: AuditReport, most: int) -> Iterator[str]:
    """Sentences about late facts that are too old to be settled."""
    if report.beyond_horizon:
        yield (
            f"{report.beyond_horizon:,} facts came later than the settlement horizon allows "
            "(settle_horizon_d): they are kept, and what they would have changed before is not settled:"
        )
    yield from (
        f"  app {one.appid}, event {one.event_id}: of {shanghai_date(one.time_ms)} (Shanghai), at offset "
        f"{one.offset:,} of partition {one.partition}."
        for one in report.late_facts[:most]
    )
    yield from _more(report.beyond_horizon - most, "such facts")


def _counts(found: PlaceReport) -> str:
    return ", ".join(f"{count:,} {KINDS[kind]}" for kind, count in sorted(found.kinds.items()))


def _cell(cell: CellDifference) -> str:
    where = _where(cell.appid, cell.date, cell.pack_id)
    return f"{where}: {_sums(cell.found)}; expected {_sums(cell.expected)}."


def _sums(figures: LedgerFigures) -> str:
    return (
        f"{figures.entries:,} entries, {figures.events:,} events, {figures.calls:,} calls charged, "
        f"¥{yuan(figures.micro_yuan)}"
    )


def _difference(one: Difference, place: Place) -> str:
    if one.kind == "unreadable":
        return f"unreadable: record {one.offset} of {place} partition {one.partition}: {one.what}."
    line = f"partition {one.partition} offset {one.offset} line {one.line}"
    return f"{KINDS[one.kind]}: {line}, {_where(one.appid, one.date, one.pack_id)}: {one.what}."


def _where(appid: str, date: str, pack_id: str) -> str:
    app = f"app {appid}" if appid else "no app"
    return f"{app}, {date} (Shanghai){f', pack {pack_id}' if pack_id else ''}"


def _repeated(one: RepeatedEvent) -> str:
    return (
        f"app {one.appid}, event {one.event_id}: {one.times} times, at offsets {one.first_offset:,} to "
        f"{one.last_offset:,} of partition {one.partition}, {shanghai_date(one.first_ms)} to "
        f"{shanghai_date(one.last_ms)} (Shanghai)."
    )


def _shared_pack(one: SharedPack) -> str:
    return (
        f"pack {one.pack_id}: in {one.appids[0]} and in {one.appids[1]}, {shanghai_time(one.from_ms)} to "
        f"{shanghai_time(one.until_ms)}."
    )


def _more(count: int, what: str) -> Iterator[str]:
    if count > 0:
        yield f"  and {count:,} more {what}; --json lists them."
