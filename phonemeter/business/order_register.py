"""The orders of all owners, for the command line."""

from collections.abc import Sequence

from sqlalchemy import select

from dashboards.console.orders import OrderFilter, OrderHistory, PackOrder
from phonemeter.business.database import BusinessDatabase
from phonemeter.business.order_rows import find_order, payments_of, steps_of
from phonemeter.business.orders import PAYMENTS_SHOWN, listed_orders
from phonemeter.business.tables import OWNERS, PAYMENTS
from phonemeter.errors import UserError


class OrderRegister:
    """All orders. Blocking; each method raises OperationError if the database does not answer."""

    def __init__(self, database: BusinessDatabase) -> None:
        self._database = database

    def orders(self, chosen: OrderFilter) -> Sequence[tuple[str, PackOrder]]:
        """Orders with the names of their owners, the newest first."""
        with self._database.begin() as connection:
            names = {row.owner_id: row.name for row in connection.execute(select(OWNERS))}
            return [(names[one.owner_id], one) for one in listed_orders(connection, None, chosen)]

    def find(self, order_id: str) -> OrderHistory:
        """An order with its history.

        Raises:
            UserError: there is none.
        """
        with self._database.begin() as connection:
            order = find_order(connection, order_id)
            if order is None:
                raise UserError(
                    f"There is no order {order_id[:32]!r}; list them with: phonemeter orders list"
                )
            payments = payments_of(connection, PAYMENTS.c.order_id == order_id, PAYMENTS_SHOWN)
            return OrderHistory(order, steps_of(connection, order_id), payments)
