"""The settler's reading of the ledger, from the real engine."""

import json
from collections.abc import Callable, Iterator
from hashlib import sha256
from itertools import count
from typing import Any

import pytest

from metering.ledger import Entry
from metering.rules import Rules
from metering.settlement_facts import CallFact, LedgerGroup
from metering.times import DAY_MS, HOUR_MS
from sinks.errors import ClickHouseError
from sinks.settler.app_entries import AppEntries
from sinks.settler.ledger import AppScope, SettlerLedger, UnsettledApp, windows
from tests.conftest import RunningEngine
from tests.metering.building import Play, at, corrected, purchased, refunded, registered, succeeded
from tests.metering.settler import Settler
from tests.sinks.parts import START_MS
from tools.pictures.half_year_engine import create_ledger, store_entries

NUMBERS = count()
"""The numbers of databases."""

MIDNIGHT_MS = START_MS - 8 * HOUR_MS
"""The start of the Shanghai day of `START_MS`."""


def entry(offset: int, kind: Any, line: int = 0, **fields: Any) -> Entry:  # noqa: ANN401 - fields of an entry
    given = {"time_ms": START_MS, "recorded_at_ms": START_MS + offset, "appid": "wx1", **fields}
    return Entry(offset, line, kind, **given)


def call(offset: int, kind: Any, time_ms: int = START_MS, **fields: Any) -> Entry:  # noqa: ANN401 - as above
    return entry(
        offset,
        kind,
        time_ms=time_ms,
        **{"capability": "quick", "calls": 1, "event_id": f"e{offset}", **fields},
    )


@pytest.fixture
def read(engine: RunningEngine) -> Iterator[Callable[..., SettlerLedger]]:
    """Return a reader of a ledger that has these entries of partition 0."""
    opened = []

    def of(*entries: Entry) -> SettlerLedger:
        url = engine.url(f"settler_{next(NUMBERS)}")
        create_ledger(url)
        store_entries(url, entries)
        opened.append(SettlerLedger(url))
        return opened[-1]

    yield of
    for ledger in opened:
        ledger.close()


Read = Callable[..., SettlerLedger]


def test_apps_are_unsettled_until_a_settlement_leaves_them_settled(read: Read) -> None:
    ledger = read(
        entry(1, "unsettled", reason="late_call", time_ms=MIDNIGHT_MS),
        entry(2, "unsettled", appid="wx2", reason="late_call", time_ms=MIDNIGHT_MS),
        entry(3, "settlement", event_id="first", details='{"as_of":2}'),
        entry(3, "unsettled", 1, reason="settlement", time_ms=MIDNIGHT_MS),
        entry(4, "settlement_refused", event_id="second", reason="overtaken"),
        entry(5, "settlement", appid="wx2", event_id="third"),
        entry(6, "unsettled", appid="wx3", reason="too_old"),
    )
    assert ledger.unsettled() == [UnsettledApp("wx1", 0, MIDNIGHT_MS, 3, 3, 4, "second", "overtaken", 0, 2)]


def test_settlements_that_did_not_fit_are_counted_since_the_last_one_that_did(read: Read) -> None:
    ledger = read(
        entry(1, "unsettled", reason="late_call"),
        entry(2, "settlement_refused", reason="does_not_fit"),
        entry(3, "settlement"),
        entry(3, "unsettled", 1, reason="settlement"),
        entry(4, "settlement_refused", reason="does_not_fit"),
        entry(5, "settlement_refused", reason="overtaken"),
        entry(6, "settlement_refused", reason="does_not_fit"),
    )
    assert [app.misfits for app in ledger.unsettled()] == [2]


