"""The routing of an alert: its routes, and history that is recorded and not sent."""

import msgspec
import pytest

from metering.alerts import Alert
from metering.times import DAY_MS, HOUR_MS, format_time, parse_time
from sinks.notifier.alert_routing import Ages, RoutedAlert, route_alert
from sinks.notifier.deliveries import Deliveries
from sinks.notifier.delivery_states import DeliveryStates
from sinks.notifier.kafka_log import FetchedRecord
from sinks.notifier.records import Delivery, DeliveryRequest
from sinks.notifier.routes import Route, Routes
from sinks.position import BEFORE_ALL
from tests.sinks.notifier.parts import alert

NOW_MS = parse_time("2026-10-20T00:00:00Z")
AGES = Ages(published_ms_max=7 * DAY_MS, past_ms_max=DAY_MS)
ROUTES = Routes(
    routes={
        "hook": Route(name="hook", channel="webhook", address=""),
        "group": Route(name="group", channel="wecom", address=""),
    }
)


def routed(one: Alert, *, published_ms: int = NOW_MS, routes: Routes | None = ROUTES) -> RoutedAlert:
    record = FetchedRecord("phone-alerts", 0, 5, published_ms, None, msgspec.json.encode(one))
    return route_alert(record, BEFORE_ALL, routes, AGES, NOW_MS)


def about(past_ms: int, *, recorded_at: str | None = None) -> Alert:
    """An alert whose subject was so long past when its event arrived, which is now by default."""
    time = format_time(NOW_MS - past_ms)
    return alert(7, time=time, recorded_at=format_time(NOW_MS) if recorded_at is None else recorded_at)


def test_what_was_past_for_more_than_a_day_when_it_arrived_is_recorded_and_not_sent() -> None:
    found = routed(about(240 * DAY_MS))
    assert found.outcome == "not_sent"
    assert [(type(one), one.route) for one in found.records] == [
        (Delivery, "hook"),
        (DeliveryRequest, "hook"),
        (Delivery, "group"),
        (DeliveryRequest, "group"),
    ]
    delivery = found.records[2]
    assert isinstance(delivery, Delivery)
    assert (delivery.state, delivery.channel, delivery.attempt) == ("not_sent", "wecom", 0)
    assert delivery.reason == "too old: 240.0 days past when it arrived"


@pytest.mark.parametrize(("past_ms", "outcome"), [(DAY_MS, "routed"), (DAY_MS + 1, "not_sent")])
def test_a_day_is_the_limit(past_ms: int, outcome: str) -> None:
    assert routed(about(past_ms)).outcome == outcome


def test_a_notifier_that_was_down_for_days_delivers_what_was_new_when_it_arrived() -> None:
    news = about(3 * DAY_MS, recorded_at=format_time(NOW_MS - 3 * DAY_MS + HOUR_MS))
    assert routed(news, published_ms=NOW_MS - 3 * DAY_MS).outcome == "routed"


def test_an_alert_without_the_arrival_of_its_event_is_as_old_as_its_publication() -> None:
    assert routed(about(2 * DAY_MS, recorded_at="")).outcome == "not_sent"
    older = about(2 * DAY_MS, recorded_at="")
    assert routed(older, published_ms=NOW_MS - 2 * DAY_MS).outcome == "routed"


def test_without_a_route_nothing_is_recorded() -> None:
    assert routed(about(240 * DAY_MS), routes=None) == RoutedAlert("unrouted", routed(about(0)).position)


def test_what_is_not_sent_is_never_attempted_wherever_its_notifier_ended() -> None:
    records = routed(about(240 * DAY_MS)).records
    for length in range(len(records) + 1):
        deliveries = Deliveries()
        for one in (*records[:length], *records):
            deliveries.apply(one)
        assert (deliveries.pending, deliveries.open, deliveries.dead) == ({}, set(), set())
        first = Deliveries()
        for one in records[:length]:
            first.apply(one)
        assert first.pending == {}


def test_the_rows_state_that_it_was_not_sent_and_why() -> None:
    states = DeliveryStates(0)
    rows = [
        row
        for offset, one in enumerate(routed(about(240 * DAY_MS)).records)
        for row in states.apply(offset, one)
    ]
    assert [(row.route, row.state, row.attempts) for row in rows] == [
        ("hook", "not_sent", 0),
        ("group", "not_sent", 0),
    ]
    assert rows[0].outcome == "too old: 240.0 days past when it arrived"
