"""Files read into facts, for the tests of reading."""

import json
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

from metering.times import to_ms
from phonemeter.history.loading import LoadedFile, RefusedLine, load
from phonemeter.history.mapping import ColumnMapping
from phonemeter.history.moments import Moments, parse_zone
from phonemeter.history.opening import ReadOptions, open_table
from phonemeter.history.staging import Period, Staging

APP = "wxfb1f3d218d111092"
NOW_MS = to_ms(datetime(2026, 11, 1, tzinfo=UTC))
HEADER = "appid,time,code,capability,type"


class Loaded(NamedTuple):
    """The events of files in their order of publication, their refused lines, and counts."""

    events: list[dict[str, Any]]
    refused: list[RefusedLine]
    files: list[LoadedFile]
    repeated: int

    @property
    def reasons(self) -> list[str]:
        return [one.reason for one in self.refused]

    @property
    def sentences(self) -> list[str]:
        return [one.sentence for one in self.refused]


def loaded(
    *paths: Path,
    columns: dict[str, str] | None = None,
    constants: dict[str, str] | None = None,
    words: dict[str, dict[str, str]] | None = None,
    zone: str | None = None,
    time_format: str | None = None,
    reading: ReadOptions | None = None,
    period: Period | None = None,
) -> Loaded:
    """Load files."""
    mapping = ColumnMapping.of(columns or {}, constants or {}, words or {})
    moments = Moments(None if zone is None else parse_zone(zone), time_format)
    refused: list[RefusedLine] = []
    with ExitStack() as held:
        staging = held.enter_context(Staging.open(period or Period()))
        files: list[LoadedFile] = []
        for one in load(
            [open_table(str(path), mapping, reading or ReadOptions(), held) for path in paths],
            mapping,
            moments,
            staging,
            now_ms=NOW_MS,
            on_refused=refused.append,
            on_progress=lambda _share: None,
        ):
            if not files or files[-1] is not one:
                files.append(one)
        events = [json.loads(value) for batch in staging.batches() for value in batch.values]
        return Loaded(events, refused, files, staging.repeated)


def csv_of(path: Path, *lines: str, header: str = HEADER, encoding: str = "utf-8") -> Path:
    """Write a CSV file."""
    path.write_bytes("\n".join([header, *lines, ""]).encode(encoding))
    return path
