"""Write docs/cookbook.md from the recipes: python -m dashboards.cookbook."""

from pathlib import Path
from typing import Final

from dashboards.cookbook import recipes

FILE: Final = Path(__file__).parents[2] / "docs" / "cookbook.md"

HEAD: Final = """# Questions to the ledger

Fifteen questions that analysts ask, each with a query that runs as it stands, on the views of
[the ledger in ClickHouse](clickhouse.md). They read every app; add `WHERE appid = '...'` for one. "Now" is
the newest line of the ledger, so that a replayed past answers as well. Days, months and hours are Shanghai's;
money in the views is in micro-yuan, in the answers in yuan.

This page is written by `python -m dashboards.cookbook` from `dashboards/cookbook/`. The tests run each query
on half a year of simulated traffic against the real engine, and hold most figures to a computation in plain
Python.
"""


def rendered() -> str:
    """The page as the recipes make it."""
    parts = [
        f"## {number}. {one.question}\n\n{one.reading}\n\n```sql\n{one.sql}\n```\n"
        for number, one in enumerate(recipes(), 1)
    ]
    return "\n".join((HEAD, *parts))


if __name__ == "__main__":
    FILE.write_text(rendered(), encoding="utf-8")
