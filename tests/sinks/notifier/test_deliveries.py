import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from metering.times import DAY_MS, HOUR_MS, SECOND_MS
from sinks.notifier import owned_partition, planning
from sinks.notifier.deliveries import Deliveries
from sinks.notifier.delivery_counts import oldest_due_ms, open_alerts
from sinks.notifier.planning import AttemptOutcome
from sinks.notifier.records import (
    Acknowledgement,
    AnyRecord,
    Delivery,
    DeliveryRequest,
    Fence,
    Retry,
    RouteState,
    decode,
)
from tests.sinks.notifier.parts import alert
from tests.sinks.notifier.simulated import LIMITS, ROUTES, simulate

NOW_MS = 1_000_000_000_000
FAILED = AttemptOutcome(delivered=False, reason="answered 500")
DELIVERED = AttemptOutcome(delivered=True, reason="answered 204")


def request(offset: int, *, held_ms: int = 0, route: str = "first") -> DeliveryRequest:
    return DeliveryRequest(
        at_ms=NOW_MS, alert=alert(offset), route=route, due_ms=NOW_MS + held_ms, held=held_ms > 0
    )


def state_after(*records: AnyRecord) -> Deliveries:
    deliveries = Deliveries()
    for record in (Fence(at_ms=NOW_MS, owner="me"), *records):
        deliveries.apply(record)
    return deliveries


def due_attempts(deliveries: Deliveries, now_ms: int = NOW_MS) -> list[Delivery]:
    return list(planning.attempts_to_begin(deliveries, ROUTES, {}, {}, now_ms))


def fail(delivery: Delivery, now_ms: int = NOW_MS) -> Delivery:
    return planning.conclude(delivery, FAILED, LIMITS, now_ms)


def test_repeated_requests_begin_one_attempt() -> None:
    deliveries = state_after(request(1), request(1))
    (first,) = due_attempts(deliveries)
    assert (first.id, first.attempt, first.state) == ("alert_0-1-0_first", 1, "sending")
    assert deliveries.apply(first) == first
    assert deliveries.apply(first) is None
    deliveries.apply(request(1))
    assert due_attempts(deliveries) == []


def test_a_failed_attempt_is_followed_by_the_next_at_its_time_with_the_same_id() -> None:
    deliveries = state_after(request(1))
    (first,) = due_attempts(deliveries)
    after = fail(first)
    for record in (first, after):
        deliveries.apply(record)
    assert due_attempts(deliveries, after.due_ms - 1) == []
    (second,) = due_attempts(deliveries, after.due_ms)
    assert (second.id, second.attempt, second.since_ms) == (first.id, 2, first.since_ms)


def test_what_is_delivered_stays_delivered_whatever_a_zombie_writes() -> None:
    deliveries = state_after(request(1))
    (first,) = due_attempts(deliveries)
    done = planning.conclude(first, DELIVERED, LIMITS, NOW_MS)
    for record in (first, done, fail(first), msgspec.structs.replace(first, attempt=2, owner="old")):
        deliveries.apply(record)
    assert due_attempts(deliveries, NOW_MS + DAY_MS) == []
    assert deliveries.overwritten == {first.id}
    deliveries.apply(done)
    assert deliveries.overwritten == set()


def test_an_attempt_that_a_zombie_records_behind_the_next_fence_is_void() -> None:
    deliveries = state_after(request(1))
    (first,) = due_attempts(deliveries)
    deliveries.apply(Fence(at_ms=NOW_MS, owner="next"))
    assert deliveries.apply(first) is None
    assert [delivery.attempt for delivery in due_attempts(deliveries)] == [1]


def test_an_attempt_without_an_outcome_is_repeated_after_its_time() -> None:
    deliveries = state_after(request(1))
    (first,) = due_attempts(deliveries)
    deliveries.apply(first)
    time_ms = LIMITS.timeout_ms + planning.STALE_AFTER_MS
    assert list(planning.interrupted_attempts(deliveries, frozenset(), LIMITS, NOW_MS + time_ms - 1)) == []
    assert (
        list(planning.interrupted_attempts(deliveries, frozenset({first.id}), LIMITS, NOW_MS + DAY_MS)) == []
    )
    (after,) = planning.interrupted_attempts(deliveries, frozenset(), LIMITS, NOW_MS + time_ms)
    assert (after.state, after.attempt, after.id) == ("waiting", 1, first.id)
    assert "may have arrived" in after.reason


