"""Orders and the outbox in SQLite and in PostgreSQL: each change with what it means for the ledger."""

import threading
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import pytest
from sqlalchemy import select

from dashboards.console.errors import RefusedChangeError
from dashboards.console.facts import ConsoleFact, RefusedFactError
from dashboards.console.members import Actor
from dashboards.console.orders import OPEN_ORDERS_MAX, UNPAID_MS, OrderFilter, PackOrder
from dashboards.console.payments import PaymentNotice, PaymentOffer
from metering.catalogue import DEFAULT
from metering.times import DAY_MS, HOUR_MS, from_ms
from phonemeter.business import audit_trail, fact_desk, order_rows, orders, outbox, owners
from phonemeter.business.database import BusinessDatabase
from phonemeter.business.fact_desk import BusinessFacts
from phonemeter.business.members import BusinessMembers
from phonemeter.business.orders import BusinessOrders
from phonemeter.business.outbox import KEPT_MS, Outbox
from phonemeter.business.owners import OwnerStore
from phonemeter.business.tables import OUTBOX
from producers.events import pack_purchased
from tests.phonemeter.cli.calling import Phonemeter, called

NOW_MS = 1_800_000_000_000
APP, OTHER_APP = "wx8ff4154a2448e576", "wx00000000000000aa"
OFFER = DEFAULT[0]
WHO = "li@a.example"

pytestmark = pytest.mark.stack


@pytest.fixture
def database(url: str) -> Iterator[BusinessDatabase]:
    with BusinessDatabase(url) as opened:
        OwnerStore(opened).add("a", [APP])
        OwnerStore(opened).add("b", [OTHER_APP])
        yield opened


