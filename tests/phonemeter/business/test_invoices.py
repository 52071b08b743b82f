"""Invoices and saved titles in SQLite and in PostgreSQL, and by the command line."""

import threading
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest
from sqlalchemy import insert, select, update
from sqlalchemy.exc import IntegrityError

from dashboards.console.errors import RecordsUnavailableError, RefusedChangeError
from dashboards.console.invoice_titles import TitleText
from dashboards.console.invoices import INVOICES_LISTED_MAX, TITLES_MAX
from dashboards.console.members import Actor
from dashboards.console.payments import PaymentNotice
from metering.catalogue import DEFAULT
from metering.times import parse_time
from phonemeter.business import invoices as invoice_store
from phonemeter.business.database import BusinessDatabase
from phonemeter.business.invoice_titles import BusinessTitles
from phonemeter.business.invoices import BusinessInvoices
from phonemeter.business.members import BusinessMembers
from phonemeter.business.orders import BusinessOrders
from phonemeter.business.owners import OwnerStore
from phonemeter.business.tables import INVOICE_ORDERS, INVOICES, ORDERS
from tests.phonemeter.cli.calling import Phonemeter, called

AUGUST_MS = parse_time("2023-08-31T23:59:59.999+08:00")
SEPTEMBER_MS = parse_time("2023-09-01T00:00:00+08:00")
APP, OTHER_APP = "wx8ff4154a2448e576", "wx00000000000000aa"
WHO = "li@a.example"
COMPANY = TitleText("company", "深圳市腾讯计算机系统有限公司", "9144030071526726XG")

pytestmark = pytest.mark.stack


@pytest.fixture
def database(url: str) -> Iterator[BusinessDatabase]:
    with BusinessDatabase(url) as opened:
        OwnerStore(opened).add("a", [APP])
        OwnerStore(opened).add("b", [OTHER_APP])
        yield opened


@pytest.fixture
def phonemeter(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path, url: str
) -> Phonemeter:
    calling = partial(called, monkeypatch, capsys, tmp_path, "127.0.0.1:1")
    return partial(calling, PHONEMETER_BUSINESS_DATABASE=url)


def actor(database: BusinessDatabase, owner: str = "a") -> Actor:
    owner_id = next(one.owner_id for one in OwnerStore(database).every_owner() if one.name == owner)
    return Actor(WHO, owner_id)


def ordered(
    database: BusinessDatabase, paid_at_ms: int | None = AUGUST_MS, owner: str = "a", offer: int = 0
) -> str:
    """The number of a new order, paid at a time if one is given."""
    store = BusinessOrders(database)
    once = str(len(database_rows(database)))
    order = store.create(actor(database, owner), APP if owner == "a" else OTHER_APP, DEFAULT[offer], once)
    if paid_at_ms is not None:
        money = PaymentNotice(order.order_id, order.order_id, order.price_micro_yuan, paid_at_ms)
        assert store.take_notice("test", money, WHO) == "accepted"
    return order.order_id


def database_rows(database: BusinessDatabase) -> list[str]:
    with database.begin() as connection:
        return list(connection.execute(select(ORDERS.c.order_id)).scalars())


def set_state(database: BusinessDatabase, order_id: str, state: str) -> None:
    with database.begin() as connection:
        this = ORDERS.c.order_id == order_id
        connection.execute(update(ORDERS).where(this).values(state=state))


def titled(database: BusinessDatabase, owner: str = "a") -> str:
    return BusinessTitles(database).save_title(actor(database, owner), COMPANY)


def applied(database: BusinessDatabase, order_id: str = "", month: str = "") -> str:
    invoices = BusinessInvoices(database)
    return invoices.apply(actor(database), titled(database), order_id=order_id, month=month)


def refused(change: Callable[[], object]) -> str:
    with pytest.raises(RefusedChangeError) as error:
        change()
    return error.value.reason


