"""The page of all apps of an owner, what needs a decision today first."""

from typing import Any, Final, NamedTuple
from urllib.parse import urlencode

from starlette.responses import Response

from dashboards.console.live_streams import LiveContent, LiveStreams
from dashboards.console.overview_facts import Overview
from dashboards.console.overview_rows import (
    CAPABILITY_NAMES,
    RECENT_DAYS,
    SORT_KEYS,
    OverviewRow,
    SortKey,
    matching_rows,
    sorted_rows,
)
from dashboards.console.overviews import Overviews
from dashboards.console.sparkline import sparkline
from dashboards.console.visit import Visit

PATH: Final = "/overview"
LIVE_PATH: Final = f"{PATH}/live"
ROWS_A_PAGE: Final = 50
SEARCH_CHARACTERS_MAX: Final = 100
DESCENDING_FIRST: Final = frozenset({"used"})


class OverviewQuestion(NamedTuple):
    """A question to the overview: a search, an order, a page of the list."""

    search: str
    sort: SortKey
    descending: bool
    page: int

    def address(self, path: str = PATH, lines: int | None = None, **changes: object) -> str:
        """The address of the page with something asked differently; that of its stream behind some lines."""
        asked = self._replace(**changes)  # type: ignore[arg-type] # fields of this very type
        query = {
            "search": asked.search,
            "sort": "" if asked.sort == "today" else asked.sort,
            "order": "descending" if asked.descending else "",
            "page": "" if asked.page == 1 else asked.page,
            "lines": "" if lines is None else str(lines),
        }
        told = urlencode({name: value for name, value in query.items() if value})
        return f"{path}?{told}" if told else path

    def sorted_by(self, key: SortKey) -> str:
        """The address of the page by a column; by the same column, in the other direction."""
        descending = not self.descending if self.sort == key else key in DESCENDING_FIRST
        return self.address(sort=key, descending=descending, page=1)

    def direction(self, key: SortKey) -> str:
        """The direction by a column, as ARIA calls it."""
        if self.sort != key:
            return "none"
        return "descending" if self.descending else "ascending"


class OverviewPage:
    """The overview."""

    def __init__(self, overviews: Overviews, streams: LiveStreams) -> None:
        self._overviews = overviews
        self._streams = streams

    async def show(self, visit: Visit) -> Response:
        """The page, searched and sorted as asked."""
        if not visit.apps:
            return visit.redirect("/first-run")
        overview = await self._overviews.of(visit.apps)
        if not overview.rows:
            return visit.redirect("/first-run")
        return visit.page("overview.html", _values(visit, overview))

    async def live(self, visit: Visit) -> Response:
        """The stream of the same content."""

        async def content(lines: int) -> LiveContent:
            overview = await self._overviews.newest(visit.apps, lines)
            text = visit.content("overview.html", _values(visit, overview)) if overview.rows else ""
            return LiveContent(text, overview.lines)

        return self._streams.answer(visit, visit.apps, content)


def _values(visit: Visit, overview: Overview) -> dict[str, Any]:
    """The part of an overview that the page shows, searched and sorted as asked."""
    asked = _asked(visit)
    found = sorted_rows(matching_rows(overview.rows, asked.search), asked.sort, descending=asked.descending)
    pages = max(1, -(-len(found) // ROWS_A_PAGE))
    asked = asked._replace(page=min(asked.page, pages))
    begin = (asked.page - 1) * ROWS_A_PAGE
    return {
        "asked": asked,
        "as_of_ms": overview.as_of_ms,
        "capability_names": CAPABILITY_NAMES,
        "days": RECENT_DAYS,
        "found": len(found),
        "live_address": asked.address(LIVE_PATH, overview.lines),
        "pages": pages,
        "rows": found[begin : begin + ROWS_A_PAGE],
        "sparkline": sparkline,
        **_totals(overview.rows),
    }


def _totals(rows: list[OverviewRow]) -> dict[str, int]:
    return {
        "apps": len({row.appid for row in rows}),
        "urgent": len({row.appid for row in rows if row.decision.level == "danger"}),
        "soon": len({row.appid for row in rows if row.decision.level == "warn"}),
        "used": sum(row.used for row in rows),
        "lapsing": sum(row.lapsing for row in rows),
    }


def _asked(visit: Visit) -> OverviewQuestion:
    query = visit.request.query_params
    page = query.get("page", "")
    return OverviewQuestion(
        query.get("search", "").strip()[:SEARCH_CHARACTERS_MAX],
        next((key for key in SORT_KEYS if key == query.get("sort")), "today"),
        query.get("order") == "descending",
        int(page) if page.isdecimal() and page.isascii() and 0 < len(page) < 5 and int(page) else 1,  # noqa: PLR2004
    )
