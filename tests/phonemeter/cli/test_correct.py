"""`phonemeter correct` on the real stack: what it shows, publishes and comes to (rule 15)."""

import secrets
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from phonemeter.stack.stack import Stack
from producers.clock import wall_clock_ms
from producers.events import event_id, named_id
from sinks.connection import connect, rows
from sinks.entry_columns import ID_DIGITS_MIN
from tests.metering.building import DAY_MS, denied, opened, purchased, registered, succeeded
from tests.phonemeter.cli.calling import Done, Phonemeter
from tests.phonemeter.cli.test_explain import published
from tests.waiting import blocking_until

SETTLED_WITHIN_S = 60.0

FIRST_MS = wall_clock_ms() // DAY_MS * DAY_MS - 30 * DAY_MS
"""The log runs on the time of its events, and those of others are of today: an older pack holds nothing."""

Correct = Callable[..., Done]


def recent(days: int, ms: int = 0) -> int:
    """A moment of the last month."""
    return FIRST_MS + days * DAY_MS + ms


def tap(app: str, code: str) -> str:
    return event_id(app, code)


def bought(app: str, pack_id: str) -> str:
    return named_id("pack.purchased", app, pack_id)


@pytest.fixture(scope="module")
def app(stack: Stack) -> str:
    """An app with a purchase that has a zero too many, and three calls; its trial quota is used up."""
    app, other = (f"wx{secrets.token_hex(8)}" for _ in range(2))
    published(stack, other, [succeeded(wall_clock_ms(), app=other)])
    published(
        stack,
        app,
        [
            registered(recent(0), "company", app=app),
            opened(recent(0), 1_000, app=app),
            purchased(
                recent(1), "ZY5", calls=100_000, price=3_000_000_000, app=app, event_id=bought(app, "ZY5")
            ),
            *(
                succeeded(recent(2, ms=n), app=app, event_id=tap(app, f"code-{n}"), store="s1")
                for n in range(3)
            ),
            denied(recent(3)).replace(b'"wxfb1f3d218d111092"', f'"{app}"'.encode()),
        ],
    )
    return app


@pytest.fixture
def correct(phonemeter: Phonemeter, stack: Stack, tmp_path: Path) -> Correct:
    def call(*arguments: object) -> Done:
        return phonemeter("correct", *arguments, cwd=tmp_path, **stack.settings.to_environ())

    return call


@pytest.fixture
def found(stack: Stack, app: str) -> Callable[[str], str]:
    """Return the event id of a fact of the app."""

    def of(kind: str) -> str:
        ids = {"call": tap(app, "code-2"), "purchase": bought(app, "ZY5"), "nothing": "nothing"}
        query = (
            "SELECT event_id FROM ledger WHERE appid = %(app)s AND kind = %(kind)s AND reason != 'settled'"
        )
        return ids.get(kind) or str(asked(stack, query, app=app, kind=kind)[0][0])

    return of


def asked(stack: Stack, query: str, **where: object) -> list[tuple[Any, ...]]:
    with connect(stack.settings.clickhouse) as client:
        return rows(client, query, where)


def states(stack: Stack, app: str) -> list[tuple[Any, ...]]:
    query = "SELECT action, state, holds FROM corrections WHERE appid = %(app)s ORDER BY recorded_at"
    return asked(stack, query, app=app)


def settled(stack: Stack, app: str, number: int) -> None:
    """Wait until so many corrections are in the figures, and the app is settled."""

    def done() -> bool:
        found = states(stack, app)
        return len(found) == number and all(state == "settled" for _, state, _ in found)

    blocking_until(done, SETTLED_WITHIN_S)


def test_a_correction_is_shown_then_settled_and_explained(
    correct: Correct, phonemeter: Phonemeter, stack: Stack, app: str, tmp_path: Path
) -> None:
    change = (bought(app, "ZY5"), "--set", "calls=10,000", "--set", "price_yuan=300", "--json")
    # What is shown is as of the newest record that ClickHouse has whole.
    blocking_until(lambda: len(correct(*change).json["figures"]) > 1)
    shown = correct(*change)
    assert (shown.returncode, shown.stderr) == (0, "")
    told = shown.json
    assert (told["appid"], told["kind"], told["published"]) == (app, "purchase", False)
    assert told["fields"] == ["calls", "price_micro_yuan"]
    assert [told[when]["calls"] for when in ("before", "after")] == [100_000, 10_000]
    assert [(each["figure"], each["before"], each["after"]) for each in told["figures"]] == [
        ("pack_calls", 100_000, 10_000),
        ("pack_left", 99_997, 9_997),
    ]
    text = correct(bought(app, "ZY5"), "--set", "calls=10000", "--set", "price_yuan=300").stdout
    assert f"{app}, purchase {told['event_id']}" in text
    assert "pack ZY5 (quick): left" in text
    assert "¥3,000.00" in text
    assert "Nothing was published: add --confirm to correct it." in text
    assert states(stack, app) == []

    arguments = (bought(app, "ZY5"), "--set", "calls=10000", "--set", "price_fen=30000", "--note", "a typo")
    first = correct(*arguments, "--confirm", "--json")
    assert first.json["published"] is True
    settled(stack, app, 1)
    packs = "SELECT packs.calls, price_micro_yuan, remaining FROM packs WHERE appid = %(app)s"
    assert asked(stack, packs, app=app) == [(10_000, 300_000_000, 9_997)]
    again = correct(*arguments, "--confirm")
    assert again.returncode == 1
    assert "Nothing would change" in again.stderr

    environ = stack.settings.to_environ()
    told = phonemeter("explain", bought(app, "ZY5"), "--json", cwd=tmp_path, **environ).json
    (correction,) = told["corrections"]
    assert (correction["note"], correction["state"], correction["holds"]) == ("a typo", "settled", True)
    assert correction["fields"] == {"calls": 10_000, "price_micro_yuan": 300_000_000}
    assert correction["source"] == "/phonemeter/correct"
    assert correction["event_id"] == first.json["correction"]["id"]
    text = phonemeter("explain", bought(app, "ZY5"), cwd=tmp_path, **environ).stdout
    assert "Its corrections" in text
    assert "calls = 10000" in text
    itself = phonemeter("explain", correction["event_id"], cwd=tmp_path, **environ).stdout
    assert f"Event {bought(app, 'ZY5')} is taken as if it had said calls = 10000" in " ".join(itself.split())


