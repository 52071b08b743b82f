"""Records of the log, and ranges of them as a broker delivered them."""

from collections.abc import Iterable

from msgspec import Struct

from metering.content_modes import Headers


class Record(Struct, frozen=True, gc=False):
    """One record of the log, as published.

    Attributes:
        recorded_at_ms: the broker's time; None offline, where a record arrives at its event time.
    """

    offset: int
    recorded_at_ms: int | None
    key: bytes | None
    value: bytes | None
    headers: Headers = ()


class RecordRange(list[Record]):
    """The records of a range of offsets. At its other offsets the log has nothing to deliver.

    Control records, aborted records and those that compaction removed have offsets too; a fetch response
    leaves them out. So a gap within a response is legitimate, and a gap between two responses is a loss.

    Attributes:
        begin: the offset that was fetched from.
        end: the offset to fetch from next.
    """

    def __init__(self, records: Iterable[Record], begin: int, end: int) -> None:
        super().__init__(records)
        self.begin = begin
        self.end = end
