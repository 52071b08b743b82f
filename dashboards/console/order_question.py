"""The question to the list of orders: states, search and the place of the page, as its address has them."""

from typing import Final, NamedTuple, get_args
from urllib.parse import urlencode

from starlette.datastructures import QueryParams

from dashboards.console.orders import OrderFilter, OrderState

ORDERS_A_PAGE: Final = 20
SEARCH_CHARACTERS_MAX: Final = 100
NUMBER_CHARACTERS_MAX: Final = 21

STATES: Final[tuple[OrderState, ...]] = get_args(OrderState)


class OrderQuestion(NamedTuple):
    """A question to the list: a state or all, a search, and the number behind which the page begins."""

    state: OrderState | None
    search: str
    before: str

    @property
    def filter(self) -> OrderFilter:
        """The orders of the page, and one more that tells whether there is a next one."""
        states = () if self.state is None else (self.state,)
        return OrderFilter(states, self.search, self.before, ORDERS_A_PAGE + 1)

    def address(self, path: str, **changes: object) -> str:
        """The address of a page with something asked differently."""
        asked = self._replace(**changes)  # type: ignore[arg-type] # fields of this very type
        told = urlencode({name: value for name, value in asked._asdict().items() if value})
        return f"{path}?{told}" if told else path


def order_question(query: QueryParams) -> OrderQuestion:
    """The question of an address; what is not understood is left out."""
    state = next((one for one in STATES if one == query.get("state", "")), None)
    search = query.get("search", "").strip()[:SEARCH_CHARACTERS_MAX]
    return OrderQuestion(state, search, query.get("before", "")[:NUMBER_CHARACTERS_MAX])
