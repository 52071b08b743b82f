"""The migrations, and that a database that has them all does not wait for Alembic."""

import subprocess
import sys
from pathlib import Path

import pytest
from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy import select, update

from dashboards.console.members import Actor
from phonemeter.business.audit_trail import note
from phonemeter.business.database import BusinessDatabase
from phonemeter.business.members import BusinessMembers, MemberRegister
from phonemeter.business.migration import MIGRATIONS, newest
from phonemeter.business.owners import OwnerStore
from phonemeter.business.tables import MEMBERS, MEMBERSHIPS

OPEN = """
import sys
from phonemeter.business.database import BusinessDatabase
with BusinessDatabase(sys.stdin.read()) as database, database.begin():
    print("alembic" in sys.modules)
"""


def migrated_back(database: BusinessDatabase, revision: str) -> None:
    """The tables as an older version left them."""
    config = Config()
    config.set_main_option("script_location", MIGRATIONS)
    with database.begin() as connection:
        config.attributes["connection"] = connection
        command.downgrade(config, revision)


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


@pytest.mark.stack
def test_an_operator_of_an_older_version_whom_no_command_made_one_becomes_a_viewer(url: str) -> None:
    emails = [f"{name}@a.example" for name in ("added", "made-by-owner", "made-again", "untold", "finance")]
    with BusinessDatabase(url) as database:
        owner_id = OwnerStore(database).add("a", [])
        register = MemberRegister(database)
        for email in emails:
            register.add(email, "x", "a", "finance" if "finance" in email else "viewer")
        register.add(emails[0], "x", "a", "operator")
        with database.begin() as connection:
            for email in (emails[1], emails[2]):
                note(connection, Actor("li@a.example", owner_id), "role_changed", f"{email}: operator")
            ids = select(MEMBERS.c.member_id).where(MEMBERS.c.email.in_(emails[1:4]))
            connection.execute(
                update(MEMBERSHIPS).where(MEMBERSHIPS.c.member_id.in_(ids)).values(role="operator")
            )
            untold = select(MEMBERS.c.member_id).where(MEMBERS.c.email == emails[3])
            connection.execute(
                update(MEMBERS).where(MEMBERS.c.member_id.in_(untold)).values(email="other@a.example")
            )
        register.add(emails[2], "x", "a", "operator")
        migrated_back(database, "0007")
    with BusinessDatabase(url) as database:
        members = BusinessMembers(database)
        assert {one.email: one.role for one in members.members_of(owner_id)} == {
            emails[0]: "operator",
            emails[1]: "viewer",
            emails[2]: "operator",
            "other@a.example": "viewer",
            emails[4]: "finance",
        }
        told = [(one.who, one.subject) for one in members.audit_trail(owner_id) if one.what == "role_changed"]
        assert sorted(told[:2]) == [
            ("phonemeter", f"{emails[1]}: viewer"),
            ("phonemeter", "other@a.example: viewer"),
        ]
