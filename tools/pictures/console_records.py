"""The records of the owner on the pictures: members, orders, titles, invoices, recipients, a guide begun."""

import time
from collections.abc import Sequence
from typing import Final, NamedTuple

from sqlalchemy import update

from dashboards.console.invoice_titles import TitleText, check_character
from dashboards.console.members import Actor
from dashboards.console.orders import OrderState
from dashboards.console.payments import PaymentNotice, PaymentOffer
from dashboards.console.recipients import QuietTimes, RecipientDesk, RecipientTarget, RecipientText
from dashboards.console.roles import Role
from dashboards.console.service import Records
from metering.catalogue import DEFAULT
from metering.times import DAY_MS, HOUR_MS
from phonemeter.business.database import BusinessDatabase
from phonemeter.business.tables import ORDERS

ACCOUNT: Final = "海岸云服务有限公司\n招商银行深圳南山支行\n账号 7559 0000 1234"
"""Of nobody: no money moves while pictures are drawn."""

COLLEAGUES: Final[tuple[tuple[str, str, Role], ...]] = (
    ("wang@coast.example", "王芳", "finance"),
    ("li@coast.example", "李强", "viewer"),
)
COMPANY: Final = "91440300MA5CAFE01"
TITLES: Final = (
    TitleText("company", "海岸餐饮管理（深圳）有限公司", COMPANY + check_character(COMPANY)),
    TitleText("personal", "陈晨"),
)
RECIPIENTS: Final = (
    (
        RecipientText("门店主管群", "zh", ("urgent", "warning")),
        RecipientTarget("wecom", "0123-4567-89ab-cdef"),
    ),
    (
        RecipientText("采购", "zh", ("urgent", "warning", "info")),
        RecipientTarget("email", "buyer@coast.example"),
    ),
)
OPERATOR: Final = "support@phonemeter.example"


class PicturedOrder(NamedTuple):
    """An order: how far it is, whose app it is for by number, the calls of its pack, and its age in days."""

    state: OrderState
    app: int
    calls: int
    days_ago: int


BOUGHT: Final = (
    PicturedOrder("refunded", 1, 250, 12),
    PicturedOrder("active", 1, 5_000, 9),
    PicturedOrder("active", 2, 10_000, 6),
    PicturedOrder("active", 0, 50_000, 3),
    PicturedOrder("paying", 0, 100_000, 0),
)


def fill_records(
    database: BusinessDatabase,
    records: Records,
    recipients: RecipientDesk,
    actor: Actor,
    apps: Sequence[str],
) -> tuple[str, str]:
    """Record what the pages list; the numbers of an order that is being paid and of an issued invoice."""
    for email, name, role in COLLEAGUES:
        records.members.invite(actor, email, name, role)
    for text, target in RECIPIENTS:
        recipients.add(actor, text, target)
    recipients.set_quiet_times(actor, QuietTimes("22:00", "08:00"))
    for step in ("assistant", "password"):
        records.guide.tick(actor, apps[0], step)
    orders = [_bought(database, records, actor, apps[one.app], one) for one in BOUGHT]
    company, person = (records.titles.save_title(actor, title) for title in TITLES)
    operator = Actor(OPERATOR, actor.owner_id)
    invoices = records.invoices
    issued = invoices.apply(actor, company, order_id=orders[1])
    invoices.issue(operator, issued)
    invoices.refuse(operator, invoices.apply(actor, person, order_id=orders[2]), "请使用企业抬头。")
    invoices.apply(actor, company, order_id=orders[3])
    return orders[-1], issued


def _bought(
    database: BusinessDatabase, records: Records, actor: Actor, appid: str, one: PicturedOrder
) -> str:
    store = records.orders.orders
    offer = next(offer for offer in DEFAULT if offer.calls == one.calls)
    now_ms = time.time_ns() // 1_000_000
    at_ms = now_ms - one.days_ago * DAY_MS
    order = store.create(actor, appid, offer, f"picture {one.calls}", "purchase")
    if one.state == "paying":
        offer_of_bank = PaymentOffer("transfer", ACCOUNT, now_ms + 7 * DAY_MS)
        store.begin_payment(actor, order.order_id, "transfer", offer_of_bank)
    else:
        notice = PaymentNotice(
            order.order_id, f"CMB{order.order_id[-8:]}", offer.price_micro_yuan, at_ms + HOUR_MS
        )
        store.take_notice("transfer", notice, OPERATOR)
    # Time passes for nobody here, and no ledger says that a pack has come.
    with database.begin() as connection:
        of_it = ORDERS.c.order_id == order.order_id
        connection.execute(update(ORDERS).where(of_it).values(state=one.state, created_at_ms=at_ms))
    return order.order_id
