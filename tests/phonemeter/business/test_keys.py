"""API keys in the business database, in SQLite and in PostgreSQL, and by the command line."""

import sqlite3
import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import text

from metering.times import DAY_MS, HOUR_MS
from phonemeter.business import keys as business_keys
from phonemeter.business.database import BusinessDatabase
from phonemeter.business.keys import KeyStore
from phonemeter.business.tables import METADATA
from phonemeter.errors import OperationError, UserError
from producers.gateway.api_keys import KEYS_MAX
from producers.gateway.errors import KeysUnavailableError
from tests.phonemeter.cli.calling import Phonemeter, called

NOW_MS = 1_800_000_000_000


@pytest.fixture
def store(url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[KeyStore]:
    monkeypatch.setattr(business_keys, "wall_clock_ms", lambda: NOW_MS)
    with BusinessDatabase(url) as database:
        yield KeyStore(database)


@pytest.fixture
def phonemeter(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> Phonemeter:
    return partial(called, monkeypatch, capsys, tmp_path, "127.0.0.1:1")


pytestmark = pytest.mark.stack


def test_a_key_that_was_issued_is_read_as_it_is(store: KeyStore) -> None:
    issued = store.issue(
        "集团", ["emit", "read"], ["wx1", "wx2"], events_per_s=7, expires_at_ms=NOW_MS + DAY_MS
    )
    assert store.valid_keys() == [issued.key]
    assert issued.key.opens_with(issued.text)
    assert (issued.key.name, issued.key.scopes, issued.key.apps) == ("集团", ("emit", "read"), ("wx1", "wx2"))
    assert (issued.key.events_per_s, issued.key.expires_at_ms) == (7, NOW_MS + DAY_MS)


def test_neither_the_text_of_a_key_nor_its_secret_is_stored(store: KeyStore, url: str) -> None:
    issued = store.issue("back end", ["emit"], [])
    with BusinessDatabase(url) as database, database.begin() as connection:
        stored = str(connection.execute(text("SELECT * FROM api_keys")).all())
    assert issued.key.digest in stored
    assert issued.text.split("_", 2)[2] not in stored


def test_a_revoked_or_expired_key_is_listed_and_not_valid(store: KeyStore) -> None:
    first = store.issue("a", ["emit"], []).key
    store.issue("b", ["emit"], [], expires_at_ms=NOW_MS)
    assert store.revoke(first.prefix).revoked_at_ms == NOW_MS
    assert store.revoke(first.key_id).revoked_at_ms == NOW_MS
    assert store.valid_keys() == []
    assert sorted(key.name for key in store.every_key()) == ["a", "b"]


def test_after_a_rotation_both_keys_are_valid_until_the_old_one_expires(store: KeyStore) -> None:
    old = store.issue("a", ["emit"], ["wx1"], events_per_s=7)
    new = store.rotate(old.key.prefix, HOUR_MS)
    assert new.text != old.text
    assert (new.key.scopes, new.key.apps, new.key.events_per_s) == (("emit",), ("wx1",), 7)
    valid = {key.key_id: key for key in store.valid_keys()}
    assert valid[old.key.key_id].expires_at_ms == NOW_MS + HOUR_MS
    assert valid[new.key.key_id].expires_at_ms is None


def test_a_rotation_prolongs_no_key_and_revives_none(store: KeyStore) -> None:
    old = store.issue("a", ["emit"], [], expires_at_ms=NOW_MS + 1)
    assert store.rotate(old.key.prefix, HOUR_MS).key.expires_at_ms == NOW_MS + 1
    assert {key.expires_at_ms for key in store.valid_keys()} == {NOW_MS + 1}
    store.revoke(old.key.prefix)
    with pytest.raises(OperationError, match="not valid any more"):
        store.rotate(old.key.prefix)


def test_a_key_that_does_not_exist_is_said_without_repeating_what_may_be_a_secret(store: KeyStore) -> None:
    for name in ("pm_00000000", "pm_00000000_" + "x" * 43, "x"):
        with pytest.raises(OperationError, match="There is no API key") as error:
            store.revoke(name)
        assert "xxx" not in str(error.value)


def test_there_are_at_most_so_many_valid_keys(store: KeyStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(business_keys, "KEYS_MAX", 2)
    first = store.issue("a", ["emit"], [])
    store.issue("b", ["emit"], [])
    with pytest.raises(UserError, match="revoke some first"):
        store.issue("c", ["emit"], [])
    store.revoke(first.key.prefix)
    store.issue("c", ["emit"], [])
    assert KEYS_MAX == 1_000


def test_the_migrations_make_the_tables_that_the_code_has(url: str) -> None:
    with BusinessDatabase(url) as database, database.begin() as connection:
        assert compare_metadata(MigrationContext.configure(connection), METADATA) == []


def test_processes_that_open_a_new_database_at_once_do_not_hinder_each_other(tmp_path: Path) -> None:
    url, failures = f"sqlite:///{tmp_path}/business.sqlite", []

    def issue() -> None:
        try:
            KeyStore(BusinessDatabase(url)).issue("a", ["emit"], [])
        except OperationError as error:
            failures.append(error)

    threads = [threading.Thread(target=issue) for _ in range(6)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert failures == []
    assert len(KeyStore(BusinessDatabase(url)).every_key()) == 6


def test_only_its_user_can_read_the_file(tmp_path: Path) -> None:
    KeyStore(BusinessDatabase(f"sqlite:///{tmp_path}/business/business.sqlite")).issue("a", ["emit"], [])
    assert {path.stat().st_mode & 0o077 for path in (tmp_path / "business").rglob("*")} == {0}
    assert (tmp_path / "business").stat().st_mode & 0o077 == 0


@pytest.mark.parametrize(
    "url", ["postgresql://phonemeter:sesame@127.0.0.1:1/x", "sqlite:////proc/none/business.sqlite"]
)
def test_a_database_that_is_away_is_one_sentence_without_its_password(url: str) -> None:
    store = KeyStore(BusinessDatabase(url))
    with pytest.raises(OperationError, match=r"can't be used \(.+\); check it") as error:
        store.every_key()
    assert "sesame" not in str(error.value)
    with pytest.raises(KeysUnavailableError):
        store.valid_keys()


def test_a_database_of_a_newer_version_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "business.sqlite"
    KeyStore(BusinessDatabase(f"sqlite:///{path}")).issue("a", ["emit"], [])
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
    connection.close()
    with pytest.raises(OperationError, match="upgrade to the newest release"):
        KeyStore(BusinessDatabase(f"sqlite:///{path}")).every_key()


def test_the_command_line_issues_lists_rotates_and_revokes(url: str, phonemeter: Phonemeter) -> None:
    call = partial(phonemeter, PHONEMETER_BUSINESS_DATABASE=url)
    issued = call("keys", "issue", "member centre", "--app", "wx1", "--scope", "emit", "--expires-days", "9")
    key = issued.stdout.strip()
    assert (issued.returncode, key[:3], len(key)) == (0, "pm_", 55)
    (listed,) = call("keys", "list", "--json").json["keys"]
    assert (listed["prefix"], listed["name"], listed["state"]) == (key[:11], "member centre", "valid")
    assert "digest" not in listed
    rotated = call("keys", "rotate", key[:11], "--overlap-hours", "0", "--quiet").stdout.strip()
    assert rotated.startswith("pm_")
    assert call("keys", "revoke", rotated).returncode == 0
    shown = call("keys", "list").stdout
    assert "expired" in shown
    assert "revoked" in shown
    assert key[12:] not in shown


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["x"], "Say which apps the key is for"),
        (["x", "--all-apps", "--app", "wx1"], "Say which apps the key is for"),
        (["x", "--app", "no appid"], "is no appid"),
        (["x", "--all-apps", "--scope", "write"], "is no scope"),
        (["", "--all-apps"], "The name of a key has"),
        (["13800138000", "--all-apps"], "no phone number"),
    ],
)
def test_what_is_wrong_on_the_command_line_is_said_in_a_sentence(
    arguments: list[str], sentence: str, tmp_path: Path, phonemeter: Phonemeter
) -> None:
    refused = phonemeter("keys", "issue", *arguments)
    assert (refused.returncode, refused.stdout) == (2, "")
    assert sentence in refused.stderr
    assert not (tmp_path / ".phonemeter").exists()