def test_a_title_is_saved_once_and_seen_by_its_owner_alone(database: BusinessDatabase) -> None:
    titles, own, other = BusinessTitles(database), actor(database), actor(database, "b")
    title_id = titles.save_title(own, COMPANY)
    assert titles.save_title(own, COMPANY) == title_id
    assert titles.save_title(other, COMPANY) != title_id
    person = titles.save_title(own, TitleText("personal", "张三"))
    assert {one.title_id for one in titles.titles_of(own.owner_id)} == {title_id, person}
    assert refused(lambda: titles.remove_title(other, person)) == "not_there"
    titles.remove_title(own, person)
    assert [one.title for one in titles.titles_of(own.owner_id)] == [COMPANY]
    for number in range(TITLES_MAX - 1):
        titles.save_title(own, TitleText("personal", f"张{number}"))
    assert refused(lambda: titles.save_title(own, TitleText("personal", "李四"))) == "too_many"
    trail = BusinessMembers(database).audit_trail(own.owner_id)
    assert "invoice_title_removed" in {one.what for one in trail}


def test_the_invoice_of_an_order_has_its_amount_and_the_title_as_it_was(database: BusinessDatabase) -> None:
    invoices, own = BusinessInvoices(database), actor(database)
    order_id = ordered(database)
    (waiting,) = invoices.orders_without_invoice(own.owner_id)
    assert (waiting.order_id, waiting.amount_micro_yuan) == (order_id, 7_500_000)
    invoice_id = applied(database, order_id)
    BusinessTitles(database).remove_title(own, titled(database))
    found = invoices.invoice(own.owner_id, invoice_id)
    assert found is not None
    assert (found.title, found.amount_micro_yuan, found.state) == (COMPANY, 7_500_000, "applied")
    assert [one.order_id for one in found.orders] == [order_id]
    assert found.applied.who == WHO
    assert invoice_id.startswith("FP")
    assert invoice_id[2:].isdigit()
    assert len(invoice_id) == 21
    assert invoices.orders_without_invoice(own.owner_id) == []


def test_a_month_has_the_paid_orders_of_its_shanghai_days(database: BusinessDatabase) -> None:
    invoices, own = BusinessInvoices(database), actor(database)
    august, september = ordered(database, AUGUST_MS), ordered(database, SEPTEMBER_MS, offer=1)
    ordered(database, None)
    ordered(database, AUGUST_MS, owner="b")
    found = invoices.invoice(own.owner_id, applied(database, month="2023-08"))
    assert found is not None
    assert ([one.order_id for one in found.orders], found.month) == ([august], "2023-08")
    again = refused(lambda: applied(database, month="2023-08"))
    assert again == "nothing_to_invoice"
    late = ordered(database, AUGUST_MS - 1)
    set_state(database, late, "active")
    later = invoices.invoice(own.owner_id, applied(database, month="2023-08"))
    assert later is not None
    assert [one.order_id for one in later.orders] == [late]
    rest = invoices.orders_without_invoice(own.owner_id)
    assert [one.order_id for one in rest] == [september]
    for wrong in ("2023-13", "2023-8", "08-2023", "x" * 500):
        assert refused(lambda wrong=wrong: applied(database, month=wrong)) == "not_there"  # type: ignore[misc]


@pytest.mark.parametrize(
    ("state", "reason"),
    [
        ("created", "nothing_to_invoice"),
        ("paying", "nothing_to_invoice"),
        ("cancelled", "nothing_to_invoice"),
        ("expired", "nothing_to_invoice"),
        ("refund_asked", "order_refunded"),
        ("refunded", "order_refunded"),
    ],
)
def test_an_order_that_is_not_paid_or_is_refunded_gets_no_invoice(
    database: BusinessDatabase, state: str, reason: str
) -> None:
    order_id = ordered(database)
    set_state(database, order_id, state)
    assert refused(lambda: applied(database, order_id)) == reason
    assert refused(lambda: applied(database, month="2023-08")) == "nothing_to_invoice"
    invoices = BusinessInvoices(database)
    assert invoices.orders_without_invoice(actor(database).owner_id) == []


