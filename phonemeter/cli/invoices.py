"""`phonemeter invoices`: the invoices that owners have applied for, and the decisions about them."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Final

import typer

from dashboards.console.errors import RecordsUnavailableError, RefusedChangeError
from dashboards.console.invoices import INVOICE_STATES, ListedInvoice, is_reason
from dashboards.console.members import Actor
from metering.printable_text import one_line
from metering.times import format_time
from phonemeter.business.audit_trail import COMMAND_LINE
from phonemeter.business.database import BusinessDatabase
from phonemeter.business.invoices import BusinessInvoices
from phonemeter.business.owners import OwnerStore
from phonemeter.errors import OperationError, UserError
from phonemeter.formats import to_minute, yuan
from phonemeter.settings import load
from phonemeter.tables import print_table
from phonemeter.terminal import Table, output, print_json

LISTED_MAX: Final = 1_000
SENTENCES: Final = {
    "not_there": "There is no such invoice; list them with: phonemeter invoices list",
    "wrong_state": "The invoice is in another state; look at: phonemeter invoices list",
    "order_refunded": "The money of one of its orders goes back, or has gone back; refuse it with: "
    "phonemeter invoices refuse",
}

GROUP = typer.Typer(
    name="invoices",
    help="Invoices that owners have applied for in the console: list, issue, refuse, void.",
    no_args_is_help=True,
)

Number = Annotated[str, typer.Argument(metavar="INVOICE", help="The number of the invoice.")]
Reason = Annotated[str, typer.Option("--reason", help="What the owner reads as the reason.")]


@GROUP.command("list")
def list_invoices(
    *,
    state: Annotated[
        str, typer.Option("--state", metavar="STATE", help=f"{', '.join(INVOICE_STATES)}. Default: all.")
    ] = "",
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """List the invoices of all owners, the newest first, at most 1,000."""
    chosen = next((one for one in INVOICE_STATES if one == state), None)
    if state and chosen is None:
        raise UserError(f"{state[:64]!r} is no state; there are {', '.join(INVOICE_STATES)}.")
    with BusinessDatabase(load().business_url) as database:
        names = {one.owner_id: one.name for one in OwnerStore(database).every_owner()}
        with _told():
            invoices = BusinessInvoices(database).in_state(chosen, LISTED_MAX)
    if as_json:
        print_json({"invoices": [_object(one, names[one.owner_id]) for one in invoices]})
        return
    table = Table("invoice", "owner", "title", "yuan", "orders", "applied", "state")
    for one in invoices:
        table.add_row(
            one.invoice_id,
            one_line(names[one.owner_id]),
            one_line(one.title.name),
            yuan(one.amount_micro_yuan),
            f"{one.orders:,}",
            to_minute(one.applied.at_ms),
            "issued, to be voided" if one.must_be_voided else one.state,
        )
    print_table(output(), table)


@GROUP.command("issue")
def issue(number: Number) -> None:
    """Issue an invoice that was applied for."""
    with _found(number) as (invoices, actor):
        invoices.issue(actor, number)
    output().print(f"{number} is issued.")


@GROUP.command("refuse")
def refuse(number: Number, *, reason: Reason) -> None:
    """Refuse an application; its orders can be applied for again."""
    _check(reason)
    with _found(number) as (invoices, actor):
        invoices.refuse(actor, number, reason.strip())
    output().print(f"{number} is refused.")


@GROUP.command("void")
def void(number: Number, *, reason: Reason) -> None:
    """Void an issued invoice, as after a refund; orders that are not refunded can be applied for again."""
    _check(reason)
    with _found(number) as (invoices, actor):
        invoices.void(actor, number, reason.strip())
    output().print(f"{number} is voided.")


def _check(reason: str) -> None:
    if not is_reason(reason.strip()):
        raise UserError("The reason has 1 to 200 printable characters, and no phone number and no openid.")


@contextmanager
def _found(number: str) -> Iterator[tuple[BusinessInvoices, Actor]]:
    """The invoices, and the command line as one who changes that of a number."""
    with BusinessDatabase(load().business_url) as database, _told():
        invoices = BusinessInvoices(database)
        owner_id = invoices.owner_of(number)
        if owner_id is None:
            raise RefusedChangeError("not_there")
        yield invoices, Actor(COMMAND_LINE, owner_id)


@contextmanager
def _told() -> Iterator[None]:
    """Errors of the store as those of the command line."""
    try:
        yield
    except RefusedChangeError as error:
        raise UserError(SENTENCES[error.reason]) from None
    except RecordsUnavailableError as error:
        raise OperationError(str(error)) from None


def _object(invoice: ListedInvoice, owner: str) -> dict[str, object]:
    return {
        "invoice": invoice.invoice_id,
        "owner": owner,
        "kind": invoice.title.kind,
        "title": invoice.title.name,
        "tax_number": invoice.title.tax_number or None,
        "month": invoice.month or None,
        "amount_micro_yuan": invoice.amount_micro_yuan,
        "orders": invoice.orders,
        "refunded_orders": invoice.refunded,
        "state": invoice.state,
        "must_be_voided": invoice.must_be_voided,
        "applied_at": format_time(invoice.applied.at_ms),
        "applied_by": invoice.applied.who,
    }
