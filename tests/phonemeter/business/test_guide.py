"""The ticks on the guide to buying at WeChat, in SQLite and in PostgreSQL."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from dashboards.console.errors import RefusedChangeError
from dashboards.console.members import Actor
from phonemeter.business.audit_trail import newest
from phonemeter.business.database import BusinessDatabase
from phonemeter.business.guide import BusinessGuide
from phonemeter.business.owners import OwnerStore

pytestmark = pytest.mark.stack

APP = "wx8ff4154a2448e576"


@pytest.fixture
def database(url: str) -> Iterator[BusinessDatabase]:
    with BusinessDatabase(url) as opened:
        yield opened


@pytest.fixture
def actor(database: BusinessDatabase) -> Actor:
    return Actor("li@a.example", OwnerStore(database).add("a", [APP]))


def deeds(database: BusinessDatabase, actor: Actor) -> list[tuple[str, str]]:
    with database.begin() as connection:
        found = newest(connection, actor.owner_id)
    return [(one.what, one.subject) for one in reversed(found) if one.what.startswith("guide")]


def test_ticks_stay_are_taken_back_and_begin_again(database: BusinessDatabase, actor: Actor) -> None:
    guide = BusinessGuide(database)
    guide.tick(actor, APP, "assistant")
    guide.tick(actor, APP, "password")
    guide.tick(actor, APP, "password")
    assert set(guide.ticks(actor.owner_id, APP)) == {"assistant", "password"}
    guide.untick(actor, APP, "password")
    guide.untick(actor, APP, "password")
    (left,) = guide.ticks(actor.owner_id, APP).values()
    assert left.who == "li@a.example"
    guide.begin_again(actor, APP)
    guide.begin_again(actor, APP)
    assert guide.ticks(actor.owner_id, APP) == {}
    assert deeds(database, actor) == [
        ("guide_ticked", f"{APP} assistant"),
        ("guide_ticked", f"{APP} password"),
        ("guide_unticked", f"{APP} password"),
        ("guide_begun_again", APP),
    ]


def test_nobody_ticks_for_the_app_of_another_owner(database: BusinessDatabase, actor: Actor) -> None:
    other = Actor("wu@b.example", OwnerStore(database).add("b", []))
    guide = BusinessGuide(database)
    guide.tick(actor, APP, "assistant")
    for change in (guide.tick, guide.untick):
        with pytest.raises(RefusedChangeError):
            change(other, APP, "assistant")
    with pytest.raises(RefusedChangeError):
        guide.begin_again(other, APP)
    assert guide.ticks(other.owner_id, APP) == {}
    assert set(guide.ticks(actor.owner_id, APP)) == {"assistant"}


def test_a_new_owner_of_an_app_begins_at_the_first_step(database: BusinessDatabase, actor: Actor) -> None:
    guide, owners = BusinessGuide(database), OwnerStore(database)
    guide.tick(actor, APP, "assistant")
    owners.change_apps("a", [], [APP])
    other = Actor("wu@b.example", owners.add("b", [APP]))
    assert guide.ticks(other.owner_id, APP) == {}
    guide.tick(other, APP, "assistant")
    assert guide.ticks(other.owner_id, APP)["assistant"].who == "wu@b.example"


def test_two_members_who_tick_at_once_tick_once(database: BusinessDatabase, actor: Actor) -> None:
    guide = BusinessGuide(database)
    with ThreadPoolExecutor(4) as threads:
        for done in [threads.submit(guide.tick, actor, APP, "pay") for _ in range(8)]:
            done.result()
    assert deeds(database, actor) == [("guide_ticked", f"{APP} pay")]
