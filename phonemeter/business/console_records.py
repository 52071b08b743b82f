"""The stores that the console works on."""

from collections.abc import Sequence
from typing import Final

from dashboards.console.order_desk import OrderDesk
from dashboards.console.payments import PaymentProvider
from dashboards.console.plain_payments import BankTransfer, TestPayments
from dashboards.console.service import Records
from phonemeter.business.console_keys import OwnerKeys
from phonemeter.business.database import BusinessDatabase
from phonemeter.business.fact_desk import BusinessFacts
from phonemeter.business.guide import BusinessGuide
from phonemeter.business.invoice_titles import BusinessTitles
from phonemeter.business.invoices import BusinessInvoices
from phonemeter.business.keys import KeyStore
from phonemeter.business.members import BusinessMembers
from phonemeter.business.orders import BusinessOrders
from phonemeter.business.price_list import price_list
from phonemeter.business.sessions import BusinessSessions
from phonemeter.errors import UserError
from phonemeter.settings import Settings

LOOPBACK: Final = "127.0.0.1"


def console_records(
    database: BusinessDatabase, settings: Settings, providers: Sequence[PaymentProvider] = ()
) -> Records:
    """The stores on the business database; `providers` are further ways to pay."""
    billing_start_ms = settings.rules().billing_start_ms
    return Records(
        BusinessSessions(database, settings.console_idle_min, settings.console_session_h),
        BusinessMembers(database),
        OwnerKeys(KeyStore(database)),
        BusinessFacts(database),
        OrderDesk(
            BusinessOrders(database),
            [*providers, *payment_providers(settings)],
            price_list(settings.console_price_list),
            billing_start_ms,
        ),
        BusinessGuide(database),
        BusinessInvoices(database),
        BusinessTitles(database),
    )


def payment_providers(settings: Settings) -> list[PaymentProvider]:
    """The ways to pay that are set up.

    Raises:
        UserError: others than this machine could pay for trying out.
    """
    providers: list[PaymentProvider] = []
    if settings.console_transfer:
        providers.append(BankTransfer(settings.console_transfer))
    if settings.console_test_payments:
        if settings.console_host != LOOPBACK:
            raise UserError(
                f"console_test_payments lets everyone who reaches {settings.console_host} have packs for "
                f"nothing; turn it off, or set console_host to {LOOPBACK}."
            )
        providers.append(TestPayments())
    return providers
