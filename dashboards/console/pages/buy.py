"""The page of buying a pack: what is left, what is advised and why, and the packs on sale to choose from."""

import asyncio
import secrets
import time
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, Final, NamedTuple
from urllib.parse import urlencode

from starlette.responses import Response

from dashboards.console.advice_texts import UNIT_PLACES, advice_sentences, effect_sentence
from dashboards.console.errors import RefusedChangeError
from dashboards.console.facts import FactDesk, RefusedFactError
from dashboards.console.languages import marked
from dashboards.console.ledger_reads import LedgerReads
from dashboards.console.order_desk import OrderDesk, order_address
from dashboards.console.orders import OrderKind
from dashboards.console.overview_rows import CAPABILITY_NAMES
from dashboards.console.overviews import Overviews
from dashboards.console.pack_form import (
    MISTAKES,
    PRICE_PATTERN,
    VALIDITIES,
    FieldName,
    PackPurchase,
    read_purchase,
)
from dashboards.console.page_guard import ConsolePage
from dashboards.console.problems import ConsoleProblem
from dashboards.console.visit import Visit
from dashboards.reads.forecast import find_holdings
from dashboards.reads.outlooks import HeldQuota, read_holdings
from dashboards.reads.reference import read_reference_bound
from metering.events import CAPABILITIES, Capability
from metering.forecast import PackForecast, pace_of, project
from metering.pack_advice import Holding, OfferOutlook, PackAdvice, pack_advice
from metering.reference_use import calls_in_words, use_for_reference
from metering.rules import TRIAL_CALLS

PATH: Final = "/buy"

REFUSED: Final[Mapping[str, str]] = {
    "not_there": marked("This pack is not on sale. Choose one of the list."),
    "too_many": marked("There are too many unpaid orders. Pay or cancel some first."),
    "known_fact": marked("A pack with this id is recorded already."),
    "fact": marked("The metering does not accept this purchase. Check what was typed in."),
}
NO_CHOICE: Final = marked("Choose a pack.")

KINDS: Final[Mapping[OrderKind, str]] = {
    "purchase": marked("The app buys it for itself"),
    "assignment": marked("We buy it as an agency and assign it to this app"),
}

NEW_APP: Final = Holding({name: pace_of([], 0) for name in CAPABILITIES}, TRIAL_CALLS, {})
"""The holding of an app without an event: the trial quota comes with the first one."""


class BuyFigures(NamedTuple):
    """The figures that the page shows of one capability of an app.

    Attributes:
        now_ms: as of when.
        held: what is left, and as what the app is registered; None if there is no event of it.
        lapses: the next pack of which calls will lapse, if any.
        advice: on the packs on sale.
        bound: which the average use of a month does not exceed.
    """

    now_ms: int
    held: HeldQuota | None
    lapses: PackForecast | None
    advice: PackAdvice
    bound: int