def test_held_requests_go_in_one_message_at_their_time() -> None:
    deliveries = state_after(request(1, held_ms=HOUR_MS), request(3, held_ms=2 * HOUR_MS))
    time_ms = NOW_MS + HOUR_MS
    assert due_attempts(deliveries, time_ms) == []
    # Requested before the time by the reader of the alerts, and read here after it.
    deliveries.apply(request(2, held_ms=HOUR_MS))
    assert due_attempts(deliveries, time_ms + planning.HELD_DELAY_MS - 1) == []
    (digest,) = due_attempts(deliveries, time_ms + planning.HELD_DELAY_MS)
    assert digest.alerts == ("0-1-0", "0-2-0")
    deliveries.apply(digest)
    deliveries.apply(request(4, held_ms=HOUR_MS))
    (late,) = due_attempts(deliveries, time_ms + planning.HELD_DELAY_MS)
    assert late.alerts == ("0-4-0",)
    assert late.id != digest.id


def test_a_message_holds_at_most_fifty_alerts() -> None:
    deliveries = state_after(*(request(offset, held_ms=1) for offset in range(120)))
    assert sorted(len(delivery.alerts) for delivery in due_attempts(deliveries, NOW_MS + HOUR_MS)) == [
        20,
        50,
        50,
    ]


def test_a_route_has_at_most_eight_attempts_under_way() -> None:
    deliveries = state_after(*(request(offset) for offset in range(12)))
    assert len(due_attempts(deliveries)) == 8
    assert len(list(planning.attempts_to_begin(deliveries, ROUTES, {"first": 7}, {}, NOW_MS))) == 1


def test_messages_to_a_robot_keep_their_interval() -> None:
    deliveries = state_after(request(1, route="robot"), request(2, route="robot"))
    routes = {"robot": msgspec.structs.replace(ROUTES["first"], name="robot", channel="wecom")}
    assert len(list(planning.attempts_to_begin(deliveries, routes, {}, {}, NOW_MS))) == 1
    last_ms = {"robot": NOW_MS}
    assert list(planning.attempts_to_begin(deliveries, routes, {}, last_ms, NOW_MS + 2_999)) == []
    assert len(list(planning.attempts_to_begin(deliveries, routes, {}, last_ms, NOW_MS + 3_000))) == 1


def test_after_a_day_of_failures_a_delivery_is_dead_until_a_person_asks_for_another_round() -> None:
    deliveries = state_after(request(1))
    now_ms = NOW_MS
    attempts = 0
    while due := due_attempts(deliveries, now_ms):
        deliveries.apply(due[0])
        after = fail(due[0], now_ms)
        deliveries.apply(after)
        attempts, now_ms = attempts + 1, after.due_ms
    assert 20 <= attempts <= 23
    assert deliveries.dead == {"alert_0-1-0_first"}
    assert open_alerts(deliveries) == 0

    deliveries.apply(Retry(at_ms=now_ms, delivery_id="alert_0-1-0_first"))
    (again,) = due_attempts(deliveries, now_ms)
    assert again.attempt == attempts + 1
    after = fail(again, now_ms)
    assert after.due_ms - now_ms <= 6_000
    deliveries.apply(again)
    deliveries.apply(after)
    deliveries.apply(Retry(at_ms=now_ms, delivery_id="alert_0-1-0_first"))
    assert deliveries.by_id[again.id] == after


def test_what_is_acknowledged_is_not_attempted_any_further() -> None:
    deliveries = state_after(request(1), request(2))
    first, _ = due_attempts(deliveries)
    deliveries.apply(first)
    deliveries.apply(fail(first))
    for offset in (1, 2):
        deliveries.apply(Acknowledgement(at_ms=NOW_MS, alert=f"0-{offset}-0", by="me"))
    assert due_attempts(deliveries, NOW_MS + DAY_MS) == []
    assert open_alerts(deliveries) == 0
    assert oldest_due_ms(deliveries) is None


