"""`docs/reference/clickhouse.md`: each query in it runs, and what it lists is what is there."""

import re
from pathlib import Path

import pytest

from dashboards.views import NAMES
from tests.dashboards.conftest import Ledger

PAGE = (Path(__file__).parents[2] / "docs" / "reference" / "clickhouse.md").read_text(encoding="utf-8")
QUERIES = re.findall(r"```sql\n(.*?)```", PAGE, re.DOTALL)
FINDS_NOTHING = "HAVING times > 1"


def first_cells(heading: str) -> list[str]:
    """The names in the first column of the first table under a heading."""
    section = PAGE.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    table = re.search(r"(?:^\|.*\n)+", section, re.MULTILINE)
    assert table is not None
    return re.findall(r"^\| `(\w+)` \|", table[0], re.MULTILINE)


@pytest.mark.parametrize("query", QUERIES)
def test_each_query_of_the_page_answers(ledger: Ledger, query: str) -> None:
    assert bool(ledger.query(query)) == (FINDS_NOTHING not in query)


def test_the_page_has_the_questions_that_analysts_ask() -> None:
    assert len(re.findall(r"\?\n\n```sql", PAGE)) >= 5


def test_the_columns_on_the_page_are_those_of_the_table(ledger: Ledger) -> None:
    found = ledger.query(
        "SELECT name FROM system.columns WHERE database = 'phonemeter' AND table = 'ledger' ORDER BY position"
    )
    assert first_cells("Table `ledger`") == [name for (name,) in found]


def test_the_views_on_the_page_are_those_that_there_are() -> None:
    assert first_cells("Views") == list(NAMES)
