import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from metering.times import DAY_MS, HOUR_MS, SECOND_MS
from sinks.notifier import planning
from sinks.notifier.deliveries import Deliveries
from sinks.notifier.planning import Outcome
from sinks.notifier.records import Acknowledged, AnyRecord, Asked, Chain, Claim, Retry, RouteState, decode
from tests.sinks.notifier.parts import alert
from tests.sinks.notifier.simulated import LIMITS, ROUTES, simulate

NOW_MS = 1_000_000_000_000
FAILED = Outcome(delivered=False, reason="answered 500")
DELIVERED = Outcome(delivered=True, reason="answered 204")


def asked(offset: int, *, held_ms: int = 0, route: str = "first") -> Asked:
    return Asked(at_ms=NOW_MS, alert=alert(offset), route=route, due_ms=NOW_MS + held_ms, held=held_ms > 0)


def known(*records: AnyRecord) -> Deliveries:
    found = Deliveries()
    for record in (Claim(at_ms=NOW_MS, owner="me"), *records):
        found.apply(record)
    return found


def begun(deliveries: Deliveries, now_ms: int = NOW_MS) -> list[Chain]:
    return list(planning.begun(deliveries, ROUTES, {}, {}, now_ms))


def failed(chain: Chain, now_ms: int = NOW_MS) -> Chain:
    return planning.concluded(chain, FAILED, LIMITS, now_ms)


def test_an_alert_is_begun_once_however_often_it_is_asked_for() -> None:
    deliveries = known(asked(1), asked(1))
    (first,) = begun(deliveries)
    assert (first.id, first.attempt, first.state) == ("alert_0-1-0_first", 1, "sending")
    assert deliveries.apply(first) == first
    assert deliveries.apply(first) is None
    deliveries.apply(asked(1))
    assert begun(deliveries) == []


def test_a_failed_attempt_is_followed_by_the_next_at_its_time_by_the_same_id() -> None:
    deliveries = known(asked(1))
    (first,) = begun(deliveries)
    after = failed(first)
    for record in (first, after):
        deliveries.apply(record)
    assert begun(deliveries, after.due_ms - 1) == []
    (second,) = begun(deliveries, after.due_ms)
    assert (second.id, second.attempt, second.since_ms) == (first.id, 2, first.since_ms)


def test_what_is_delivered_stays_so_whatever_an_old_owner_writes() -> None:
    deliveries = known(asked(1))
    (first,) = begun(deliveries)
    done = planning.concluded(first, DELIVERED, LIMITS, NOW_MS)
    for record in (first, done, failed(first), msgspec.structs.replace(first, attempt=2, owner="old")):
        deliveries.apply(record)
    assert begun(deliveries, NOW_MS + DAY_MS) == []
    assert deliveries.contradicted == {first.id}
    deliveries.apply(done)
    assert deliveries.contradicted == set()


def test_an_attempt_of_one_who_lost_the_partition_does_not_count() -> None:
    deliveries = known(asked(1))
    (first,) = begun(deliveries)
    deliveries.apply(Claim(at_ms=NOW_MS, owner="next"))
    assert deliveries.apply(first) is None
    assert [chain.attempt for chain in begun(deliveries)] == [1]


def test_an_attempt_without_an_outcome_is_given_its_time_and_then_repeated() -> None:
    deliveries = known(asked(1))
    (first,) = begun(deliveries)
    deliveries.apply(first)
    patience_ms = LIMITS.timeout_ms + planning.GRACE_MS
    assert list(planning.interrupted(deliveries, frozenset(), LIMITS, NOW_MS + patience_ms - 1)) == []
    assert list(planning.interrupted(deliveries, frozenset({first.id}), LIMITS, NOW_MS + DAY_MS)) == []
    (after,) = planning.interrupted(deliveries, frozenset(), LIMITS, NOW_MS + patience_ms)
    assert (after.state, after.attempt, after.id) == ("waiting", 1, first.id)
    assert "may have arrived" in after.reason


def test_what_is_held_goes_together_when_its_time_has_come() -> None:
    deliveries = known(asked(1, held_ms=HOUR_MS), asked(3, held_ms=2 * HOUR_MS))
    time_ms = NOW_MS + HOUR_MS
    assert begun(deliveries, time_ms) == []
    # Asked for before the time by whoever reads the alerts, and read here after it.
    deliveries.apply(asked(2, held_ms=HOUR_MS))
    assert begun(deliveries, time_ms + planning.SETTLED_AFTER_MS - 1) == []
    (digest,) = begun(deliveries, time_ms + planning.SETTLED_AFTER_MS)
    assert digest.alerts == ("0-1-0", "0-2-0")
    deliveries.apply(digest)
    deliveries.apply(asked(4, held_ms=HOUR_MS))
    (late,) = begun(deliveries, time_ms + planning.SETTLED_AFTER_MS)
    assert late.alerts == ("0-4-0",)
    assert late.id != digest.id


def test_a_message_holds_at_most_fifty_alerts() -> None:
    deliveries = known(*(asked(offset, held_ms=1) for offset in range(120)))
    assert sorted(len(chain.alerts) for chain in begun(deliveries, NOW_MS + HOUR_MS)) == [20, 50, 50]


