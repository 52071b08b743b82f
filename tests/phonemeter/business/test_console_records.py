"""Owners, members and sessions in SQLite and in PostgreSQL, and by the command line."""

import threading
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest
from sqlalchemy import select

from dashboards.console.errors import RecordsUnavailableError, RefusedChangeError
from dashboards.console.members import Actor
from dashboards.console.sessions import token_digest
from metering.times import HOUR_MS, MINUTE_MS
from phonemeter.business import audit_trail, members, owners, sessions
from phonemeter.business.database import BusinessDatabase
from phonemeter.business.members import LINK_MS, BusinessMembers, MemberRegister
from phonemeter.business.owners import OwnerStore
from phonemeter.business.sessions import SESSIONS_MAX, BusinessSessions
from phonemeter.business.tables import (
    AUDIT_TRAIL,
    MEMBERS,
    MEMBERSHIPS,
    OWNER_APPS,
    OWNERS,
    PASSWORD_LINKS,
    SESSIONS,
)
from phonemeter.errors import UserError
from tests.phonemeter.cli.calling import Phonemeter, called

NOW_MS = 1_800_000_000_000
IDLE_MIN = 60
SESSION_H = 12
TABLES = (SESSIONS, PASSWORD_LINKS, MEMBERSHIPS, MEMBERS, OWNER_APPS, OWNERS, AUDIT_TRAIL)

pytestmark = pytest.mark.stack


@pytest.fixture
def database(url: str) -> Iterator[BusinessDatabase]:
    with BusinessDatabase(url) as opened:
        yield opened