class BuyPages:
    """The page, and what its forms are sent to.

    Args:
        reads: of the ledger.
        overviews: by which apps have names.
        desk: that creates orders.
        facts: by which a pack bought elsewhere is recorded.
        has_guide: whether there is a guide to buying at WeChat itself.
    """

    def __init__(
        self, reads: LedgerReads, overviews: Overviews, desk: OrderDesk, facts: FactDesk, *, has_guide: bool
    ) -> None:
        self._reads = reads
        self._overviews = overviews
        self._desk = desk
        self._facts = facts
        self._has_guide = has_guide

    @property
    def pages(self) -> Sequence[ConsolePage]:
        """The pages."""
        return [
            ConsolePage(PATH, self._first, title=marked("Buy")),
            ConsolePage(f"{PATH}/{{appid}}", self._show),
            ConsolePage(f"{PATH}/{{appid}}", self._order, "buy", "POST"),
            ConsolePage(f"{PATH}/{{appid}}/record", self._record, "buy", "POST"),
        ]

    async def _first(self, visit: Visit) -> Response:
        """Go to the app that was chosen, or to the one that needs a decision first."""
        if not visit.apps:
            return visit.redirect("/first-run")
        asked = visit.request.query_params
        rows = (await self._overviews.of(visit.apps)).rows
        capability = asked.get("capability", "")
        appid = asked.get("app", "")
        if appid not in visit.apps:
            row = rows[0] if rows else None
            appid = visit.apps[0] if row is None else row.appid
            capability = capability or ("" if row is None else row.capability)
        known = capability if capability in CAPABILITY_NAMES else CAPABILITIES[0]
        return visit.redirect(f"{PATH}/{appid}", capability=known)

    async def _show(self, visit: Visit) -> Response:
        query = visit.request.query_params
        done = query.get("done") == "recorded"
        return await self._page(visit, _capability(query.get("capability", "quick")), is_recorded=done)

    async def _order(self, visit: Visit) -> Response:
        capability = _capability(visit.value("capability"))
        calls, _, days = visit.value("offer").partition("-")
        offer = next(
            (
                one
                for one in self._desk.offers
                if (one.capability, str(one.calls), str(one.validity_days)) == (capability, calls, days)
            ),
            None,
        )
        if offer is None:
            mistake = REFUSED["not_there"] if calls else NO_CHOICE
            return await self._page(visit, capability, visit.wording.text(mistake), status=422)
        appid = visit.request.path_params["appid"]
        try:
            order = await self._desk.create(visit.member, appid, offer, visit.value("once"), _kind(visit))
        except RefusedChangeError as error:
            return await self._page(visit, capability, visit.wording.text(REFUSED[error.reason]), status=409)
        return visit.redirect(order_address(order.order_id))

    async def _record(self, visit: Visit) -> Response:
        appid, capability = visit.request.path_params["appid"], _capability(visit.value("capability"))
        fields: dict[FieldName, str] = {name: visit.value(name) for name in MISTAKES}
        purchase = read_purchase(appid, capability, fields, time.time_ns() // 1_000_000)
        if not isinstance(purchase, PackPurchase):
            told = visit.wording.text(MISTAKES[purchase])
            return await self._page(visit, capability, told, wrong=purchase, status=422)
        try:
            await asyncio.to_thread(
                self._facts.record,
                visit.member.actor,
                [purchase.fact(appid)],
                "pack_recorded",
                f"{appid} {purchase.pack_id}",
            )
        except RefusedFactError:
            told = visit.wording.text(REFUSED["fact"])
            return await self._page(visit, capability, told, wrong="pack_id", status=422)
        except RefusedChangeError as error:
            told = visit.wording.text(REFUSED[error.reason])
            return await self._page(visit, capability, told, wrong="pack_id", status=409)
        return visit.redirect(f"{PATH}/{appid}", capability=capability, done="recorded")

    async def _page(
        self,
        visit: Visit,
        capability: Capability,
        mistake: str = "",
        *,
        wrong: FieldName | None = None,
        is_recorded: bool = False,
        status: int = 200,
    ) -> Response:
        appid = visit.request.path_params["appid"]
        found, names = await asyncio.gather(
            self._figures(appid, capability), self._overviews.names(visit.apps)
        )
        chosen = _chosen(visit, found.advice)
        days = _days(visit, found.advice, chosen)
        values: dict[str, Any] = {
            "advice": found.advice,
            "appid": appid,
            "apps": sorted(((one, names.get(one, one)) for one in visit.apps), key=lambda one: one[1]),
            "capability": capability,
            "capability_names": CAPABILITY_NAMES,
            "cards": _cards(found.advice, days),
            "chosen": chosen,
            "days": days,
            "effect": effect_sentence(found.now_ms, self._desk.billing_start_ms, visit.wording),
            "has_guide": self._has_guide,
            "held": found.held,
            "here_with": partial(address, appid),
            "is_recorded": is_recorded,
            "kind": _kind(visit),
            "kinds": KINDS,
            "lapses": found.lapses,
            "may_buy": visit.member.may("buy"),
            "mistake": mistake,
            "name": names.get(appid, appid),
            "once": secrets.token_hex(16),
            "price_pattern": PRICE_PATTERN,
            "reference": use_for_reference(found.bound, visit.language),
            "sentences": advice_sentences(found.advice, visit.wording, found.now_ms),
            "typed": {name: visit.value(name) for name in MISTAKES},
            "unit_places": UNIT_PLACES,
            "validities": VALIDITIES,
            "words": partial(calls_in_words, language=visit.language),
            "wrong": wrong,
        }
        return visit.page("buy.html", values, status)

    async def _figures(self, appid: str, capability: Capability) -> BuyFigures:
        now_ms = (await self._reads.clock()).now_ms
        holdings, quotas, bound = await asyncio.gather(
            self._reads.read(lambda ask: find_holdings(ask, appid)),
            self._reads.read(lambda ask: read_holdings(ask, (appid,))),
            self._reads.read(lambda ask: read_reference_bound(ask, appid, capability, now_ms)),
        )
        holding = NEW_APP if holdings is None else holdings.by_capability[capability]
        foretold = project(holding.paces, holding.trial, holding.packs, now_ms)[capability]
        lapsing = (pack for pack in foretold.packs if pack.lapsing)
        return BuyFigures(
            now_ms,
            next((one for one in quotas.get(appid, ()) if one.capability == capability), None),
            min(lapsing, key=lambda pack: pack.expires_at_ms, default=None),
            pack_advice(holding, capability, self._desk.offers, now_ms, self._desk.billing_start_ms),
            bound,
        )


def address(appid: str, capability: str, days: int = 0, calls: int = 0) -> str:
    """The address of the page with a validity and a pack chosen."""
    query = {"capability": capability, "days": days, "calls": calls}
    return f"{PATH}/{appid}?{urlencode({name: value for name, value in query.items() if value})}"


def _capability(text: str) -> Capability:
    if text not in CAPABILITIES:
        raise ConsoleProblem("not_found")
    return text


def _kind(visit: Visit) -> OrderKind:
    return "assignment" if visit.value("kind") == "assignment" else "purchase"


def _chosen(visit: Visit, advice: PackAdvice) -> OfferOutlook | None:
    """The pack that is chosen already: by the form that was sent, by the address, or by the advice."""
    asked = visit.request.query_params
    wanted = visit.value("offer") or f"{asked.get('calls', '')}-{asked.get('days', '')}"
    named = (one for one in advice.offers if f"{one.offer.calls}-{one.offer.validity_days}" == wanted)
    return next(named, advice.recommended)


def _days(visit: Visit, advice: PackAdvice, chosen: OfferOutlook | None) -> int:
    """The validity whose packs are shown."""
    asked = visit.request.query_params.get("days", "")
    if visit.request.method == "GET" and asked in map(str, VALIDITIES):
        return int(asked)
    if chosen is not None:
        return chosen.offer.validity_days
    return max((one.offer.validity_days for one in advice.offers), default=VALIDITIES[0])


def _cards(advice: PackAdvice, days: int) -> list[OfferOutlook]:
    """The packs of a validity, the smallest first."""
    shown = [one for one in advice.offers if one.offer.validity_days == days]
    return sorted(shown, key=lambda one: one.offer.calls)
