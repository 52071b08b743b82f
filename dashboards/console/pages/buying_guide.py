"""The page of the guide to buying at WeChat itself: a checklist that remembers where members stopped."""

import asyncio
from collections.abc import Sequence
from typing import Final

from starlette.responses import Response

from dashboards.console.buying_guide import GUIDE_STEPS, STEP_NAMES, GuideStore, next_step
from dashboards.console.overviews import Overviews
from dashboards.console.page_guard import ConsolePage
from dashboards.console.problems import ConsoleProblem
from dashboards.console.visit import Visit

PATH: Final = "/buy/{appid}/guide"
BEGIN_AGAIN: Final = "begin_again"


class GuidePages:
    """The page, and what its buttons are sent to."""

    def __init__(self, overviews: Overviews, guide: GuideStore) -> None:
        self._overviews = overviews
        self._guide = guide

    @property
    def pages(self) -> Sequence[ConsolePage]:
        """The pages; the page of buying leads here."""
        return [ConsolePage(PATH, self._show), ConsolePage(PATH, self._change, "buy", "POST")]

    async def _show(self, visit: Visit) -> Response:
        appid = visit.request.path_params["appid"]
        owner_id = visit.member.membership.owner_id
        names, ticks = await asyncio.gather(
            self._overviews.names(visit.apps), asyncio.to_thread(self._guide.ticks, owner_id, appid)
        )
        values = {
            "appid": appid,
            "begin_again": BEGIN_AGAIN,
            "may_buy": visit.member.may("buy"),
            "name": names.get(appid, appid),
            "next_step": next_step(ticks),
            "steps": GUIDE_STEPS,
            "ticks": ticks,
        }
        return visit.page("buying_guide.html", values)

    async def _change(self, visit: Visit) -> Response:
        appid, actor = visit.request.path_params["appid"], visit.member.actor
        done, undone = visit.value("done"), visit.value("undone")
        if done in STEP_NAMES:
            await asyncio.to_thread(self._guide.tick, actor, appid, done)
            following = STEP_NAMES.index(done) + 1
            at = STEP_NAMES[min(following, len(STEP_NAMES) - 1)]
        elif undone in STEP_NAMES:
            await asyncio.to_thread(self._guide.untick, actor, appid, undone)
            at = undone
        elif undone == BEGIN_AGAIN:
            await asyncio.to_thread(self._guide.begin_again, actor, appid)
            at = STEP_NAMES[0]
        else:
            raise ConsoleProblem("form_refused")
        return visit.redirect(f"/buy/{appid}/guide#step-{at}")
