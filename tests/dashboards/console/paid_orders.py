"""Orders that are paid, or refunded, for the tests of what comes after."""

from itertools import count
from typing import Final

from dashboards.console.members import Actor
from dashboards.console.payments import PaymentNotice
from metering.catalogue import DEFAULT
from metering.times import parse_time
from phonemeter.business.database import BusinessDatabase
from phonemeter.business.orders import BusinessOrders
from phonemeter.business.owners import OwnerStore
from phonemeter.business.tables import ORDERS
from tests.dashboards.console.parts import APPS, OTHER_APP, email_of

PAID_MS: Final = parse_time("2023-08-26T10:00:00+08:00")

_numbers = count()


def paid_order(
    database: BusinessDatabase, owner: str = "a", *, offer: int = 0, paid_ms: int = PAID_MS
) -> str:
    """The number of a new order that is paid."""
    owners = OwnerStore(database).every_owner()
    actor = Actor(email_of("owner", owner), next(one.owner_id for one in owners if one.name == owner))
    store = BusinessOrders(database)
    app = APPS[0] if owner == "a" else OTHER_APP
    order = store.create(actor, app, DEFAULT[offer], f"invoices {next(_numbers)}")
    notice = PaymentNotice(order.order_id, order.order_id, order.price_micro_yuan, paid_ms)
    assert store.take_notice("test", notice, actor.who) == "accepted"
    return order.order_id


def refund(database: BusinessDatabase, order_id: str) -> None:
    with database.begin() as connection:
        connection.execute(ORDERS.update().where(ORDERS.c.order_id == order_id).values(state="refunded"))