@pytest.fixture
def at(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Moves the clock to so many milliseconds after the start."""

    def move(after_ms: int) -> None:
        for module in (audit_trail, members, owners, sessions):
            monkeypatch.setattr(module, "wall_clock_ms", lambda: NOW_MS + after_ms)

    move(0)
    return move


@pytest.fixture
def phonemeter(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> Phonemeter:
    return partial(called, monkeypatch, capsys, tmp_path, "127.0.0.1:1")


def sessions_of(database: BusinessDatabase) -> BusinessSessions:
    return BusinessSessions(database, IDLE_MIN, SESSION_H)


def member_with_password(database: BusinessDatabase, email: str = "li@a.example", owner: str = "a") -> str:
    """The id of a new member in the role owner."""
    link = MemberRegister(database).add(email, "Li", owner, "owner")
    assert link is not None
    member_id = sessions_of(database).use_link(token_digest(link.token), "hash")
    assert member_id is not None
    return member_id


def test_an_app_has_one_owner(database: BusinessDatabase) -> None:
    store = OwnerStore(database)
    store.add("a", ["wx1", "wx2"])
    store.add("b", [])
    with pytest.raises(UserError, match="wx1 has another owner"):
        store.change_apps("b", ["wx1"], [])
    with pytest.raises(UserError, match="wx2 has another owner"):
        store.add("c", ["wx3", "wx2"])
    assert [(one.name, one.apps) for one in store.every_owner()] == [("a", ("wx1", "wx2")), ("b", ())]
    store.change_apps("a", [], ["wx1", "wx9"])
    assert store.change_apps("b", ["wx1", "wx1"], []).apps == ("wx1",)
    with pytest.raises(UserError, match="There is an owner 'a' already"):
        store.add("a", [])
    with pytest.raises(UserError, match="There is no owner 'x'"):
        store.change_apps("x", ["wx5"], [])


def test_a_session_that_is_used_goes_on_for_twelve_hours_at_most(
    database: BusinessDatabase, at: Callable[[int], None]
) -> None:
    OwnerStore(database).add("a", ["wx1"])
    found = sessions_of(database)
    member_id = member_with_password(database)
    assert found.begin(member_id, "one")
    for minutes in range(59, 720, 59):
        at(minutes * MINUTE_MS)
        signed_in = found.find("one")
        assert signed_in is not None
        assert (signed_in.email, signed_in.apps) == ("li@a.example", ("wx1",))
    at(SESSION_H * HOUR_MS)
    assert found.find("one") is None


def test_an_idle_session_ends_to_the_minute(database: BusinessDatabase, at: Callable[[int], None]) -> None:
    OwnerStore(database).add("a", [])
    found = sessions_of(database)
    assert found.begin(member_with_password(database), "one")
    at(IDLE_MIN * MINUTE_MS)
    assert found.find("one") is None
    at(IDLE_MIN * MINUTE_MS - 1)
    assert found.find("one") is not None


def test_a_member_has_so_many_sessions_and_the_one_used_least_lately_goes(
    database: BusinessDatabase, at: Callable[[int], None]
) -> None:
    OwnerStore(database).add("a", [])
    found = sessions_of(database)
    member_id = member_with_password(database)
    for number in range(SESSIONS_MAX + 1):
        at(number)
        assert found.begin(member_id, f"s{number}")
    assert found.find("s0") is None
    assert all(found.find(f"s{number}") for number in range(1, SESSIONS_MAX + 1))


def test_a_link_works_for_three_days_and_a_new_one_takes_its_place(
    database: BusinessDatabase, at: Callable[[int], None]
) -> None:
    OwnerStore(database).add("a", [])
    register, found = MemberRegister(database), sessions_of(database)
    link = register.add("li@a.example", "Li", "a", "viewer")
    assert link is not None
    digest = token_digest(link.token)
    at(LINK_MS - 1)
    assert found.is_link(digest)
    at(LINK_MS)
    assert not found.is_link(digest)
    assert found.use_link(digest, "hash") is None
    at(0)
    newer = register.renew_link("li@a.example")
    assert not found.is_link(digest)
    assert not found.is_link(newer.token)
    assert found.use_link(token_digest(newer.token), "hash") is not None


def test_an_owner_gives_neither_the_role_operator_nor_a_way_into_an_account_that_has_it(
    database: BusinessDatabase,
) -> None:
    OwnerStore(database).add("a", [])
    register, store, found = MemberRegister(database), BusinessMembers(database), sessions_of(database)
    actor = Actor("li@a.example", owner_of(database))
    given = store.invite(actor, "wang@a.example", "Wang", "viewer")
    (member_id,) = (one.member_id for one in store.members_of(actor.owner_id))
    for give in (
        lambda: store.change_role(actor, member_id, "operator"),
        lambda: store.invite(actor, "zhao@a.example", "Zhao", "operator"),
    ):
        with pytest.raises(RefusedChangeError, match="operator"):
            give()
    own = register.add("wang@a.example", "Wang", "a", "operator")
    assert own is not None
    assert not found.is_link(token_digest(given.token))
    assert found.use_link(token_digest(own.token), "hash") == member_id
    with pytest.raises(RefusedChangeError, match="operator"):
        store.renew_link(actor, member_id)


def test_of_two_at_once_one_uses_the_link(database: BusinessDatabase) -> None:
    OwnerStore(database).add("a", [])
    link = MemberRegister(database).add("li@a.example", "Li", "a", "viewer")
    assert link is not None
    used: list[str | None] = []
    threads = [
        threading.Thread(
            target=lambda: used.append(sessions_of(database).use_link(token_digest(link.token), "hash"))
        )
        for _ in range(2)
    ]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert len([one for one in used if one is not None]) == 1


def test_two_who_take_the_role_from_each_other_leave_one(database: BusinessDatabase) -> None:
    OwnerStore(database).add("a", [])
    one, other = (member_with_password(database, f"{name}@a.example") for name in ("one", "other"))
    listed = {row.member_id: row.email for row in BusinessMembers(database).members_of(owner_of(database))}
    refused: list[Exception] = []

    def demote(who: str, whom: str) -> None:
        try:
            BusinessMembers(database).change_role(Actor(listed[who], owner_of(database)), whom, "viewer")
        except (RefusedChangeError, RecordsUnavailableError) as error:
            refused.append(error)

    threads = [threading.Thread(target=demote, args=pair) for pair in ((one, other), (other, one))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    roles = [row.role for row in BusinessMembers(database).members_of(owner_of(database))]
    assert sorted(roles) == ["owner", "viewer"]
    assert len(refused) == 1


def owner_of(database: BusinessDatabase) -> str:
    return OwnerStore(database).every_owner()[0].owner_id


def test_a_change_that_is_refused_leaves_no_line_in_the_audit_trail(database: BusinessDatabase) -> None:
    OwnerStore(database).add("a", [])
    member_id = member_with_password(database)
    actor = Actor("li@a.example", owner_of(database))
    before = len(BusinessMembers(database).audit_trail(actor.owner_id))
    with pytest.raises(RefusedChangeError, match="last_owner"):
        BusinessMembers(database).remove(actor, member_id)
    with pytest.raises(RefusedChangeError, match="not_there"):
        BusinessMembers(database).remove(actor, "0" * 16)
    assert len(BusinessMembers(database).audit_trail(actor.owner_id)) == before
    BusinessMembers(database).invite(actor, "wu@a.example", "Wu", "finance")
    newest = BusinessMembers(database).audit_trail(actor.owner_id)[0]
    assert (newest.who, newest.what, newest.subject) == ("li@a.example", "member_added", "wu@a.example")


def test_no_token_and_no_password_is_in_the_database(database: BusinessDatabase) -> None:
    OwnerStore(database).add("a", [])
    link = MemberRegister(database).add("li@a.example", "Li", "a", "viewer")
    assert link is not None
    with database.begin() as connection:
        rows = [str(row) for table in TABLES for row in connection.execute(select(table))]
    assert len(rows) > 3
    assert not any(link.token in row for row in rows)


def test_a_database_that_is_away_is_told_by_the_errors_that_pages_know() -> None:
    database = BusinessDatabase("postgresql://phonemeter@127.0.0.1:1/x")
    for ask in (
        sessions_of(database).ping,
        partial(sessions_of(database).find, "x"),
        partial(BusinessMembers(database).members_of, "x"),
    ):
        with pytest.raises(RecordsUnavailableError, match="can't be used"):
            ask()


def test_the_command_line_adds_owners_and_members_and_lists_them(url: str, phonemeter: Phonemeter) -> None:
    call = partial(phonemeter, PHONEMETER_BUSINESS_DATABASE=url, PHONEMETER_CONSOLE_PORT="9999")
    assert call("owners", "add", "Coffee Ltd", "--app", "wx1").returncode == 0
    assert call("owners", "apps", "Coffee Ltd", "--add", "wx2", "--remove", "wx1").returncode == 0
    (owner,) = call("owners", "list", "--json").json["owners"]
    assert owner == {"name": "Coffee Ltd", "apps": ["wx2"], "members": 0}
    added = call("members", "add", "Li@Coffee.example", "--owner", "Coffee Ltd", "--quiet")
    assert added.returncode == 0
    prefix, _, token = added.stdout.strip().partition("=")
    assert prefix == "http://127.0.0.1:9999/password?link"
    (member,) = call("members", "list", "--json").json["members"]
    told = {"email": "li@coffee.example", "name": "li", "state": "invited", "roles": {"Coffee Ltd": "owner"}}
    assert member == told
    with BusinessDatabase(url) as database:
        assert sessions_of(database).use_link(token_digest(token), "hash") is not None
    again = call("members", "add", "li@coffee.example", "--owner", "Coffee Ltd", "--role", "viewer")
    assert "signs in with the password of before" in again.stdout
    assert call("members", "disable", "li@coffee.example").returncode == 0
    shown = call("members", "list").stdout
    assert "disabled" in shown
    assert "viewer" in shown
    assert call("members", "disable", "li@coffee.example", "--undo").returncode == 0
    assert "/password?link=" in call("members", "reset", "li@coffee.example").stdout


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["owners", "add", "13800138000"], "no phone number"),
        (["owners", "add", "x", "--app", "no appid"], "is no appid"),
        (["owners", "apps", "x"], "Say which apps"),
        (["owners", "apps", "x", "--add", "wx1"], "There is no owner 'x'"),
        (["members", "add", "13800138000@qq.com", "--owner", "x"], "may hold no phone number"),
        (["members", "add", "li", "--owner", "x"], "no e-mail address"),
        (["members", "add", "li@a.example", "--owner", "x"], "There is no owner 'x'"),
        (["members", "add", "li@a.example", "--owner", "x", "--role", "boss"], "is no role"),
        (["members", "reset", "li@a.example"], "There is no member"),
    ],
)
def test_what_is_wrong_on_the_command_line_is_said_in_a_sentence(
    arguments: list[str], sentence: str, phonemeter: Phonemeter
) -> None:
    refused = phonemeter(*arguments)
    assert (refused.returncode, refused.stdout) == (2, "")
    assert sentence in refused.stderr
