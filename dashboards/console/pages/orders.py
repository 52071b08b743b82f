"""The list of all orders, and its file."""

import asyncio
import csv
import io
from collections.abc import AsyncIterator, Sequence
from typing import Final

from msgspec.structs import replace
from starlette.responses import Response, StreamingResponse

from dashboards.console.languages import Wording, marked
from dashboards.console.order_desk import PATH, OrderDesk
from dashboards.console.order_question import ORDERS_A_PAGE, STATES, order_question
from dashboards.console.order_texts import STATE_LEVELS, STATE_NAMES
from dashboards.console.orders import OrderFilter, PackOrder
from dashboards.console.overview_rows import CAPABILITY_NAMES
from dashboards.console.page_guard import ConsolePage
from dashboards.console.usage_csv import BYTE_ORDER_MARK
from dashboards.console.visit import Visit
from metering.money import MICRO_YUAN
from metering.times import shanghai_time

EXPORT: Final = f"{PATH}/export.csv"
ROWS_AT_ONCE: Final = 500
ROWS_MAX: Final = 100_000

COLUMNS: Final = (
    marked("Order"),
    marked("App"),
    marked("Capability"),
    marked("Calls"),
    marked("Validity in days"),
    marked("Price in yuan"),
    marked("State"),
    marked("Created"),
    marked("Paid on"),
    marked("Pack"),
    marked("Ordered by"),
)


class OrderListPages:
    """The list."""

    def __init__(self, desk: OrderDesk) -> None:
        self._desk = desk

    @property
    def pages(self) -> Sequence[ConsolePage]:
        """The pages."""
        return [
            ConsolePage(PATH, self._show, title=marked("All orders")),
            ConsolePage(EXPORT, self._file),
        ]

    async def _show(self, visit: Visit) -> Response:
        asked = order_question(visit.request.query_params)
        found = await self._listed(visit, asked.filter)
        values = {
            "asked": asked,
            "capability_names": CAPABILITY_NAMES,
            "export": asked.address(EXPORT, before=""),
            "next": asked.address(PATH, before=found[ORDERS_A_PAGE - 1].order_id)
            if len(found) > ORDERS_A_PAGE
            else "",
            "orders": found[:ORDERS_A_PAGE],
            "path": PATH,
            "state_levels": STATE_LEVELS,
            "state_names": STATE_NAMES,
            "states": STATES,
        }
        return visit.page("orders.html", values)

    async def _file(self, visit: Visit) -> Response:
        """The orders of the list as CSV, all pages of it."""
        chosen = replace(order_question(visit.request.query_params).filter, limit=ROWS_AT_ONCE)
        first = await self._listed(visit, chosen)

        async def parts() -> AsyncIterator[str]:
            yield BYTE_ORDER_MARK + _lines([[visit.wording.text(title) for title in COLUMNS]])
            rows = first
            for _ in range(ROWS_MAX // ROWS_AT_ONCE):
                yield _lines([_cells(order, visit.wording) for order in rows])
                if len(rows) < ROWS_AT_ONCE:
                    return
                rows = await self._listed(visit, replace(chosen, before=rows[-1].order_id))

        return StreamingResponse(
            parts(),
            media_type="text/csv; charset=utf-8",
            headers={"content-disposition": 'attachment; filename="orders.csv"'},
        )

    async def _listed(self, visit: Visit, chosen: OrderFilter) -> Sequence[PackOrder]:
        return await asyncio.to_thread(
            self._desk.orders.list_orders, visit.member.membership.owner_id, chosen
        )


def _cells(order: PackOrder, wording: Wording) -> list[str | int]:
    yuan, rest = divmod(order.price_micro_yuan, MICRO_YUAN)
    return [
        order.order_id,
        order.appid,
        wording.text(CAPABILITY_NAMES[order.capability]),
        order.calls,
        order.validity_days,
        f"{yuan}.{rest // (MICRO_YUAN // 100):02d}",
        wording.text(STATE_NAMES[order.state]),
        shanghai_time(order.created_at_ms),
        "" if order.paid_at_ms is None else shanghai_time(order.paid_at_ms),
        order.pack_id or "",
        order.created_by,
    ]


def _lines(rows: Sequence[Sequence[str | int]]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\r\n").writerows(rows)
    return text.getvalue()
