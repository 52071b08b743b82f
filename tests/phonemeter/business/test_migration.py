"""The migrations, and that a database that has them all does not wait for Alembic."""

import subprocess
import sys
from pathlib import Path

import pytest
from alembic.config import Config
from alembic.script import ScriptDirectory

from phonemeter.business.database import BusinessDatabase
from phonemeter.business.migration import MIGRATIONS, newest

OPEN = """
import sys
from phonemeter.business.database import BusinessDatabase
with BusinessDatabase(sys.stdin.read()) as database, database.begin():
    print("alembic" in sys.modules)
"""


def test_the_names_of_the_modules_say_which_migration_is_the_newest() -> None:
    config = Config()
    config.set_main_option("script_location", MIGRATIONS)
    assert ScriptDirectory.from_config(config).get_current_head() == newest()


@pytest.mark.stack
def test_alembic_is_not_loaded_for_a_database_that_has_all_migrations(url: str, tmp_path: Path) -> None:
    with BusinessDatabase(url) as database, database.begin():
        pass
    opened = subprocess.run(
        [sys.executable, "-c", OPEN], input=url, cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert opened.stdout == "False\n"
