"""HTTP responses: status, headers, and an exception after the status."""

import json
import re
import time
from typing import Final

from phonemeter.engine.chdb_engine import QueryStatistics
from phonemeter.engine.errors import EngineError

STATUS: Final = {
    **dict.fromkeys((36, 43, 44, 47, 53, 57, 62, 73, 115, 117, 158, 271, 456), 400),
    **dict.fromkeys((164, 497, 516), 403),
    **dict.fromkeys((60, 81, 372), 404),
    48: 501,
    159: 408,
    202: 429,
    307: 413,
    373: 423,
}
"""HTTP status by ClickHouse code; 500 for the others."""
CONTENT_TYPES: Final = {
    r"JSON\w*EachRow|JSONLines|NDJSON": "application/x-ndjson; charset=UTF-8",
    r"JSON": "application/json; charset=UTF-8",
    r"TabSeparated|TSV": "text/tab-separated-values; charset=UTF-8",
    r"CSV": "text/csv; charset=UTF-8",
    r"Native|RowBinary|Parquet|Arrow|ORC": "application/octet-stream",
    r"": "text/plain; charset=UTF-8",
}


def result_headers(
    result_format: str, statistics: QueryStatistics | None, started_at_s: float
) -> dict[str, str]:
    """The headers of a result, with its format if it has a body, and statistics if its query has ended."""
    kind = next(kind for pattern, kind in CONTENT_TYPES.items() if re.match(pattern, result_format))
    headers = {"Content-Type": kind}
    if result_format:
        headers["X-ClickHouse-Format"] = result_format
    if statistics is not None:
        elapsed_ns = int((time.monotonic() - started_at_s) * 1e9)
        counted = {**statistics._asdict(), "elapsed_ns": elapsed_ns}
        headers["X-ClickHouse-Summary"] = json.dumps({name: str(value) for name, value in counted.items()})
    return headers


def late_exception(error: EngineError, mark: str) -> bytes:
    """An exception within a body, as clickhouse-server writes it."""
    text = error.http_text
    size = len(text.encode()) + 1
    return f"\r\n__exception__\r\n{mark}\r\n{text}\n{size} {mark}\r\n__exception__\r\n".encode()
