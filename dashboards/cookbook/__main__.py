"""Write docs/how-to/cookbook.md from the recipes: python -m dashboards.cookbook."""

from pathlib import Path
from typing import Final

from dashboards.cookbook import recipes

FILE: Final = Path(__file__).parents[2] / "docs" / "how-to" / "cookbook.md"

HEAD: Final = """# Questions to the ledger

Fifteen questions that analysts ask, each with a query on the views of
[the ledger in ClickHouse](../reference/clickhouse.md) that runs as it is. They cover every app; add
`WHERE appid = '...'` for one. "Now" is [the view `clock`](../reference/clickhouse.md#now). Days, months and
hours are in Shanghai time. Money is in micro-yuan in the views and in yuan in the answers.

`python -m dashboards.cookbook` writes this page from `dashboards/cookbook/`. The tests run each query on
half a year of simulated traffic in the real engine, and compare most figures with a computation in plain
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
