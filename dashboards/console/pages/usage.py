"""The page of one capability of an app: what is left, curve, places, packs, and what was not covered."""

import asyncio
from datetime import timedelta
from functools import partial
from operator import itemgetter
from typing import Any, Final
from urllib.parse import urlencode

from starlette.responses import Response, StreamingResponse

from dashboards.console.app_figures import read_app_figures
from dashboards.console.ledger_reads import LedgerReads
from dashboards.console.live_streams import LiveContent, LiveStreams
from dashboards.console.overview_rows import CAPABILITY_NAMES
from dashboards.console.overviews import Overviews
from dashboards.console.problems import ConsoleProblem
from dashboards.console.quotas import STATUS_NAMES
from dashboards.console.refusal_texts import refusal_text
from dashboards.console.usage_csv import usage_csv
from dashboards.console.usage_curve import read_curve_rows, usage_curve
from dashboards.console.usage_window import WINDOWS, WindowChoice, chosen_window, window_of
from dashboards.console.visit import Visit
from dashboards.reads.clock import read_clock
from dashboards.reads.line_counts import read_line_counts
from dashboards.reads.places import PlacesQuestion, read_places
from dashboards.reads.refusals import read_refusals
from dashboards.reads.usage import Grouping, UsageQuestion

PATH: Final = "/usage"
PLACES_SHOWN: Final = 20
ENDED_PACKS_SHOWN: Final = 50
GROUPINGS: Final[tuple[Grouping, ...]] = ("scene", "store", "scene,store")


def address(appid: str, capability: str, window: WindowChoice, file: str = "", **query: str) -> str:
    """The address of the page, or of its file."""
    told = urlencode({"capability": capability, "window": window.name, **query})
    return f"{PATH}/{appid}{file}?{told}"


class AppUsagePage:
    """The usage of an app.

    Args:
        reads: for a visitor who waits.
        background: for pages that are open.
        overviews: by which apps have names.
        streams: of what has changed.
    """

    def __init__(
        self, reads: LedgerReads, background: LedgerReads, overviews: Overviews, streams: LiveStreams
    ) -> None:
        self._reads = reads
        self._background = background
        self._overviews = overviews
        self._streams = streams

    async def first(self, visit: Visit) -> Response:
        """Go to the app that was chosen, or to the one that needs a decision first."""
        if not visit.apps:
            return visit.redirect("/first-run")
        rows = (await self._overviews.of(visit.apps)).rows
        asked = visit.request.query_params
        appid = asked.get("app", "")
        row = next((row for row in rows if row.appid == appid), rows[0] if rows else None)
        if row is None:
            return visit.redirect("/first-run")
        return visit.redirect(address(row.appid, row.capability, chosen_window(asked.get("window", ""))))

    async def show(self, visit: Visit) -> Response:
        """The page."""
        return visit.page("usage.html", await self._values(visit, self._reads))

    async def live(self, visit: Visit) -> Response:
        """The stream of the same content."""
        appid, _, _ = _asked(visit)

        async def content(_lines: int) -> LiveContent:
            values = await self._values(visit, self._background)
            return LiveContent(visit.content("usage.html", values), values["lines"])

        return self._streams.answer(visit, (appid,), content)

    async def _values(self, visit: Visit, reads: LedgerReads) -> dict[str, Any]:
        appid, capability, choice = _asked(visit)
        # Before the figures: what arrives in between is sent once more.
        lines, clock = await reads.read(lambda ask: (read_line_counts(ask, (appid,)), read_clock(ask)))
        window = window_of(choice, clock.now_ms)
        question = PlacesQuestion(appid, capability, window.before, window.first, window.end)
        differences = self._overviews.differences(visit.apps, appid)
        names, figures, used, places, refusals = await asyncio.gather(
            self._overviews.names(visit.apps),
            read_app_figures(reads, clock, appid, capability, differences),
            reads.read(lambda ask: read_curve_rows(ask, appid, capability, window)),
            reads.read(lambda ask: read_places(ask, question, PLACES_SHOWN + 1)),
            reads.read(lambda ask: read_refusals(ask, appid, capability, window.first, window.end)),
        )
        curve = usage_curve(window, used, figures.expected.calls)
        here = partial(address, appid)
        return {
            "appid": appid,
            "apps": sorted(((one, names.get(one, one)) for one in visit.apps), key=itemgetter(1)),
            "capability": capability,
            "capability_names": CAPABILITY_NAMES,
            "choice": choice,
            "curve": curve,
            "files": [(by, here(capability, choice, "/calls.csv", by=by)) for by in ("", *GROUPINGS)],
            "here_with": here,
            "last_day": window.end - timedelta(days=1),
            "lines": lines.get(appid, 0),
            "live_address": here(capability, choice, "/live", lines=str(lines.get(appid, 0))),
            "name": names.get(appid, appid),
            "places": {place: found[:PLACES_SHOWN] for place, found in places.items()},
            "places_cut": {place: len(found) > PLACES_SHOWN for place, found in places.items()},
            "quota": figures.quota,
            "refusals": [(refusal, refusal_text(refusal)) for refusal in refusals],
            "run_out_at_ms": figures.expected.run_out_at_ms,
            "row": figures.row,
            "status_names": STATUS_NAMES,
            "ended_shown": ENDED_PACKS_SHOWN,
            "window": window,
            "windows": WINDOWS,
        }

    async def file(self, visit: Visit) -> Response:
        """The use in the window as CSV: in all, by scene, by store or by both."""
        appid, capability, choice = _asked(visit)
        window = window_of(choice, (await self._reads.clock()).now_ms)
        by = visit.request.query_params.get("by", "")
        group = next((one for one in GROUPINGS if one == by), None)
        question = UsageQuestion(window.period, window.first, window.end, group, capability)
        parts = await usage_csv(self._reads, appid, question, visit.wording)
        name = f"{appid}-{capability}-{window.first}-{choice.name}.csv"
        return StreamingResponse(
            parts,
            media_type="text/csv; charset=utf-8",
            headers={"content-disposition": f'attachment; filename="{name}"'},
        )


def _asked(visit: Visit) -> tuple[str, str, WindowChoice]:
    query = visit.request.query_params
    capability = query.get("capability", "quick")
    if capability not in CAPABILITY_NAMES:
        raise ConsoleProblem("not_found")
    return visit.request.path_params["appid"], capability, chosen_window(query.get("window", ""))