def test_a_route_that_is_gone_or_disabled_ends_what_waits_for_it() -> None:
    deliveries = state_after(request(1), request(2, route="removed"))
    deliveries.apply(RouteState(at_ms=NOW_MS, route="first", disabled=True, reason="answered 410"))
    ended = {
        delivery.route: delivery for delivery in planning.deliveries_to_give_up(deliveries, ROUTES, NOW_MS)
    }
    assert ended["first"].reason == "the route is disabled: answered 410"
    assert ended["removed"].reason == "the routes file has no such route any more"
    assert {(delivery.state, delivery.attempt) for delivery in ended.values()} == {("dead", 0)}
    assert due_attempts(deliveries) == []
    deliveries.apply(RouteState(at_ms=NOW_MS, route="first", disabled=False))
    assert len(due_attempts(deliveries)) == 1


def test_410_ends_a_delivery_at_once() -> None:
    (first,) = due_attempts(state_after(request(1)))
    gone = AttemptOutcome(delivered=False, reason="answered 410", gone=True)
    assert planning.conclude(first, gone, LIMITS, NOW_MS).state == "dead"


def test_records_of_what_was_delivered_long_ago_are_removed() -> None:
    deliveries = state_after(request(1))
    (first,) = due_attempts(deliveries)
    deliveries.apply(first)
    deliveries.apply(planning.conclude(first, DELIVERED, LIMITS, NOW_MS))
    assert list(planning.expired_deliveries(deliveries, NOW_MS + 400 * DAY_MS)) == []
    (old,) = planning.expired_deliveries(deliveries, NOW_MS + 400 * DAY_MS + SECOND_MS)
    deliveries.erase(f"chain|{old.id}".encode())
    assert deliveries.by_id == {}


def test_an_owner_that_stays_removes_all_that_expires_some_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(owned_partition, "EXPIRED_MAX", 2)
    partition = owned_partition.OwnedPartition(0)
    deliveries = partition.deliveries
    deliveries.apply(Fence(at_ms=NOW_MS, owner=partition.owner))

    def deliver(offset: int, at_ms: int) -> None:
        deliveries.apply(msgspec.structs.replace(request(offset), at_ms=at_ms, due_ms=at_ms))
        (first,) = due_attempts(deliveries, at_ms)
        deliveries.apply(first)
        deliveries.apply(planning.conclude(first, DELIVERED, LIMITS, at_ms))

    def remove(now_ms: int) -> int:
        removals = partition.removals(now_ms)
        for removal in removals:
            partition.read(removal.key, removal.value)
        return len(removals)

    for offset in range(3):
        deliver(offset, NOW_MS)
    assert remove(NOW_MS) == 0
    later_ms = NOW_MS + 400 * DAY_MS + SECOND_MS
    assert [remove(later_ms + number * 30 * SECOND_MS) for number in range(4)] == [4, 0, 2, 0]
    assert deliveries.by_id == {}


@settings(deadline=None)
@given(st.integers(0, 2**32))
def test_however_notifiers_end_there_is_one_delivery_per_alert_and_route(seed: int) -> None:
    world = simulate(seed)
    in_messages: dict[tuple[str, str], str] = {}
    final = Deliveries(keep_finished=True)
    for key, value in world.log:
        if value is None:
            final.erase(key)
        else:
            final.apply(decode(value))
    for delivery in final.by_id.values():
        assert delivery.state == "delivered", delivery
        for alert_id in delivery.alerts:
            assert in_messages.setdefault((alert_id, delivery.route), delivery.id) == delivery.id
    assert in_messages.keys() == set(final.requests)
    # No attempt was made twice; a message arrived again only where its arrival could not be recorded.
    assert set(world.sent.values()) <= {1}
    for message, times in world.delivered.items():
        assert times <= 1 + world.unrecorded[message], message
    assert set(world.delivered) == set(final.by_id)
