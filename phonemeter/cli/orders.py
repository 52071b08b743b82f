"""`phonemeter orders`: orders of packs, transfers that are confirmed, and money that went back."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Annotated, Any, Final

import typer

from dashboards.console.errors import RecordsUnavailableError
from dashboards.console.facts import RefusedFactError
from dashboards.console.order_question import STATES
from dashboards.console.orders import OrderFilter, OrderHistory, OrderPayment, PackOrder, PaymentOutcome
from dashboards.console.payments import PaymentNotice
from metering.times import SHANGHAI, format_time, to_ms
from phonemeter.business.audit_trail import COMMAND_LINE
from phonemeter.business.database import BusinessDatabase
from phonemeter.business.order_register import OrderRegister
from phonemeter.business.orders import BusinessOrders
from phonemeter.errors import OperationError, UserError
from phonemeter.formats import parse_yuan, to_minute, yuan
from phonemeter.settings import load
from phonemeter.tables import print_table
from phonemeter.terminal import Table, output, print_json
from producers.clock import wall_clock_ms

LISTED_MAX: Final = 1_000
TRANSACTION_CHARACTERS_MAX: Final = 64

OUTCOMES: Final[dict[PaymentOutcome, str]] = {
    "accepted": "The order {} is paid; its pack reaches the ledger through the console.",
    "repeated": "This transaction was noted before; nothing has changed for the order {}.",
    "wrong_amount": "The amount is not that of the order {}: it stays unpaid, and the money is to go back.",
    "order_ended": "The order {} had ended unpaid: it stays so, and the money is to go back.",
    "paid_twice": "The order {} is paid already: this money is to go back.",
    "no_order": "There is no order {}.",
}

GROUP = typer.Typer(
    name="orders",
    help="Orders of packs through the console: list, show, confirm a transfer, note money that is back.",
    no_args_is_help=True,
)

Number = Annotated[str, typer.Argument(metavar="ORDER", help="Its number: DD and 19 digits.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]


@GROUP.command("list")
def list_orders(
    *,
    state: Annotated[
        str | None, typer.Option("--state", help=f"Only in this state: {', '.join(STATES)}.")
    ] = None,
    search: Annotated[str, typer.Option("--search", help="In the number, the app or the pack.")] = "",
    as_json: AsJson = False,
) -> None:
    """List the orders of all owners, the newest first, 1,000 at most."""
    chosen = next((one for one in STATES if one == state), None)
    if state is not None and chosen is None:
        raise UserError(f"{state[:32]!r} is no state; there are {', '.join(STATES)}.")
    states = () if chosen is None else (chosen,)
    with _opened() as database:
        found = OrderRegister(database).orders(OrderFilter(states, search, "", LISTED_MAX))
    if as_json:
        print_json({"orders": [{"owner": owner, **_told(order)} for owner, order in found]})
        return
    table = Table("order", "owner", "app", "capability", "calls", "days", "price", "state", "created")
    for owner, one in found:
        table.add_row(
            one.order_id,
            owner,
            one.appid,
            one.capability,
            f"{one.calls:,}",
            str(one.validity_days),
            yuan(one.price_micro_yuan),
            one.state,
            to_minute(one.created_at_ms),
        )
    print_table(output(), table)


@GROUP.command("show")
def show(number: Number, *, as_json: AsJson = False) -> None:
    """Show an order with its payments and its history."""
    with _opened() as database:
        found = OrderRegister(database).find(number)
    if as_json:
        steps = [
            {"at": format_time(one.at_ms), "who": one.who, "what": one.what, "details": one.details}
            for one in found.steps
        ]
        payments = [_told_payment(one) for one in found.payments]
        print_json({"order": _told(found.order), "payments": payments, "steps": steps})
        return
    _print(found)


@GROUP.command("confirm")
def confirm(
    number: Number,
    *,
    paid_at: Annotated[
        datetime,
        typer.Option(
            "--paid-at",
            formats=["%Y-%m-%dT%H:%M", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%dT%H:%M:%S%z"],
            help="When it was paid; without a zone in Shanghai.",
        ),
    ],
    transaction: Annotated[
        str, typer.Option("--transaction", metavar="ID", help="The bank's number; each counts once.")
    ],
    amount: Annotated[
        str | None, typer.Option("--amount", metavar="YUAN", help="What arrived. Default: the order's price.")
    ] = None,
) -> None:
    """Note that a transfer for an order has arrived; exit status 1 if it does not pay the order."""
    at_ms = to_ms(paid_at if paid_at.tzinfo is not None else paid_at.replace(tzinfo=SHANGHAI))
    if at_ms > wall_clock_ms():
        raise UserError("--paid-at is in the future; say when the money arrived.")
    if not 0 < len(transaction) <= TRANSACTION_CHARACTERS_MAX or not transaction.isprintable():
        raise UserError(f"--transaction has 1 to {TRANSACTION_CHARACTERS_MAX} characters.")
    with _opened() as database:
        order = OrderRegister(database).find(number).order
        micro_yuan = order.price_micro_yuan if amount is None else _amount(amount)
        notice = PaymentNotice(number, transaction, micro_yuan, at_ms)
        try:
            outcome = BusinessOrders(database).take_notice("transfer", notice, COMMAND_LINE)
        except RefusedFactError as error:
            raise UserError(str(error)) from None
    output().print(OUTCOMES[outcome].format(number))
    if outcome not in {"accepted", "repeated"}:
        raise typer.Exit(1)


@GROUP.command("returned")
def returned(
    number: Number,
    *,
    transaction: Annotated[
        str, typer.Option("--transaction", metavar="ID", help="Of the payment that was transferred back.")
    ],
) -> None:
    """Note that a payment of an order was transferred back."""
    with _opened() as database:
        payments = OrderRegister(database).find(number).payments
        payment = next((one for one in payments if one.transaction_id == transaction), None)
        if payment is None or payment.return_state is None:
            raise UserError(
                f"No payment {transaction[:64]!r} of the order {number} is to go back; see: "
                f"phonemeter orders show {number}"
            )
        BusinessOrders(database).note_return(payment.payment_id, "returned", COMMAND_LINE)
    output().print(f"The payment {transaction} of the order {number} is back.")


@contextmanager
def _opened() -> Iterator[BusinessDatabase]:
    with BusinessDatabase(load().business_url) as database:
        try:
            yield database
        except RecordsUnavailableError as error:
            raise OperationError(str(error)) from None


def _print(found: OrderHistory) -> None:
    order = found.order
    output().print(
        f"{order.order_id}: {order.calls:,} calls of {order.capability} for {order.validity_days} days, "
        f"{yuan(order.price_micro_yuan)}, for {order.appid}: {order.state}."
    )
    payments = Table("transaction", "amount", "paid at", "outcome", "return")
    for payment in found.payments:
        payments.add_row(
            payment.transaction_id,
            yuan(payment.amount_micro_yuan),
            to_minute(payment.paid_at_ms),
            payment.outcome,
            payment.return_state or "",
        )
    if found.payments:
        print_table(output(), payments)
    steps = Table("when", "what", "who", "details")
    for step in found.steps:
        steps.add_row(to_minute(step.at_ms), step.what, step.who, step.details)
    print_table(output(), steps)


def _told(order: PackOrder) -> dict[str, Any]:
    return {
        "order_id": order.order_id,
        "appid": order.appid,
        "capability": order.capability,
        "calls": order.calls,
        "validity_days": order.validity_days,
        "price_micro_yuan": order.price_micro_yuan,
        "state": order.state,
        "provider": order.provider,
        "created_at": format_time(order.created_at_ms),
        "paid_at": None if order.paid_at_ms is None else format_time(order.paid_at_ms),
        "pack_id": order.pack_id,
    }


def _told_payment(payment: OrderPayment) -> dict[str, Any]:
    return {
        "transaction_id": payment.transaction_id,
        "provider": payment.provider,
        "amount_micro_yuan": payment.amount_micro_yuan,
        "paid_at": format_time(payment.paid_at_ms),
        "outcome": payment.outcome,
        "return_state": payment.return_state,
    }


def _amount(text: str) -> int:
    """The micro-yuan of an amount that was paid."""
    try:
        micro_yuan = parse_yuan(text)
    except ValueError as error:
        raise UserError(f"{error}.") from None
    if micro_yuan <= 0:
        raise UserError("An amount that was paid is more than nothing.")
    return micro_yuan