def test_a_route_has_at_most_eight_attempts_under_way() -> None:
    deliveries = known(*(asked(offset) for offset in range(12)))
    assert len(begun(deliveries)) == 8
    assert len(list(planning.begun(deliveries, ROUTES, {"first": 7}, {}, NOW_MS))) == 1


def test_robots_are_not_hurried() -> None:
    deliveries = known(asked(1, route="robot"), asked(2, route="robot"))
    routes = {"robot": msgspec.structs.replace(ROUTES["first"], name="robot", channel="wecom")}
    assert len(list(planning.begun(deliveries, routes, {}, {}, NOW_MS))) == 1
    last_ms = {"robot": NOW_MS}
    assert list(planning.begun(deliveries, routes, {}, last_ms, NOW_MS + 2_999)) == []
    assert len(list(planning.begun(deliveries, routes, {}, last_ms, NOW_MS + 3_000))) == 1


def test_after_a_day_of_failures_a_chain_is_dead_until_a_person_asks_for_another_round() -> None:
    deliveries = known(asked(1))
    now_ms = NOW_MS
    attempts = 0
    while chains := begun(deliveries, now_ms):
        deliveries.apply(chains[0])
        after = failed(chains[0], now_ms)
        deliveries.apply(after)
        attempts, now_ms = attempts + 1, after.due_ms
    assert 20 <= attempts <= 23
    assert deliveries.dead == {"alert_0-1-0_first"}
    assert planning.open_alerts(deliveries) == 0

    deliveries.apply(Retry(at_ms=now_ms, chain="alert_0-1-0_first"))
    (again,) = begun(deliveries, now_ms)
    assert again.attempt == attempts + 1
    after = failed(again, now_ms)
    assert after.due_ms - now_ms <= 6_000
    deliveries.apply(again)
    deliveries.apply(after)
    deliveries.apply(Retry(at_ms=now_ms, chain="alert_0-1-0_first"))
    assert deliveries.chains[again.id] == after


def test_what_is_acknowledged_is_not_attempted_any_further() -> None:
    deliveries = known(asked(1), asked(2))
    first, _ = begun(deliveries)
    deliveries.apply(first)
    deliveries.apply(failed(first))
    for offset in (1, 2):
        deliveries.apply(Acknowledged(at_ms=NOW_MS, alert=f"0-{offset}-0", by="me"))
    assert begun(deliveries, NOW_MS + DAY_MS) == []
    assert planning.open_alerts(deliveries) == 0
    assert planning.oldest_due_ms(deliveries) is None


def test_a_route_that_is_gone_or_disabled_ends_what_waits_for_it() -> None:
    deliveries = known(asked(1), asked(2, route="removed"))
    deliveries.apply(RouteState(at_ms=NOW_MS, route="first", disabled=True, reason="answered 410"))
    ended = {chain.route: chain for chain in planning.given_up(deliveries, ROUTES, NOW_MS)}
    assert ended["first"].reason == "the route is disabled: answered 410"
    assert ended["removed"].reason == "the file of routes has no such route any more"
    assert {(chain.state, chain.attempt) for chain in ended.values()} == {("dead", 0)}
    assert begun(deliveries) == []
    deliveries.apply(RouteState(at_ms=NOW_MS, route="first", disabled=False))
    assert len(begun(deliveries)) == 1


def test_410_ends_a_chain_at_once() -> None:
    (first,) = begun(known(asked(1)))
    gone = Outcome(delivered=False, reason="answered 410", gone=True)
    assert planning.concluded(first, gone, LIMITS, NOW_MS).state == "dead"


def test_what_was_delivered_long_ago_is_forgotten() -> None:
    deliveries = known(asked(1))
    (first,) = begun(deliveries)
    deliveries.apply(first)
    deliveries.apply(planning.concluded(first, DELIVERED, LIMITS, NOW_MS))
    assert list(planning.forgotten(deliveries, NOW_MS + 400 * DAY_MS)) == []
    (old,) = planning.forgotten(deliveries, NOW_MS + 400 * DAY_MS + SECOND_MS)
    deliveries.erase(f"chain|{old.id}".encode())
    assert deliveries.chains == {}


@settings(deadline=None)
@given(st.integers(0, 2**32))
def test_however_notifiers_end_there_is_one_chain_per_alert_and_route(seed: int) -> None:
    world = simulate(seed)
    in_messages: dict[tuple[str, str], str] = {}
    final = Deliveries(forget=False)
    for key, value in world.log:
        if value is None:
            final.erase(key)
        else:
            final.apply(decode(value))
    for chain in final.chains.values():
        assert chain.state == "delivered", chain
        for one in chain.alerts:
            assert in_messages.setdefault((one, chain.route), chain.id) == chain.id
    assert in_messages.keys() == set(final.asked)
    # No attempt was made twice; and more arrived than once only where nobody could record that it had.
    assert set(world.sent.values()) <= {1}
    for message, times in world.delivered.items():
        assert times <= 1 + world.unrecorded[message], message
    assert set(world.delivered) == set(final.chains)
