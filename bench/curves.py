"""Usage curves over many ledger rows, made in the engine itself, through the product's own table and views.

`python -m bench.curves [--rows N]` prints one JSON line per figure: bytes a row on the disk, the time that
each curve takes, and how many rows were read for it. What the rows are like is in `curves.sql`.
"""

import argparse
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median
from typing import Any, Final, NamedTuple

from clickhouse_driver import Client

from bench.figures import Figure, conditions, tell, write
from bench.processes import Program, stack
from dashboards.views import statements
from phonemeter.settings import Settings
from sinks.connection import connect, rows
from sinks.migrations import migrate

ROWS: Final = 100_000_000
ROWS_PER_INSERT: Final = 1_000_000
APPS: Final = 5_000
PARTITIONS: Final = 4
SKEW: Final = 1.1
MADE: Final = Path(__file__).with_name("curves.sql")
YEAR: Final = ("2025-01-01", "2025-12-31")
START_MS: Final = 1_735_660_800_000
"""2025-01-01T00:00:00 in Shanghai."""

YEAR_MS: Final = 365 * 86_400_000
RUNS: Final = 9
CURVE_MS_MAX: Final = 50
TOP_MS_MAX: Final = 200
BYTES_MAX: Final = 25
SETTLE_S_MAX: Final = 3_600.0
REPLY_S_MAX: Final = 600.0

TOP_OF_YEAR: Final = """
SELECT month, appid, sum(usage_monthly_by_app.succeeded) AS calls
FROM usage_monthly_by_app
GROUP BY month, appid
HAVING calls > 0
ORDER BY month, calls DESC, appid
LIMIT 100 BY month
"""

TOP_OF_MONTH: Final = """
SELECT appid, sum(usage_monthly_by_app.succeeded) AS calls
FROM usage_monthly_by_app
WHERE month = '2025-06-01'
GROUP BY appid
HAVING calls > 0
ORDER BY calls DESC, appid
LIMIT 100
"""

CURVE: Final = "SELECT * FROM usage_curve(app = '{app}', first_day = '{days[0]}', last_day = '{days[1]}')"

CURVE_OF_LINES: Final = """
SELECT toDate(time, 'Asia/Shanghai') AS day, sum(calls)
FROM ledger
WHERE appid = '{app}' AND kind IN ('charge', 'trial_charge', 'free', 'exempt', 'uncovered')
    AND toDate(time, 'Asia/Shanghai') BETWEEN '{days[0]}' AND '{days[1]}'
GROUP BY day
ORDER BY day WITH FILL FROM toDate('{days[0]}') TO toDate('{days[1]}') + 1
SETTINGS optimize_use_projections = 0
"""

TOP_OF_LINES: Final = """
SELECT toStartOfMonth(time, 'Asia/Shanghai') AS month, appid, sum(calls) AS moved
FROM ledger
WHERE kind IN ('charge', 'trial_charge', 'free', 'exempt', 'uncovered')
GROUP BY month, appid
ORDER BY month, moved DESC, appid
LIMIT 100 BY month
SETTINGS optimize_use_projections = 0
"""

_APPS: Final = """
SELECT appid, sum(usage_monthly_by_app.succeeded) AS calls
FROM usage_monthly_by_app
GROUP BY appid
ORDER BY calls DESC, appid
"""
_PARTS: Final = "FROM system.parts WHERE active AND database = currentDatabase() AND table = 'ledger'"
_OF_COLUMNS: Final = (
    "SELECT column, sum(column_bytes_on_disk) AS size FROM system.parts_columns WHERE active "
    "AND database = currentDatabase() AND table = 'ledger' GROUP BY column ORDER BY size DESC"
)
_OF_PROJECTIONS: Final = (
    "SELECT name, sum(bytes_on_disk), sum(rows) FROM system.projection_parts WHERE active "
    "AND database = currentDatabase() AND table = 'ledger' GROUP BY name"
)
_OF_INDEXES: Final = f"SELECT sum(secondary_indices_compressed_bytes) {_PARTS}"


class Timed(NamedTuple):
    """Some runs of a query: how long each took, what it read, and what came of it."""

    took_ms: tuple[float, ...]
    rows_read: int
    found: list[tuple[Any, ...]]


