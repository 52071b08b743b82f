"""Rows of delivery states: each is the state at its offset of the log, and the newest one is current."""

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from metering.times import HOUR_MS
from sinks.notifier.deliveries import AlertRoute
from sinks.notifier.delivery_states import DeliveryState, DeliveryStates
from sinks.notifier.records import (
    Acknowledgement,
    AnyRecord,
    Delivery,
    DeliveryRequest,
    Fence,
    Retry,
    decode,
    request_key,
)
from tests.sinks.notifier.parts import APP, alert
from tests.sinks.notifier.simulated import simulate

NOW_MS = 1_000_000_000_000
DELIVERY = Delivery(
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


def request(offset: int, *, route: str = "first", held: bool = False) -> DeliveryRequest:
    due_ms = NOW_MS + HOUR_MS if held else NOW_MS
    return DeliveryRequest(at_ms=NOW_MS, alert=alert(offset), route=route, due_ms=due_ms, held=held)


def apply(states: DeliveryStates, *records: AnyRecord, first: int = 0) -> list[list[DeliveryState]]:
    """The rows that follow from each record."""
    return [list(states.apply(offset, record)) for offset, record in enumerate(records, start=first)]


def test_an_alert_is_followed_from_its_request_to_its_delivery() -> None:
    failed = msgspec.structs.replace(
        DELIVERY, state="waiting", at_ms=NOW_MS + 9, due_ms=NOW_MS + 99, reason="answered 500"
    )
    again = msgspec.structs.replace(DELIVERY, attempt=2, at_ms=NOW_MS + 99)
    done = msgspec.structs.replace(again, state="delivered", at_ms=NOW_MS + 100, reason="answered 204")
    fence = Fence(at_ms=NOW_MS, owner="me")
    found = apply(DeliveryStates(3), fence, request(1), DELIVERY, failed, again, done)
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
        DeliveryState(
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


def test_all_alerts_of_a_message_have_its_state() -> None:
    both = msgspec.structs.replace(DELIVERY, id="digest", alerts=("0-1-0", "0-2-0"))
    *held, sending = apply(DeliveryStates(0), request(1, held=True), request(2, held=True), both)
    assert [(row.state, row.due_at) for rows in held for row in rows] == [("held", NOW_MS + HOUR_MS)] * 2
    assert {(row.alert_id, row.state, row.message_id) for row in sending} == {
        ("0-1-0", "sending", "digest"),
        ("0-2-0", "sending", "digest"),
    }


def test_an_acknowledgement_is_on_every_route_also_after_the_delivery() -> None:
    done = msgspec.structs.replace(DELIVERY, state="delivered")
    acknowledgement = Acknowledgement(at_ms=NOW_MS + 5, alert="0-1-0", by="Li Lei")
    *_, rows = apply(
        DeliveryStates(0), request(1), request(1, route="second"), DELIVERY, done, acknowledgement
    )
    assert {(row.route, row.state, row.acknowledged_by, row.acknowledged_at) for row in rows} == {
        ("first", "delivered", "Li Lei", NOW_MS + 5),
        ("second", "waiting", "Li Lei", NOW_MS + 5),
    }


def test_a_retry_of_a_dead_delivery_makes_a_row() -> None:
    dead = msgspec.structs.replace(DELIVERY, state="dead", reason="answered 410")
    *_, ended, again, unknown = apply(
        DeliveryStates(0),
        request(1),
        DELIVERY,
        dead,
        Retry(at_ms=NOW_MS + 7, delivery_id=DELIVERY.id),
        Retry(at_ms=NOW_MS + 7, delivery_id="nobody's"),
    )
    assert [(row.state, row.outcome) for row in ended] == [("dead", "answered 410")]
    assert [(row.state, row.due_at) for row in again] == [("waiting", NOW_MS + 7)]
    assert unknown == []


def test_what_was_removed_from_the_log_makes_no_more_rows() -> None:
    states = DeliveryStates(0)
    apply(states, request(1), DELIVERY)
    states.erase(request_key("0-1-0", "first"))
    states.erase(b"chain|alert_0-1-0_first")
    acknowledgement = Acknowledgement(at_ms=NOW_MS, alert="0-1-0", by="me")
    assert apply(states, acknowledgement, DELIVERY, first=9) == [[], []]


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 2**32))
def test_however_notifiers_end_the_newest_row_of_an_alert_and_route_is_its_outcome(seed: int) -> None:
    world = simulate(seed)
    states = DeliveryStates(0)
    newest: dict[AlertRoute, DeliveryState] = {}
    requested = set()
    for offset, (key, value) in enumerate(world.log):
        if value is None:
            states.erase(key)
            continue
        record = decode(value)
        if isinstance(record, DeliveryRequest):
            requested.add((record.alert.id, record.route))
        for row in states.apply(offset, record):
            newest[row.alert_id, row.route] = row
    assert newest.keys() == requested
    assert {row.state for row in newest.values()} == {"delivered"}
    assert {row.message_id for row in newest.values()} == set(world.delivered)
