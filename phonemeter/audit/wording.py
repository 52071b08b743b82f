"""An audit in words."""

from collections.abc import Iterator
from typing import Final

from metering.money import MICRO_YUAN
from metering.times import shanghai_date
from phonemeter.audit.differences import Difference
from phonemeter.audit.figures import Figures
from phonemeter.audit.report import CellDifference, Place, PlaceReport, Repaired, Report
from phonemeter.audit.stored import Repeated

KINDS: Final = {
    "missing": "missing",
    "doubled": "there twice or more",
    "altered": "altered",
    "foreign": "unknown to the rules",
    "contradicted": "published again with other content",
    "unreadable": "unreadable",
    "not_listed": "stretches that were not looked into",
}
ITEMS: Final[dict[Place, str]] = {
    "phone-ledger": "lines",
    "ClickHouse": "lines",
    "phone-dead-letters": "letters",
}


def verdict(report: Report) -> str:
    """The whole in one sentence."""
    if report.clean:
        return "The ledger is what the rules say."
    wrong = [f"{place} {_counted(found)}" for place, found in report.places.items() if found.kinds]
    return f"The ledger is not what the rules say: {'; '.join(wrong)}."


def mended(repaired: Repaired) -> str:
    """What a repair did, in one sentence."""
    again = "; its end was restored by a sink" if repaired.looked_again else ""
    return f"ClickHouse was built anew from {repaired.lines:,} lines of phone-ledger{again}."


def scope(report: Report) -> str:
    """What was audited, in one sentence."""
    figures = report.figures
    records = sum(partition.records for partition in report.partitions)
    letters = sum(partition.dead_letters for partition in report.partitions)
    return (
        f"Audited: {records:,} records of the log, {figures.events:,} of them events with an outcome and "
        f"{letters:,} rejected; {figures.entries:,} lines, {figures.calls:,} calls charged, "
        f"¥{yuan(figures.micro_yuan)}, in {report.took_s:,.1f} s."
    )


def in_flight(report: Report) -> Iterator[str]:
    """How far each partition is that is not done to its end: a sentence each."""
    for partition in report.partitions:
        if partition.in_flight:
            yield (
                f"Partition {partition.partition}: audited up to offset {partition.audited_to:,} of "
                f"{partition.log_end:,}; the worker has {partition.in_flight:,} to go."
            )
        if partition.not_stored:
            yield (
                f"Partition {partition.partition}: ClickHouse audited up to offset "
                f"{partition.stored_offset:,}; the sink has {partition.not_stored:,} lines to go."
            )


def differences(report: Report, most: int) -> Iterator[str]:
    """The first differences of each place: what does not add up, and the lines that it comes from."""
    for place, found in report.places.items():
        if not found.kinds:
            continue
        yield f"{place}: {_counted(found)}, of {found.items:,} {ITEMS[place]}."
        cells = [cell for cell in found.cells if cell.expected != cell.found]
        yield from (f"  {_cell(cell)}" for cell in cells[:most])
        yield from _more(len(cells) - most, "figures")
        yield from (f"  {_difference(one, place)}" for one in found.differences[:most])
        yield from _more(len(found.differences) - most, "differences")


def repeated(report: Report, most: int) -> Iterator[str]:
    """Events that were counted more than once because they came back when their ids were forgotten."""
    if report.repeated:
        yield (
            f"{len(report.repeated):,} events were counted more than once, because they came again when "
            f"their ids were no longer remembered. The rules say so; look into who sends them so late:"
        )
    yield from (f"  {_repeated(one)}" for one in report.repeated[:most])
    yield from _more(len(report.repeated) - most, "such events")


def yuan(micro_yuan: int) -> str:
    """In yuan, to the micro-yuan where there are any."""
    sign = "-" if micro_yuan < 0 else ""
    whole, rest = divmod(abs(micro_yuan), MICRO_YUAN)
    cents = f"{rest:06d}".rstrip("0").ljust(2, "0")
    return f"{sign}{whole:,}.{cents}"


def _counted(found: PlaceReport) -> str:
    return ", ".join(f"{count:,} {KINDS[kind]}" for kind, count in sorted(found.kinds.items()))


def _cell(cell: CellDifference) -> str:
    where = _where(cell.appid, cell.date, cell.pack_id)
    return f"{where}: {_sums(cell.found)}; expected {_sums(cell.expected)}."


def _sums(figures: Figures) -> str:
    return (
        f"{figures.entries:,} lines, {figures.events:,} events, {figures.calls:,} calls charged, "
        f"¥{yuan(figures.micro_yuan)}"
    )


def _difference(one: Difference, place: Place) -> str:
    if one.kind == "unreadable":
        return f"unreadable: record {one.offset} of {place} partition {one.partition}: {one.what}."
    line = f"partition {one.partition} offset {one.offset} line {one.line}"
    return f"{KINDS[one.kind]}: {line}, {_where(one.appid, one.date, one.pack_id)}: {one.what}."


def _where(appid: str, date: str, pack_id: str) -> str:
    app = f"app {appid}" if appid else "no app"
    return f"{app}, {date}{f', pack {pack_id}' if pack_id else ''}"


def _repeated(one: Repeated) -> str:
    return (
        f"app {one.appid}, event {one.event_id}: {one.times} times, at offsets {one.first_offset:,} to "
        f"{one.last_offset:,} of partition {one.partition}, {shanghai_date(one.first_ms)} to "
        f"{shanghai_date(one.last_ms)}."
    )


def _more(count: int, what: str) -> Iterator[str]:
    if count > 0:
        yield f"  and {count:,} more {what}; --json lists them."