@pytest.fixture
def at(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Moves the clock to so many milliseconds after the start."""

    def move(after_ms: int) -> None:
        for module in (audit_trail, fact_desk, order_rows, orders, outbox, owners):
            monkeypatch.setattr(module, "wall_clock_ms", lambda: NOW_MS + after_ms)

    move(0)
    return move


@pytest.fixture
def phonemeter(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> Phonemeter:
    return partial(called, monkeypatch, capsys, tmp_path, "127.0.0.1:1")


def actor(database: BusinessDatabase, owner: str = "a") -> Actor:
    owner_id = next(one.owner_id for one in OwnerStore(database).every_owner() if one.name == owner)
    return Actor(WHO, owner_id)


def ordered(database: BusinessDatabase, once: str = "one") -> PackOrder:
    return BusinessOrders(database).create(actor(database), APP, OFFER, once)


def notice(order: PackOrder, transaction: str = "t1", amount: int = OFFER.price_micro_yuan) -> PaymentNotice:
    return PaymentNotice(order.order_id, transaction, amount, NOW_MS)


def offer(expires_at_ms: int = NOW_MS + UNPAID_MS) -> PaymentOffer:
    return PaymentOffer("qr", "weixin://wxpay/bizpayurl?pr=x", expires_at_ms)


def paid(database: BusinessDatabase) -> PackOrder:
    order = ordered(database)
    assert BusinessOrders(database).take_notice("test", notice(order), WHO) == "accepted"
    return state_of(database, order)


def active(database: BusinessDatabase) -> PackOrder:
    order = paid(database)
    publish_all(database)
    return state_of(database, order)


def state_of(database: BusinessDatabase, order: PackOrder) -> PackOrder:
    found = BusinessOrders(database).find(order.owner_id, order.order_id)
    assert found is not None
    return found.order


def steps(database: BusinessDatabase, order: PackOrder) -> list[str]:
    found = BusinessOrders(database).find(order.owner_id, order.order_id)
    assert found is not None
    return [one.what for one in found.steps]


def publish_all(database: BusinessDatabase) -> None:
    box = Outbox(database)
    for fact in box.waiting(100):
        box.mark_published(fact.place)


def waiting(database: BusinessDatabase) -> list[dict[str, Any]]:
    return [msgspec.json.decode(one.event) for one in Outbox(database).waiting(100)]


def test_an_order_has_the_platforms_number_and_the_price_of_its_offer(
    database: BusinessDatabase, at: Callable[[int], None]
) -> None:
    at(0)
    order = ordered(database)
    assert order.order_id[:15] == f"DD{NOW_MS}"
    assert len(order.order_id) == 21
    assert order.order_id[2:].isdigit()
    assert (order.state, order.calls, order.price_micro_yuan) == ("created", 250, 7_500_000)
    assert order.expires_at_ms == NOW_MS + 2 * HOUR_MS
    assert state_of(database, order) == order


def test_a_form_that_is_sent_twice_makes_one_order(database: BusinessDatabase) -> None:
    made: list[str] = []
    threads = [threading.Thread(target=lambda: made.append(ordered(database).order_id)) for _ in range(4)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert len(made) == 4
    assert len(set(made)) == 1
    assert ordered(database, "another form").order_id not in made


def test_another_owner_finds_and_changes_no_order_and_buys_for_no_app(database: BusinessDatabase) -> None:
    store, order, other = BusinessOrders(database), ordered(database), actor(database, "b")
    assert store.find(other.owner_id, order.order_id) is None
    assert list(store.list_orders(other.owner_id, OrderFilter())) == []
    changes: list[Callable[[], PackOrder]] = [
        lambda: store.cancel(other, order.order_id),
        lambda: store.begin_payment(other, order.order_id, "test", offer()),
        lambda: store.ask_refund(other, order.order_id, None),
        lambda: store.create(other, APP, OFFER, "x"),
    ]
    for change in changes:
        with pytest.raises(RefusedChangeError, match="not_there"):
            change()
    assert state_of(database, order) == order


def test_there_are_so_many_unpaid_orders_of_an_owner(database: BusinessDatabase) -> None:
    for number in range(OPEN_ORDERS_MAX):
        ordered(database, f"form {number}")
    with pytest.raises(RefusedChangeError, match="too_many"):
        ordered(database, "one more")


def test_the_terms_count_from_the_first_time_and_an_offer_that_is_good_for_longer_keeps_the_order(
    database: BusinessDatabase, at: Callable[[int], None]
) -> None:
    at(0)
    store, order = BusinessOrders(database), ordered(database)
    begun = store.begin_payment(actor(database), order.order_id, "wechat", offer())
    assert (begun.state, begun.terms_at_ms, begun.expires_at_ms) == ("paying", NOW_MS, order.expires_at_ms)
    at(HOUR_MS)
    again = store.begin_payment(actor(database), order.order_id, "transfer", offer(NOW_MS + 7 * DAY_MS))
    assert (again.provider, again.terms_at_ms) == ("transfer", NOW_MS)
    assert again.expires_at_ms == NOW_MS + 7 * DAY_MS
    at(UNPAID_MS)
    assert list(store.expire()) == []
    at(7 * DAY_MS)
    assert [one.order_id for one in store.expire()] == [order.order_id]
    with pytest.raises(RefusedChangeError, match="wrong_state"):
        store.begin_payment(actor(database), order.order_id, "transfer", offer())


def test_a_payment_puts_the_pack_into_the_outbox_and_a_repeated_notice_changes_nothing(
    database: BusinessDatabase, at: Callable[[int], None]
) -> None:
    at(0)
    order = paid(database)
    (event,) = waiting(database)
    assert event["type"] == "pack.purchased"
    assert event["subject"] == APP
    assert event["data"] == {
        "pack_id": order.order_id,
        "order_id": order.order_id,
        "capability": "quick",
        "calls": 250,
        "validity_days": 90,
        "price_micro_yuan": 7_500_000,
        "paid_at": "2027-01-15T08:00:00.000Z",
    }
    assert BusinessOrders(database).take_notice("test", notice(order), WHO) == "repeated"
    assert state_of(database, order) == order
    assert len(waiting(database)) == 1


def test_of_two_notices_at_once_one_pays_and_the_other_goes_back(database: BusinessDatabase) -> None:
    order, outcomes = ordered(database), list[str]()
    store = BusinessOrders(database)

    def pay_by(transaction: str) -> None:
        outcomes.append(store.take_notice("test", notice(order, transaction), WHO))

    threads = [threading.Thread(target=pay_by, args=(name,)) for name in ("t1", "t2")]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert sorted(outcomes) == ["accepted", "paid_twice"]
    assert len(waiting(database)) == 1
    assert [one.outcome for one in store.open_returns(10)] == ["paid_twice"]


def test_a_wrong_amount_leaves_the_order_to_be_paid_and_goes_back(database: BusinessDatabase) -> None:
    store, order = BusinessOrders(database), ordered(database)
    assert store.take_notice("test", notice(order, "t1", 7_000_000), WHO) == "wrong_amount"
    assert waiting(database) == []
    assert state_of(database, order).state == "created"
    assert store.take_notice("test", notice(order, "t2"), WHO) == "accepted"
    assert [(one.transaction_id, one.return_state) for one in store.open_returns(10)] == [("t1", "open")]


def test_money_for_a_cancelled_order_brings_no_pack_and_goes_back(database: BusinessDatabase) -> None:
    store, order = BusinessOrders(database), ordered(database)
    cancelled = store.cancel(actor(database), order.order_id)
    assert store.cancel(actor(database), order.order_id) == cancelled
    assert store.take_notice("test", notice(order), WHO) == "order_ended"
    assert waiting(database) == []
    (payment,) = store.open_returns(10)
    store.note_return(payment.payment_id, "by_hand", WHO)
    assert list(store.open_returns(10)) == []
    store.note_return(payment.payment_id, "returned", WHO)
    store.note_return(payment.payment_id, "returned", WHO)
    assert steps(database, order) == ["created", "cancelled", "order_ended", "return_by_hand", "returned"]


def test_money_for_no_order_is_told_and_a_paid_order_is_not_cancelled(database: BusinessDatabase) -> None:
    order = paid(database)
    assert (
        BusinessOrders(database).take_notice("test", PaymentNotice("DD1", "t", 1, NOW_MS), WHO) == "no_order"
    )
    with pytest.raises(RefusedChangeError, match="wrong_state"):
        BusinessOrders(database).cancel(actor(database), order.order_id)


def test_an_order_is_active_once_its_pack_is_in_the_log(database: BusinessDatabase) -> None:
    order = active(database)
    assert order.state == "active"
    assert steps(database, order) == ["created", "paid", "active"]
    publish_all(database)
    assert state_of(database, order) == order


def test_a_refund_is_asked_in_the_log_and_granted_with_the_money(
    database: BusinessDatabase, at: Callable[[int], None]
) -> None:
    at(0)
    store, order = BusinessOrders(database), active(database)
    at(HOUR_MS)
    asked = store.ask_refund(actor(database), order.order_id, None)
    assert asked.state == "refund_asked"
    assert store.ask_refund(actor(database), order.order_id, None) == asked
    (event,) = waiting(database)
    assert (event["type"], event["data"]) == ("pack.refunded", {"pack_id": order.order_id})
    publish_all(database)
    assert state_of(database, order).state == "refund_asked"
    refunded = store.decide_refund(order.order_id, None)
    assert refunded.state == "refunded"
    assert store.decide_refund(order.order_id, "used") == refunded
    assert [(one.transaction_id, one.outcome) for one in store.open_returns(10)] == [("t1", "accepted")]


def test_a_refund_that_is_refused_at_once_or_by_the_ledger_leaves_the_order_active(
    database: BusinessDatabase,
) -> None:
    store, order = BusinessOrders(database), active(database)
    refused = store.ask_refund(actor(database), order.order_id, "after_7_days")
    assert (refused.state, refused.refund_refusal) == ("active", "after_7_days")
    assert waiting(database) == []
    store.ask_refund(actor(database), order.order_id, None)
    decided = store.decide_refund(order.order_id, "used")
    assert (decided.state, decided.refund_refusal) == ("active", "used")
    assert list(store.open_returns(10)) == []


def test_an_assigned_pack_is_cancelled_by_its_own_fact(database: BusinessDatabase) -> None:
    store = BusinessOrders(database)
    order = store.create(actor(database), APP, OFFER, "x", "assignment")
    store.take_notice("test", notice(order), WHO)
    assert waiting(database)[0]["type"] == "pack.assigned"
    publish_all(database)
    store.ask_refund(actor(database), order.order_id, None)
    assert waiting(database)[0]["type"] == "pack.assignment_cancelled"


def test_orders_are_found_by_number_app_pack_and_state_page_by_page(database: BusinessDatabase) -> None:
    store, owner_id = BusinessOrders(database), actor(database).owner_id
    made = [ordered(database, f"form {number}").order_id for number in range(5)]
    store.cancel(actor(database), made[2])
    numbers = sorted(made, reverse=True)

    def found(chosen: OrderFilter) -> list[str]:
        return [one.order_id for one in store.list_orders(owner_id, chosen)]

    assert found(OrderFilter()) == numbers
    assert found(OrderFilter(limit=2)) == numbers[:2]
    assert found(OrderFilter(limit=2, before=numbers[1])) == numbers[2:4]
    assert found(OrderFilter(states=("cancelled",))) == [made[2]]
    assert found(OrderFilter(search=made[3][5:])) == [made[3]]
    assert found(OrderFilter(search=APP[:6])) == numbers
    assert found(OrderFilter(search="%")) == []


def test_facts_of_pages_are_recorded_all_or_none_with_one_line_in_the_trail(
    database: BusinessDatabase,
) -> None:
    desk, who = BusinessFacts(database), actor(database)
    routing = ConsoleFact("account.routing_set", APP, {"capability": "quick", "reserve_calls": 50})
    desk.record(who, [routing], "routing_set", APP)
    with pytest.raises(RefusedChangeError, match="not_there"):
        desk.record(who, [routing, ConsoleFact("account.alerting_set", OTHER_APP, {})], "alerting_set", APP)
    with pytest.raises(RefusedFactError, match="levels_percent"):
        desk.record(
            who, [ConsoleFact("account.alerting_set", APP, {"levels_percent": [200]})], "alerting_set", APP
        )
    (newest,) = desk.newest(who.owner_id, APP, "account.routing_set")
    assert newest.fact.data == routing.data
    assert not newest.is_published
    publish_all(database)
    assert desk.newest(who.owner_id, APP, "account.routing_set")[0].is_published
    trail = [one.what for one in BusinessMembers(database).audit_trail(who.owner_id)]
    assert trail.count("routing_set") == 1
    assert "alerting_set" not in trail


def test_a_pack_is_recorded_once_under_the_id_that_a_back_end_gives_it(database: BusinessDatabase) -> None:
    data = {
        "pack_id": "p1",
        "order_id": "",
        "capability": "quick",
        "calls": 250,
        "validity_days": 90,
        "price_micro_yuan": 7_500_000,
        "paid_at": "2027-01-15T08:00:00.000Z",
    }
    desk, fact = BusinessFacts(database), ConsoleFact("pack.purchased", APP, data, NOW_MS)
    desk.record(actor(database), [fact], "pack_recorded", "p1")
    same = pack_purchased(
        appid=APP,
        pack_id="p1",
        capability="quick",
        calls=250,
        validity_days=90,
        price_micro_yuan=7_500_000,
        paid_at=from_ms(NOW_MS),
    )
    with database.begin() as connection:
        assert connection.execute(select(OUTBOX.c.event_id)).scalars().all() == [same["id"]]
    with pytest.raises(RefusedChangeError, match="known_fact"):
        desk.record(actor(database), [fact], "pack_recorded", "p1")


def test_facts_that_kafka_has_had_for_long_are_deleted_in_batches_and_those_that_wait_never(
    database: BusinessDatabase, at: Callable[[int], None]
) -> None:
    desk, box = BusinessFacts(database), Outbox(database)
    for reserve in range(4):
        data = {"capability": "quick", "reserve_calls": reserve}
        desk.record(actor(database), [ConsoleFact("account.routing_set", APP, data)], "routing_set", APP)
    for fact in box.waiting(3):
        box.mark_published(fact.place)
    at(KEPT_MS)
    assert box.delete_published(2) == 0
    at(KEPT_MS + 1)
    assert (box.delete_published(2), box.delete_published(2), box.delete_published(2)) == (2, 1, 0)
    assert [one["data"]["reserve_calls"] for one in waiting(database)] == [3]


def test_facts_of_an_app_keep_their_order_and_trouble_is_told(database: BusinessDatabase) -> None:
    desk, box = BusinessFacts(database), Outbox(database)
    for reserve in range(20):
        data = {"capability": "quick", "reserve_calls": reserve}
        desk.record(actor(database), [ConsoleFact("account.routing_set", APP, data)], "routing_set", APP)
    assert [one["data"]["reserve_calls"] for one in waiting(database)] == list(range(20))
    first = box.waiting(1)[0]
    box.note_trouble(first.place, "Kafka at x does not answer.\n")
    backlog = box.backlog()
    assert (backlog.count, backlog.trouble) == (20, "Kafka at x does not answer.\\n")
    assert list(box.waiting(100, [APP])) == []
    publish_all(database)
    assert box.backlog().count == 0
    assert box.backlog().oldest_at_ms is None


def test_the_command_line_confirms_a_transfer_once_and_lists_what_became_of_it(
    url: str, database: BusinessDatabase, phonemeter: Phonemeter
) -> None:
    call = partial(phonemeter, PHONEMETER_BUSINESS_DATABASE=url)
    order = ordered(database)
    arrived = ("--paid-at", "2026-01-02T10:00", "--transaction", "B-1")
    short = call("orders", "confirm", order.order_id, *arrived, "--amount", "7")
    assert (short.returncode, "stays unpaid" in short.stdout) == (1, True)
    arrived = ("--paid-at", "2026-01-02T10:00", "--transaction", "B-2")
    assert "is paid" in call("orders", "confirm", order.order_id, *arrived).stdout
    again = call("orders", "confirm", order.order_id, *arrived)
    assert (again.returncode, "noted before" in again.stdout) == (0, True)
    (listed,) = call("orders", "list", "--state", "paid", "--json").json["orders"]
    assert (listed["owner"], listed["order_id"], listed["paid_at"]) == (
        "a",
        order.order_id,
        "2026-01-02T02:00:00.000Z",
    )
    assert order.order_id in call("orders", "list").stdout
    shown = call("orders", "show", order.order_id, "--json").json
    assert [one["outcome"] for one in shown["payments"]] == ["wrong_amount", "accepted"]
    assert [one["what"] for one in shown["steps"]] == ["created", "wrong_amount", "paid"]
    assert "B-2" in call("orders", "show", order.order_id).stdout
    assert call("orders", "returned", order.order_id, "--transaction", "B-1").returncode == 0
    assert call("orders", "show", order.order_id, "--json").json["payments"][0]["return_state"] == "returned"


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["list", "--state", "lost"], "is no state"),
        (["show", "DD1"], "There is no order 'DD1'"),
        (["confirm", "DD1", "--paid-at", "2999-01-01T00:00", "--transaction", "x"], "in the future"),
        (["confirm", "DD1", "--paid-at", "2026-01-01T00:00", "--transaction", "x" * 65], "1 to 64"),
        (["confirm", "DD1", "--paid-at", "2026-01-01T00:00", "--transaction", "x"], "There is no order"),
        (["returned", "DD1", "--transaction", "x"], "There is no order"),
    ],
)
def test_what_is_wrong_with_a_command_about_orders_is_said_in_a_sentence(
    arguments: list[str], sentence: str, phonemeter: Phonemeter
) -> None:
    refused = phonemeter("orders", *arguments)
    assert (refused.returncode, refused.stdout) == (2, "")
    assert sentence in refused.stderr
