"""The business databases that the tests of its stores run on: SQLite and PostgreSQL, empty for each test."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from phonemeter.business.database import BusinessDatabase
from phonemeter.business.tables import METADATA
from tests.business_databases import postgresql
from tests.real_parts import starts_real_parts


@pytest.fixture(scope="session")
@starts_real_parts
def server() -> Iterator[str]:
    """The URL of a database on a PostgreSQL that all these tests share."""
    with postgresql() as url:
        yield url


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of an empty business database."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/business/business.sqlite"
    found: str = request.getfixturevalue("server")
    with BusinessDatabase(found) as database, database.begin() as connection:
        for table in reversed(METADATA.sorted_tables):
            connection.execute(table.delete())
    return found