def test_orders_titles_and_invoices_of_another_owner_are_not_there(database: BusinessDatabase) -> None:
    invoices, own, other = BusinessInvoices(database), actor(database), actor(database, "b")
    order_id, theirs = ordered(database), ordered(database, owner="b")
    assert refused(lambda: applied(database, theirs)) == "not_there"
    foreign = titled(database, "b")
    assert refused(lambda: invoices.apply(own, foreign, order_id=order_id)) == "not_there"
    invoice_id = applied(database, order_id)
    assert invoices.invoice(other.owner_id, invoice_id) is None
    assert invoices.invoices_of(other.owner_id) == []
    assert refused(lambda: invoices.issue(other, invoice_id)) == "not_there"
    assert refused(lambda: invoices.refuse(other, invoice_id, "x")) == "not_there"
    assert refused(lambda: invoices.void(other, invoice_id, "x")) == "not_there"


def test_an_order_is_on_one_valid_invoice_until_that_is_refused_or_voided(database: BusinessDatabase) -> None:
    invoices, own = BusinessInvoices(database), actor(database)
    order_id = ordered(database)
    first = applied(database, order_id)
    assert refused(lambda: applied(database, order_id)) == "invoiced_already"
    invoices.refuse(own, first, "抬头有误")
    second = applied(database, order_id)
    invoices.issue(own, second)
    assert refused(lambda: applied(database, order_id)) == "invoiced_already"
    invoices.void(own, second, "重开")
    third = applied(database, order_id)
    states = {one.invoice_id: one.state for one in invoices.invoices_of(own.owner_id)}
    assert states == {first: "refused", second: "voided", third: "applied"}
    voided = invoices.invoice(own.owner_id, second)
    assert voided is not None
    assert voided.decided is not None
    assert voided.voided is not None
    assert (voided.decided.reason, voided.voided.reason) == ("", "重开")


def test_the_database_itself_keeps_an_order_from_a_second_valid_invoice(database: BusinessDatabase) -> None:
    order_id = ordered(database)
    first = applied(database, order_id)
    with database.begin() as connection:
        row = connection.execute(select(INVOICES)).one()._asdict()
        connection.execute(insert(INVOICES).values({**row, "invoice_id": "FP0"}))
        old = {"invoice_id": "FP0", "order_id": order_id}
        connection.execute(insert(INVOICE_ORDERS).values({**old, "is_valid": False}))
        with pytest.raises(IntegrityError), connection.begin_nested():
            connection.execute(update(INVOICE_ORDERS).values(is_valid=True))
    assert refused(lambda: applied(database, order_id)) == "invoiced_already"
    assert first != "FP0"


