"""The rows of a business database, read as of one moment and put into another one."""

from pathlib import Path

import pytest
from sqlalchemy import Connection, insert, select, text

from phonemeter.business.database import BusinessDatabase
from phonemeter.business.tables import API_KEYS, AUDIT_TRAIL, OWNERS
from phonemeter.business.transfer import TableRows, export_rows, import_rows, refuse_filled
from phonemeter.errors import OperationError, UserError


def fill(connection: Connection) -> None:
    key = {
        "key_id": "k1",
        "name": "till",
        "digest": "d",
        "scopes": ["events"],
        "apps": [],
        "created_at_ms": 7,
    }
    connection.execute(insert(API_KEYS), [key])
    connection.execute(
        insert(OWNERS),
        [
            {"owner_id": f"o{number}", "name": f"店 {number}", "created_at_ms": number}
            for number in range(1_201)
        ],
    )
    connection.execute(insert(AUDIT_TRAIL), [_deed(41)])


def _deed(entry_id: int) -> dict[str, object]:
    return {"entry_id": entry_id, "at_ms": 1, "who": "cli", "what": "added", "subject": "o1"}


def exported(database: BusinessDatabase) -> tuple[tuple[str, str], list[TableRows]]:
    parts: list[TableRows] = []
    return export_rows(database, parts.append), parts


@pytest.mark.stack
def test_rows_are_put_into_an_empty_database_once_and_numbers_go_on_behind_them(
    url: str, tmp_path: Path
) -> None:
    with BusinessDatabase(f"sqlite:///{tmp_path}/other/business.sqlite") as source:
        with source.begin() as connection:
            fill(connection)
        (migration, digest), parts = exported(source)
    assert max(len(part.rows) for part in parts) == 500
    with BusinessDatabase(url) as target:
        import_rows(target, migration, digest, parts)
        assert exported(target) == ((migration, digest), parts)
        with target.begin() as connection:
            connection.execute(insert(AUDIT_TRAIL), [_new()])
            assert connection.execute(select(AUDIT_TRAIL.c.entry_id)).scalars().all() == [41, 42]
        with pytest.raises(UserError, match=r"is not empty: api_keys, .*owners have rows"):
            import_rows(target, migration, digest, parts)


def _new() -> dict[str, object]:
    return {name: value for name, value in _deed(0).items() if name != "entry_id"}


@pytest.mark.stack
def test_rows_that_are_written_during_the_export_are_not_in_it(url: str) -> None:
    with BusinessDatabase(url) as database, BusinessDatabase(url) as other:
        with database.begin() as connection:
            fill(connection)
        before = exported(database)
        with database.snapshot() as frozen:
            frozen.execute(select(OWNERS)).first()
            with other.begin() as connection:
                connection.execute(insert(AUDIT_TRAIL), [_deed(99)])
            assert frozen.execute(select(AUDIT_TRAIL.c.entry_id)).scalars().all() == [41]
        assert exported(database) != before


def test_a_restored_database_is_accepted_again_and_one_that_was_changed_is_refused(tmp_path: Path) -> None:
    with BusinessDatabase(f"sqlite:///{tmp_path}/business.sqlite") as database:
        assert refuse_filled(database, "")
        with database.begin() as connection:
            fill(connection)
        (migration, digest), parts = exported(database)
        assert not refuse_filled(database, digest)
        import_rows(database, migration, digest, parts)
        with database.begin() as connection:
            connection.execute(OWNERS.delete().where(OWNERS.c.owner_id == "o7"))
        with pytest.raises(UserError, match=r"business\.sqlite is not empty"):
            refuse_filled(database, digest)


def test_rows_of_an_unknown_migration_are_refused_and_nothing_is_left(tmp_path: Path) -> None:
    with BusinessDatabase(f"sqlite:///{tmp_path}/business.sqlite") as database:
        with pytest.raises(OperationError, match="upgrade to the newest release"):
            import_rows(database, "9999", "", [])
        with database.unmigrated() as connection:
            found = connection.execute(text("SELECT name FROM sqlite_master WHERE type = 'table'")).all()
        assert found == []


def test_rows_of_an_older_migration_are_brought_to_the_newest(tmp_path: Path) -> None:
    columns = ("key_id", "name", "digest", "scopes", "apps", "created_at_ms")
    older = TableRows("api_keys", columns, [["k1", "till", "d", ["events"], [], 7]])
    with BusinessDatabase(f"sqlite:///{tmp_path}/business.sqlite") as database:
        import_rows(database, "0001", "", [older])
        with database.begin() as connection:
            assert connection.execute(select(API_KEYS.c.key_id, API_KEYS.c.scopes)).all() == [
                ("k1", ["events"])
            ]
            assert connection.execute(select(OWNERS)).all() == []