def test_the_newest_record_may_lack_entries_unless_it_has_ended(read: Read) -> None:
    assert read().complete_through(0) == -1
    assert read(call(7, "uncovered")).complete_through(0) == 6
    moved, empty = '{"moves":1,"refunds":0}', '{"moves":0,"refunds":0}'
    assert read(entry(7, "settlement", details=moved)).complete_through(0) == 6
    assert read(entry(7, "settlement", details=empty)).complete_through(0) == 7
    assert read(entry(7, "settlement_refused", reason="overtaken")).complete_through(0) == 7
    assert read(entry(7, "unsettled", reason="late_call")).complete_through(0) == 6
    assert read(entry(7, "unsettled", reason="settlement")).complete_through(0) == 7


def test_sums_are_those_of_whole_days_from_a_day_on_through_an_offset(read: Read) -> None:
    where: dict[str, Any] = {"scene": "card", "store": "store-1", "env": "release"}
    ledger = read(
        call(0, "trial_charge", MIDNIGHT_MS - 1),
        call(1, "charge", MIDNIGHT_MS - 1, pack_id="P1"),
        call(2, "charge", MIDNIGHT_MS, pack_id="P1", **where),
        call(3, "charge", MIDNIGHT_MS + DAY_MS - 1, pack_id="P1", **where),
        entry(4, "charge", capability="quick", calls=-1, pack_id="P1", reason="settled", **where),
        entry(4, "uncovered", 1, capability="quick", calls=1, reason="settled", **where),
        call(5, "uncovered", MIDNIGHT_MS + DAY_MS),
        call(6, "free"),
        call(7, "charge", pack_id="P1"),
    )
    scope = AppScope("wx1", 0, 6, MIDNIGHT_MS)
    day = (MIDNIGHT_MS + 8 * HOUR_MS) // DAY_MS
    assert ledger.sums(scope, 10) == {
        LedgerGroup("quick", "pack:P1", day, "card", "store-1", "release"): 1,
        LedgerGroup("quick", "uncovered", day, "card", "store-1", "release"): 1,
        LedgerGroup("quick", "uncovered", day + 1, "", "", ""): 1,
    }
    assert len(ledger.sums(scope, 1)) == 2
    assert sorted(ledger.used_before(scope)) == [
        ("charge", "quick", "P1", 1),
        ("trial_charge", "quick", "", 1),
    ]
    assert ledger.count(scope) == 8