def main() -> None:
    """Measure as asked on the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=ROWS)
    asked = parser.parse_args()
    under = conditions()
    for figure in figures(asked.rows):
        write(figure.as_line(under))


def figures(count: int) -> Iterator[Figure]:
    """Make so many rows, and measure."""
    with stack("engine") as (settings, running):
        migrate(settings.clickhouse)
        with connect(settings.clickhouse, reply_timeout_s=REPLY_S_MAX) as client:
            for statement in statements():
                client.execute(statement)
            used_s = fill(client, running["engine"], count)
            yield from _sizes(client, settings, count, used_s)
            yield from _curves(client, count)


def fill(client: Client, engine: Program, count: int) -> tuple[float, float]:
    """Make the rows, wait for the merges; the engine's seconds of CPU for both, and for the INSERTs alone."""
    began_s = engine.usage().cpu_s
    for start in range(0, count, ROWS_PER_INSERT):
        client.execute(_statement(start, min(ROWS_PER_INSERT, count - start), count))
        if start % (10 * ROWS_PER_INSERT) == 0:
            tell(f"{start + ROWS_PER_INSERT:,} of {count:,} rows")
    inserted_s = engine.usage().cpu_s
    _wait(lambda: not rows(client, "SELECT 1 FROM system.merges LIMIT 1"))
    return engine.usage().cpu_s - began_s, inserted_s - began_s


def _statement(start: int, count: int, total: int) -> str:
    return MADE.read_text().format(
        from_=start,
        count=count,
        rows=total,
        start=START_MS,
        step=YEAR_MS / total,
        partitions=PARTITIONS,
        ranks=APPS // PARTITIONS,
        skew=SKEW,
    )


def _wait(condition: Callable[[], bool]) -> None:
    until_s = time.monotonic() + SETTLE_S_MAX
    while not condition():
        if time.monotonic() > until_s:
            raise RuntimeError(f"the engine was still merging after {SETTLE_S_MAX:.0f} s")
        time.sleep(0.5)


def _sizes(client: Client, settings: Settings, count: int, used_s: tuple[float, float]) -> Iterator[Figure]:
    ((stored, on_disk, parts),) = rows(client, f"SELECT sum(rows), sum(bytes_on_disk), count() {_PARTS}")
    columns = {name: round(size / stored, 3) for name, size in rows(client, _OF_COLUMNS)}
    projections = {name: round(size / stored, 3) for name, size, _ in rows(client, _OF_PROJECTIONS)}
    ((indexes,),) = rows(client, _OF_INDEXES)
    yield Figure(
        figure="curves: storage",
        values=(on_disk / stored,),
        unit="bytes per ledger row",
        target=BYTES_MAX,
        correct=stored == count,
        under={
            "rows": stored,
            "apps": APPS,
            "parts": parts,
            "event_id_digits": settings.event_id_digits,
            "columns": columns,
            "projections": projections,
            "indexes": round(indexes / stored, 3),
        },
    )
    yield Figure(
        figure="curves: engine's CPU to make, insert and merge",
        values=(used_s[0] / stored * 1e6,),
        unit="CPU s per million rows",
        under={"rows": stored, "rows_per_insert": ROWS_PER_INSERT},
    )


def _curves(client: Client, count: int) -> Iterator[Figure]:
    apps = [appid for appid, _ in rows(client, _APPS)]
    for called, app in {"largest": apps[0], "median": apps[len(apps) // 2]}.items():
        timed = _timed(client, CURVE.format(app=app, days=YEAR))
        lines = rows(client, CURVE_OF_LINES.format(app=app, days=YEAR))
        yield Figure(
            figure=f"curves: the {called} app's year by day",
            values=timed.took_ms,
            unit="ms",
            target=CURVE_MS_MAX,
            correct=[row[:2] for row in timed.found] == lines,
            under={"rows": count, "rows_read": timed.rows_read, "calls": sum(row[1] for row in timed.found)},
        )
    year = rows(client, TOP_OF_LINES)
    june = [row[1:] for row in year if row[0].isoformat() == "2025-06-01"]
    for called, query, wanted in (
        ("the fleet's top 100 of each month of a year", TOP_OF_YEAR, year),
        ("the fleet's top 100 of one month", TOP_OF_MONTH, june),
    ):
        timed = _timed(client, query)
        yield Figure(
            figure=f"curves: {called}",
            values=timed.took_ms,
            unit="ms",
            target=TOP_MS_MAX,
            correct=timed.found == wanted,
            under={"rows": count, "rows_read": timed.rows_read, "apps": len(apps)},
        )


def _timed(client: Client, query: str) -> Timed:
    """Run a query some times, after once that warms the caches."""
    found = rows(client, query)
    took_ms = []
    for _ in range(RUNS):
        began_s = time.perf_counter()
        found = rows(client, query)
        took_ms.append((time.perf_counter() - began_s) * 1_000)
    tell(f"{median(took_ms):.1f} ms: {' '.join(query.split())[:100]}")
    return Timed(tuple(took_ms), client.last_query.progress.rows, found)


if __name__ == "__main__":
    main()
