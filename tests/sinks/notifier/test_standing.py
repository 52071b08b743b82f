"""How alerts stand, as rows: each says what the log says by then, and the newest of a place is the truth."""

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from metering.times import HOUR_MS
from sinks.notifier.deliveries import Place
from sinks.notifier.records import Acknowledged, AnyRecord, Asked, Chain, Claim, Retry, asked_key, decode
from sinks.notifier.standing import Row, Standing
from tests.sinks.notifier.parts import APP, alert
from tests.sinks.notifier.simulated import simulate

NOW_MS = 1_000_000_000_000
CHAIN = Chain(
    at_ms=NOW_MS + 1,
    id="alert_0-1-0_first",
    route="first",
    channel="webhook",
    alerts=("0-1-0",),
    state="sending",
    attempt=1,
    since_ms=NOW_MS + 1,
    due_ms=NOW_MS,
    owner="me",
)


def asked(offset: int, *, route: str = "first", held: bool = False) -> Asked:
    due_ms = NOW_MS + HOUR_MS if held else NOW_MS
    return Asked(at_ms=NOW_MS, alert=alert(offset), route=route, due_ms=due_ms, held=held)


def read(standing: Standing, *records: AnyRecord, first: int = 0) -> list[list[Row]]:
    """What follows from each record."""
    return [list(standing.read(offset, record)) for offset, record in enumerate(records, start=first)]


def test_an_alert_is_followed_from_the_question_where_it_goes_to_its_delivery() -> None:
    failed = msgspec.structs.replace(
        CHAIN, state="waiting", at_ms=NOW_MS + 9, due_ms=NOW_MS + 99, reason="answered 500"
    )
    again = msgspec.structs.replace(CHAIN, attempt=2, at_ms=NOW_MS + 99)
    done = msgspec.structs.replace(again, state="delivered", at_ms=NOW_MS + 100, reason="answered 204")
    claim = Claim(at_ms=NOW_MS, owner="me")
    found = read(Standing(3), claim, asked(1), CHAIN, failed, again, done)
    assert [[(row.state, row.attempts, row.log_offset) for row in rows] for rows in found] == [
        [],
        [("waiting", 0, 1)],
        [("sending", 1, 2)],
        [("waiting", 1, 3)],
        [("sending", 2, 4)],
        [("delivered", 2, 5)],
    ]
    assert found[3][0].due_at == NOW_MS + 99
    assert found[5] == [
        Row(
            appid=APP,
            alert_id="0-1-0",
            route="first",
            channel="webhook",
            state="delivered",
            attempts=2,
            asked_at=NOW_MS,
            due_at=NOW_MS,
            changed_at=NOW_MS + 100,
            outcome="answered 204",
            message_id="alert_0-1-0_first",
            acknowledged_by="",
            acknowledged_at=None,
            log_partition=3,
            log_offset=5,
        )
    ]


def test_all_alerts_of_a_message_stand_as_it_does() -> None:
    both = msgspec.structs.replace(CHAIN, id="digest", alerts=("0-1-0", "0-2-0"))
    *held, sending = read(Standing(0), asked(1, held=True), asked(2, held=True), both)
    assert [(row.state, row.due_at) for rows in held for row in rows] == [("held", NOW_MS + HOUR_MS)] * 2
    assert {(row.alert_id, row.state, row.message_id) for row in sending} == {
        ("0-1-0", "sending", "digest"),
        ("0-2-0", "sending", "digest"),
    }


def test_who_acknowledged_is_said_on_every_route_also_after_the_delivery() -> None:
    done = msgspec.structs.replace(CHAIN, state="delivered")
    said = Acknowledged(at_ms=NOW_MS + 5, alert="0-1-0", by="Li Lei")
    *_, rows = read(Standing(0), asked(1), asked(1, route="second"), CHAIN, done, said)
    assert {(row.route, row.state, row.acknowledged_by, row.acknowledged_at) for row in rows} == {
        ("first", "delivered", "Li Lei", NOW_MS + 5),
        ("second", "waiting", "Li Lei", NOW_MS + 5),
    }


def test_another_round_for_what_was_dead_is_told() -> None:
    dead = msgspec.structs.replace(CHAIN, state="dead", reason="answered 410")
    *_, ended, again, unknown = read(
        Standing(0),
        asked(1),
        CHAIN,
        dead,
        Retry(at_ms=NOW_MS + 7, chain=CHAIN.id),
        Retry(at_ms=NOW_MS + 7, chain="nobody's"),
    )
    assert [(row.state, row.outcome) for row in ended] == [("dead", "answered 410")]
    assert [(row.state, row.due_at) for row in again] == [("waiting", NOW_MS + 7)]
    assert unknown == []


def test_what_the_log_has_forgotten_says_nothing_more() -> None:
    standing = Standing(0)
    read(standing, asked(1), CHAIN)
    standing.erase(asked_key("0-1-0", "first"))
    standing.erase(b"chain|alert_0-1-0_first")
    said = Acknowledged(at_ms=NOW_MS, alert="0-1-0", by="me")
    assert read(standing, said, CHAIN, first=9) == [[], []]


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 2**32))
def test_however_notifiers_end_the_newest_row_of_a_place_is_what_became_of_it(seed: int) -> None:
    world = simulate(seed)
    standing = Standing(0)
    newest: dict[Place, Row] = {}
    places = set()
    for offset, (key, value) in enumerate(world.log):
        if value is None:
            standing.erase(key)
            continue
        record = decode(value)
        if isinstance(record, Asked):
            places.add((record.alert.id, record.route))
        for row in standing.read(offset, record):
            newest[row.alert_id, row.route] = row
    assert newest.keys() == places
    assert {row.state for row in newest.values()} == {"delivered"}
    assert {row.message_id for row in newest.values()} == set(world.delivered)
