"""Recipients of owners beside the routes of the file: who gets what, and what becomes of those that go."""

from prometheus_client import generate_latest

from metering.times import HOUR_MS
from sinks.notifier import planning
from sinks.notifier.deliveries import Deliveries
from sinks.notifier.delivery_counts import count
from sinks.notifier.errors import RoutesError
from sinks.notifier.metrics import Metrics
from sinks.notifier.planning import UNKNOWN_RECIPIENT_MS, AttemptOutcome
from sinks.notifier.recipients import CurrentRecipients, joined
from sinks.notifier.records import DeliveryRequest, Fence
from sinks.notifier.routes import RecipientRoutes, Route, Routes
from tests.sinks.notifier.parts import APP, alert
from tests.sinks.notifier.simulated import LIMITS

NOW_MS = 1_000_000_000_000
OTHER = "wx00000000000000aa"
NAME = "recipient.9f2c"


def route(name: str) -> Route:
    return Route(name=name, channel="wecom", address="wecombot://key", severities=("warning",))


FILE = Routes(routes={"all": Route(name="all", channel="wecom", address="wecombot://all")})
OF_OWNER = RecipientRoutes({NAME: route(NAME)}, {OTHER: (NAME,)})


def given_up(deliveries: Deliveries, now_ms: int) -> list[str]:
    return [one.reason for one in planning.deliveries_to_give_up(deliveries, {}, now_ms)]


def test_a_recipient_gets_the_alerts_of_its_owners_apps_that_it_wants() -> None:
    routes = FILE.with_recipients(OF_OWNER)
    assert [one.route for one in routes.requests(alert(appid=OTHER), NOW_MS)] == ["all", NAME]
    assert [one.route for one in routes.requests(alert(appid=OTHER, kind="recovery"), NOW_MS)] == ["all"]
    assert [one.route for one in routes.requests(alert(appid=APP), NOW_MS)] == ["all"]
    assert set(routes.by_name) == {"all", NAME}


def test_what_waits_for_a_recipient_that_is_gone_ends_but_not_before_every_notifier_may_know_it() -> None:
    deliveries = Deliveries()
    request = DeliveryRequest(at_ms=NOW_MS, alert=alert(), route=NAME, due_ms=NOW_MS, held=False)
    for record in (Fence(at_ms=NOW_MS, owner="me"), request):
        deliveries.apply(record)
    assert given_up(deliveries, NOW_MS + UNKNOWN_RECIPIENT_MS - 1) == []
    assert given_up(deliveries, NOW_MS + UNKNOWN_RECIPIENT_MS) == ["the owner has no such recipient any more"]
    known = {NAME: route(NAME)}
    assert list(planning.deliveries_to_give_up(deliveries, known, NOW_MS + HOUR_MS)) == []
    late_ms = NOW_MS + HOUR_MS
    assert list(planning.deliveries_to_give_up(deliveries, {}, late_ms, recipients_known=False)) == []


def test_deliveries_to_recipients_that_fail_are_no_trouble_of_the_operator() -> None:
    deliveries = Deliveries()
    for name in (NAME, "all"):
        request = DeliveryRequest(at_ms=NOW_MS, alert=alert(), route=name, due_ms=NOW_MS, held=False)
        for record in (Fence(at_ms=NOW_MS, owner="me"), request):
            deliveries.apply(record)
        every = FILE.with_recipients(OF_OWNER).by_name
        for begun in planning.attempts_to_begin(deliveries, every, {}, {}, NOW_MS):
            deliveries.apply(begun)
            gone = AttemptOutcome(delivered=False, reason="answered 410", gone=True)
            deliveries.apply(planning.conclude(begun, gone, LIMITS, NOW_MS))
    counts = count([deliveries])
    assert (counts.dead, counts.dead_recipients) == (1, 1)


def test_recipients_that_cannot_be_read_stay_as_they_are_and_that_is_told() -> None:
    answers: list[RecipientRoutes | RoutesError] = [
        RoutesError("the database does not answer"),
        OF_OWNER,
        RoutesError("the database does not answer"),
        RecipientRoutes(),
    ]

    def read() -> RecipientRoutes:
        answer = answers.pop(0)
        if isinstance(answer, RoutesError):
            raise answer
        return answer

    metrics = Metrics()
    current = CurrentRecipients(read, metrics)
    in_effect = joined(lambda: None, current)
    current.read_again()
    unknown = in_effect()
    assert unknown is not None
    assert (unknown.recipients, dict(unknown.by_name), unknown.requests(alert(), 0)) == (None, {}, [])
    (problem,) = metrics.problems("", current.refusal, recipients_known=False)
    assert "alerts are held for them: the database does not answer" in problem.sentence
    current.read_again()
    found = in_effect()
    assert found is not None
    assert set(found.by_name) == {NAME}
    assert in_effect() is found
    current.read_again()
    assert in_effect() is found
    (problem,) = metrics.problems("", current.refusal)
    assert problem.promise == "delivered"
    assert "the database does not answer" in problem.sentence
    current.read_again()
    after = in_effect()
    assert after is not None
    assert (set(after.by_name), current.refusal) == (set(), "")
    assert "phonemeter_notifier_recipients 0.0" in generate_latest(metrics.registry).decode()
    assert joined(lambda: None, None)() is None