def test_applications_at_the_same_time_make_one_invoice(database: BusinessDatabase) -> None:
    order_id, title_id, own = ordered(database), titled(database), actor(database)
    outcomes: list[str] = []

    def apply() -> None:
        try:
            BusinessInvoices(database).apply(own, title_id, order_id=order_id)
            outcomes.append("applied")
        except RefusedChangeError as error:
            outcomes.append(error.reason)
        except RecordsUnavailableError:
            outcomes.append("unavailable")

    threads = [threading.Thread(target=apply) for _ in range(4)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert sorted(outcomes) == ["applied", "invoiced_already", "invoiced_already", "invoiced_already"]


def test_each_state_follows_those_that_it_may(database: BusinessDatabase) -> None:
    invoices, own = BusinessInvoices(database), actor(database)
    invoice_id = applied(database, ordered(database))
    assert refused(lambda: invoices.void(own, invoice_id, "x")) == "wrong_state"
    invoices.issue(own, invoice_id)
    assert refused(lambda: invoices.issue(own, invoice_id)) == "wrong_state"
    assert refused(lambda: invoices.refuse(own, invoice_id, "x")) == "wrong_state"
    invoices.void(own, invoice_id, "x")
    for change in (invoices.issue, partial(invoices.refuse, reason="x"), partial(invoices.void, reason="x")):
        assert refused(lambda change=change: change(own, invoice_id)) == "wrong_state"  # type: ignore[misc]
    deeds = [one.what for one in BusinessMembers(database).audit_trail(own.owner_id)]
    assert deeds[:3] == ["invoice_voided", "invoice_issued", "invoice_applied"]


def test_an_invoice_of_an_order_that_is_refunded_is_not_issued_or_is_to_be_voided(
    database: BusinessDatabase,
) -> None:
    invoices, own = BusinessInvoices(database), actor(database)
    order_id = ordered(database)
    invoice_id = applied(database, order_id)
    for state in ("refund_asked", "refunded"):
        set_state(database, order_id, state)
        assert refused(lambda: invoices.issue(own, invoice_id)) == "order_refunded"
    set_state(database, order_id, "active")
    invoices.issue(own, invoice_id)
    for state, must in (("refund_asked", False), ("refunded", True)):
        set_state(database, order_id, state)
        found = invoices.invoice(own.owner_id, invoice_id)
        assert found is not None
        assert found.must_be_voided == must
        assert invoices.invoices_of(own.owner_id)[0].must_be_voided == must
    invoices.void(own, invoice_id, "订单已退款")
    assert not invoices.invoices_of(own.owner_id)[0].must_be_voided
    assert refused(lambda: applied(database, order_id)) == "order_refunded"


def test_an_amount_with_parts_of_a_fen_is_not_rounded(database: BusinessDatabase) -> None:
    order_id = ordered(database)
    with database.begin() as connection:
        connection.execute(update(ORDERS).values(price_micro_yuan=7_500_001))
    assert refused(lambda: applied(database, order_id)) == "no_whole_fen"


def test_a_list_goes_on_behind_its_last_invoice(
    database: BusinessDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    invoices, own = BusinessInvoices(database), actor(database)
    order_id = ordered(database)
    made = []
    for number in range(INVOICES_LISTED_MAX + 2):
        monkeypatch.setattr(invoice_store, "wall_clock_ms", lambda number=number: AUGUST_MS + number)
        made.append(applied(database, order_id))
        invoices.refuse(own, made[-1], "x")
    made.reverse()
    first = [one.invoice_id for one in invoices.invoices_of(own.owner_id)]
    assert first == made[: INVOICES_LISTED_MAX + 1]
    rest = invoices.invoices_of(own.owner_id, first[INVOICES_LISTED_MAX - 1])
    assert [one.invoice_id for one in rest] == made[INVOICES_LISTED_MAX:]


def test_the_command_line_lists_issues_refuses_and_voids(
    database: BusinessDatabase, phonemeter: Phonemeter
) -> None:
    issued, other = applied(database, ordered(database)), applied(database, ordered(database, offer=7))
    done = phonemeter("invoices", "issue", issued)
    assert (done.returncode, done.stdout) == (0, f"{issued} is issued.\n")
    assert phonemeter("invoices", "issue", issued).stderr == (
        "The invoice is in another state; look at: phonemeter invoices list\n"
    )
    assert phonemeter("invoices", "refuse", other, "--reason", "抬头有误").returncode == 0
    listed = phonemeter("invoices", "list", "--json").json["invoices"]
    assert [(one["invoice"], one["state"]) for one in listed] == sorted(
        [(other, "refused"), (issued, "issued")], reverse=True
    )
    assert {one["amount_micro_yuan"] for one in listed} == {7_500_000, 28_000_000_000}
    set_state(database, database_rows(database)[0], "refunded")
    set_state(database, database_rows(database)[1], "refunded")
    text = phonemeter("invoices", "list", "--state", "issued").stdout
    assert issued in text
    assert other not in text
    assert "issued, to be voided" in text
    assert phonemeter("invoices", "void", issued, "--reason", "订单已退款").returncode == 0
    found = BusinessInvoices(database).invoice(actor(database).owner_id, issued)
    assert found is not None
    assert found.voided is not None
    assert (found.voided.who, found.voided.reason) == ("phonemeter", "订单已退款")


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("issue", "FP1"), "There is no such invoice; list them with: phonemeter invoices list"),
        (("list", "--state", "lost"), "'lost' is no state; there are applied, issued, refused, voided."),
        (("void", "FP1", "--reason", "13800138000"), "no phone number"),
        (("refuse", "FP1", "--reason", " "), "The reason has 1 to 200 printable characters"),
    ],
    ids=["number", "state", "phone", "empty"],
)
def test_a_wrong_command_is_told_in_a_sentence(
    database: BusinessDatabase, phonemeter: Phonemeter, arguments: tuple[str, ...], sentence: str
) -> None:
    del database
    done = phonemeter("invoices", *arguments)
    assert done.returncode == 2
    assert sentence in done.stderr