def test_calls_come_by_time_and_id_each_once_in_lists_of_whole_hours(
    read: Read, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sinks.settler.ledger.WINDOW_CALLS", 2)
    ledger = read(
        call(1, "charge", START_MS + HOUR_MS, pack_id="P1", event_id="b"),
        call(2, "uncovered", START_MS, event_id="d", capability="realtime"),
        call(3, "exempt", START_MS, event_id="c", store="store-1"),
        entry(4, "uncovered", capability="quick", calls=-1, event_id="b", reason="taken_over"),
        entry(4, "charge", 1, capability="quick", calls=1, event_id="b", reason="taken_over"),
        entry(5, "charge", capability="quick", calls=3, reason="settled"),
        call(6, "denied"),
        call(7, "trial_charge", START_MS - DAY_MS, event_id="a"),
    )
    lists = list(ledger.calls(AppScope("wx1", 0, 9, MIDNIGHT_MS)))
    assert lists == [
        [
            CallFact(START_MS, "quick", "", "store-1", "", "c"),
            CallFact(START_MS, "realtime", "", "", "", "d"),
        ],
        [CallFact(START_MS + HOUR_MS, "quick", "", "", "", "b")],
    ]


def test_facts_are_the_entries_of_purchases_refunds_and_registrations(read: Read) -> None:
    facts = [
        entry(0, "trial_grant", calls=1_000),
        entry(1, "purchase", capability="quick", pack_id="P1", calls=250, details="{}"),
        entry(2, "refund_refused", capability="quick", pack_id="P1", event_id="r", reason="used"),
        entry(3, "registration", reason="exempt"),
    ]
    ledger = read(*facts, call(4, "charge", pack_id="P1"), entry(5, "registration", reason="charged"))
    assert ledger.facts(AppScope("wx1", 0, 4, MIDNIGHT_MS)) == facts


def test_the_calls_that_corrections_name_are_found_whenever_they_were(read: Read) -> None:
    ledger = read(
        call(1, "charge", START_MS - 90 * DAY_MS, event_id="one", store="s", pack_id="P1"),
        call(2, "uncovered", event_id="two"),
        call(3, "uncovered", event_id="two", reason="settled"),
        call(4, "charge", event_id="other", pack_id="P1"),
    )
    scope = AppScope("wx1", 0, 9, MIDNIGHT_MS)
    found = ledger.calls_of(scope, ["two", "one", "nobody", "it's"])
    assert sorted(found) == [
        (CallFact(START_MS - 90 * DAY_MS, "quick", "", "s", "", "one"), 1),
        (CallFact(START_MS, "quick", "", "", "", "two"), 2),
    ]
    assert ledger.calls_of(scope, []) == []


def test_entries_that_are_read_at_once_give_the_answers_of_the_queries(read: Read) -> None:
    """Two apps in one partition with a bit of everything, and an app that nobody asks for."""
    played = Play(Rules(trial_calls=3))
    for app in ("wx1", "wx2", "other"):
        hashed = sha256(app.encode()).hexdigest()
        played.on(
            purchased(at(1), f"{app}-late", calls=5, days=365, app=app),
            *(
                succeeded(at(1 + day / 2), app=app, event_id=f"{app}-{9 - day}", store="ab"[day % 2])
                for day in range(10)
            ),
            succeeded(at(3), app=app, event_id=hashed, capability="realtime"),
            purchased(at(7), f"{app}-early", calls=4, days=90, paid_at=at(1), app=app),
            refunded(at(8), f"{app}-early", by="platform", app=app),
            registered(at(8), "government", app=app),
            corrected(at(8), hashed, app=app, set={"store": "c"}),
            corrected(at(8), f"{app}-3", app=app, void=True),
        )
    settler = Settler(played)
    played.on(*settler.events(settler.read("wx1")))
    assert played.of("settlement")
    ledger = read(*played.entries)
    as_of = ledger.complete_through(0)
    both = ledger.entries(0, as_of, ["wx1", "wx2"])
    assert ledger.counts(0, as_of, ["wx1", "wx2"]) == {app: len(entries) for app, entries in both.items()}
    assert ledger.entries(0, 0, ["wx1", "nobody"])["nobody"] == []
    for app, entries in both.items():
        at_once = AppEntries(as_of, entries)
        for from_ms in (0, at(1), at(3), at(4, ms=1), at(99)):
            scope = AppScope(app, 0, as_of, from_ms)
            assert at_once.facts(scope) == ledger.facts(scope)
            assert sorted(at_once.used_before(scope)) == sorted(ledger.used_before(scope))
            assert at_once.sums(scope, 999) == ledger.sums(scope, 999)
            assert len(at_once.sums(scope, 1)) == len(ledger.sums(scope, 1))
            for_all = [call for calls in ledger.calls(scope) for call in calls]
            assert [call for calls in at_once.calls(scope) for call in calls] == for_all
            ids = [call.event_id for call in for_all[::2]]
            assert sorted(at_once.calls_of(scope, ids)) == sorted(ledger.calls_of(scope, ids))
        assert at_once.facts(scope)
        assert at_once.count(scope) == len(entries)


def test_calls_are_looked_up_by_any_number_of_ids(read: Read, monkeypatch: pytest.MonkeyPatch) -> None:
    ledger = read(*(call(number, "charge", event_id=f"call-{number}") for number in range(5)))
    monkeypatch.setattr("sinks.settler.ledger.IDS_MAX", 2)
    found = ledger.calls_of(AppScope("wx1", 0, 9, MIDNIGHT_MS), [f"call-{number}" for number in range(9)])
    assert [offset for _, offset in found] == [0, 1, 2, 3, 4]


def test_a_correction_names_its_fact_as_the_ledger_does(read: Read) -> None:
    """ClickHouse has the first digits of an id that is a SHA-256."""
    kept, whole, unknown = "0123456789abcdef" * 4, "fedcba9876543210" * 4, "0f" * 32
    told = [kept, whole, unknown, "an-id-of-your-own"]
    ledger = read(
        call(1, "charge", event_id=kept[:16]),
        call(2, "charge", event_id=whole),
        call(3, "charge", event_id="an-id-of-your-ow"),
        *(
            entry(4 + number, "correction", event_id=f"c{number}", details=json.dumps({"event_id": fact}))
            for number, fact in enumerate(told)
        ),
    )
    found = ledger.facts(AppScope("wx1", 0, 9, MIDNIGHT_MS))
    assert [json.loads(correction.details)["event_id"] for correction in found] == [
        kept[:16],
        whole,
        unknown,
        "an-id-of-your-own",
    ]


@pytest.mark.parametrize(
    ("hours", "found"),
    [
        ([], []),
        ([(5, 1), (6, 1), (9, 1)], [(5, 7), (9, 10)]),
        ([(5, 7), (6, 1), (7, 1), (8, 7)], [(5, 6), (6, 8), (8, 9)]),
    ],
)
def test_hours_are_read_together_as_far_as_the_limit_allows(
    hours: list[tuple[int, int]], found: list[tuple[int, int]]
) -> None:
    assert list(windows(hours, 2)) == found


def test_a_ledger_that_is_not_there_yet_is_said_in_a_sentence(engine: RunningEngine) -> None:
    ledger = SettlerLedger(engine.url("settler_nothing"))
    with pytest.raises(ClickHouseError, match="there is no ledger yet"):
        ledger.unsettled()


def test_the_apps_that_follow_are_told_with_their_newest_settlement_that_follows(read: Read) -> None:
    follows = '{"as_of":1,"follows":"first"}'
    ledger = read(
        entry(1, "agreement_set", details='{"policy":"follow"}'),
        entry(2, "settlement", event_id="first", details=follows),
        entry(3, "settlement", event_id="other", details='{"as_of":2}'),
        entry(4, "settlement_refused", reason="does_not_fit", details=follows.replace("first", "second")),
        entry(5, "settlement_refused", reason="overtaken", details=follows.replace("first", "third")),
        entry(6, "agreement_set", appid="wx2", details='{"policy":"follow"}'),
        entry(7, "agreement_set", appid="wx3", details='{"policy":"follow"}'),
        entry(8, "agreement_set", appid="wx3", details='{"policy":"report"}'),
    )
    assert sorted(ledger.following()) == [("wx1", 0, "second"), ("wx2", 0, "")]
    assert ledger.newest_settlements() == {"wx1": 3}
    assert read().following() == []


def test_settlements_that_follow_say_nothing_of_corrections_and_misfits(read: Read) -> None:
    follows = '{"as_of":9,"follows":"id"}'
    ledger = read(
        entry(1, "unsettled", reason="late_call"),
        entry(2, "settlement", event_id="first", details='{"as_of":1}'),
        entry(3, "settlement_refused", reason="does_not_fit", details=follows),
        entry(4, "settlement", event_id="second", details=follows),
        entry(4, "unsettled", 1, reason="settlement"),
    )
    (app,) = ledger.unsettled()
    assert (app.settled_offset, app.settled_as_of, app.misfits) == (4, 1, 0)


def test_what_was_followed_is_in_the_sums_and_among_the_facts(read: Read) -> None:
    move = '{"from":"followed","to":"pack:P1"}'
    ledger = read(
        entry(1, "charge", capability="quick", calls=3, pack_id="P1", reason="settled", details=move),
        entry(1, "followed", 1, capability="quick", calls=-3, reason="settled", details=move),
    )
    scope = AppScope("wx1", 0, 1, MIDNIGHT_MS)
    assert {group.quota: calls for group, calls in ledger.sums(scope, 10).items()} == {
        "pack:P1": 3,
        "followed": -3,
    }
    assert [fact.kind for fact in ledger.facts(scope)] == ["followed"]
    assert list(ledger.calls(scope)) == []