def test_a_call_is_void_restored_and_void_again(correct: Correct, stack: Stack, app: str) -> None:
    before = len(states(stack, app))
    calls = "SELECT sum(succeeded) FROM usage_daily WHERE appid = %(app)s"
    call = tap(app, "code-0")
    void = correct(call, "--void", "--confirm", "--json").json
    same = correct(call, "--void", "--json").json if states(stack, app)[before:] == [] else void
    assert same["correction"]["id"] == void["correction"]["id"]
    settled(stack, app, before + 1)
    assert asked(stack, calls, app=app) == [(2,)]
    assert "is void already" in correct(call, "--void").stderr

    restored = correct(void["correction"]["id"][:ID_DIGITS_MIN], "--void", "--confirm", "--json").json
    assert (restored["kind"], restored["before"], restored["after"]["store"]) == ("correction", None, "s1")
    settled(stack, app, before + 2)
    assert asked(stack, calls, app=app) == [(3,)]

    again = correct(call[:ID_DIGITS_MIN], "--void", "--confirm", "--json").json
    assert again["correction"]["id"] != void["correction"]["id"]
    assert again["correction"]["data"]["event_id"] == call
    settled(stack, app, before + 3)
    assert asked(stack, calls, app=app) == [(2,)]
    assert states(stack, app)[before:] == [
        ("void", "settled", False),
        ("void", "settled", True),
        ("void", "settled", True),
    ]


@pytest.mark.parametrize(
    ("fact", "arguments", "status", "sentence"),
    [
        ("call", (), 2, "Say what was wrong: either --void, or --set FIELD=VALUE"),
        ("call", ("--void", "--set", "store=s"), 2, "either --void, or --set"),
        ("call", ("--set", "store"), 2, "--set 'store' is not understood: give FIELD=VALUE"),
        ("call", ("--set", "store=a", "--set", "store=b"), 2, "--set gives store twice"),
        ("call", ("--set", "calls=2"), 2, "a call has no such field that could be set; it has capability"),
        ("call", ("--set", "capability=slow"), 2, "'slow' is not one of quick, realtime"),
        ("call", ("--set", "time=yesterday"), 2, "--set time: 'yesterday' is no time"),
        ("call", ("--set", "time=2016-01-01 00:00"), 1, "data.set.time"),
        ("call", ("--set", "store=s1"), 1, "Nothing would change"),
        ("purchase", ("--set", "time=2026-06-01 10:00"), 2, "a purchase has no such field"),
        ("purchase", ("--set", "calls=0"), 2, "Expected `int` >= 1 in `calls`"),
        ("purchase", ("--set", "calls=many"), 2, "--set calls: 'many' is no whole number"),
        ("purchase", ("--set", "price_yuan=1e-7"), 2, "is no amount in yuan with at most six decimal places"),
        (
            "purchase",
            ("--set", "price_yuan=1", "--set", "price_fen=1"),
            2,
            "--set gives price_micro_yuan twice",
        ),
        ("purchase", ("--set", "used_before=1000001"), 2, "--set used_before=1,000,001: the pack has"),
        ("registration", ("--set", "entity_type=goverment"), 1, "not a known owner type"),
        ("denied", ("--void",), 1, "the user refused: that is no call"),
        ("opening", ("--void",), 1, "a later opening holds instead of it"),
        ("nothing", ("--void",), 1, "The ledger has no event nothing: check the id"),
    ],
)
def test_what_cannot_be_corrected_is_one_sentence(
    correct: Correct,
    found: Callable[[str], str],
    fact: str,
    arguments: tuple[str, ...],
    status: int,
    sentence: str,
) -> None:
    shown = correct(found(fact), *arguments)
    assert (shown.returncode, shown.stdout) == (status, "")
    assert sentence in " ".join(shown.stderr.split())


def test_an_id_that_two_apps_have_needs_the_app(correct: Correct, stack: Stack, app: str) -> None:
    other = f"wx{secrets.token_hex(8)}"
    published(stack, other, [succeeded(recent(2), app=other, event_id=f"{app}-twice")])
    published(stack, app, [succeeded(recent(4), app=app, event_id=f"{app}-twice")])
    assert "Several apps have an event" in correct(f"{app}-twice", "--void").stderr
    assert correct(f"{app}-twice", "--void", "--app", other, "--json").json["appid"] == other
