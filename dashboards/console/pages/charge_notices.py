"""Charge notices (能力收费通知): what an owner is told is previewed and sent, and what was sent is listed."""

import asyncio
import hashlib
import time
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, Final, Literal, NamedTuple

from msgspec import structs
from starlette.responses import Response

from dashboards.console.charge_notice_form import (
    NOTICE_MISTAKES,
    PREVIEW_MS,
    UNIT_PRICE_PATTERN,
    NoticeField,
    NoticePrices,
    is_current,
    notice_fact,
    read_prices,
    usual_fields,
)
from dashboards.console.errors import RefusedChangeError
from dashboards.console.facts import FactDesk, RecordedFact, RefusedFactError
from dashboards.console.languages import LANGUAGES, marked
from dashboards.console.ledger_reads import LedgerReads
from dashboards.console.overview_rows import CAPABILITY_NAMES
from dashboards.console.overviews import Overviews
from dashboards.console.page_guard import ConsolePage
from dashboards.console.problems import ConsoleProblem
from dashboards.console.visit import VALUE_CHARACTERS_MAX, Visit
from dashboards.reads.apps import AppSummary, read_apps
from dashboards.reads.asking import Ask
from dashboards.reads.charge_notices import AskedNotice, read_notices
from dashboards.reads.clock import read_clock
from dashboards.reads.reference import read_reference_bound
from metering.alerts import RECIPIENT
from metering.charge_notices import NoticeTerms, notice_headline, notice_lines
from metering.events import CAPABILITIES, Capability
from metering.money import yuan_text
from metering.printable_text import one_line, shorten
from metering.times import DAY_MS, parse_time

PATH: Final = "/notices"
DEED: Final = "charge_notice_requested"
LISTED_MAX: Final = 100
NOTICES_A_DAY: Final = 5
"""Notices about one app: more than that in a day is no notice but a nuisance."""

REFUSED: Final[Mapping[str, str]] = {
    "too_many": marked("There were five notices about this app within a day. Send the next one tomorrow."),
    "changed": marked("The figures have changed, or the preview is over an hour old. Look at it again."),
    "fact": marked("The metering does not accept this notice."),
    "exempt": marked("The owner is exempt: nothing is charged, and no notice is sent."),
    "migrated": marked("The app has another appid now: send the notice about that one."),
}

DELIVERY_STATES: Final[Mapping[str, str]] = {
    "held": marked("held until quiet hours or the digest end"),
    "waiting": marked("is tried again"),
    "sending": marked("under way"),
    "delivered": marked("delivered"),
    "acknowledged": marked("acknowledged"),
    "dead": marked("given up"),
    "not_sent": marked("not sent: too late"),
}
"""By the state of a delivery, how it is called."""


class NoticeFigures(NamedTuple):
    """The base of a notice about an app: its registration, None without an event; the bound of its use."""

    app: AppSummary | None
    bound: int


class NoticeRow(NamedTuple):
    """A notice as the page lists it; `way` says how far one is that the ledger does not have yet."""

    notice: AskedNotice
    way: Literal["", "waiting", "published"] = ""


class ChargeNoticePages:
    """The pages, and what their form is sent to.

    Args:
        reads: of the ledger.
        overviews: by which apps have names.
        facts: by which a notice is asked for.
        charged_from_ms: the start of billing, which notices tell unless somebody changes it.
    """

    def __init__(
        self, reads: LedgerReads, overviews: Overviews, facts: FactDesk, charged_from_ms: int
    ) -> None:
        self._reads = reads
        self._overviews = overviews
        self._facts = facts
        self._charged_from_ms = charged_from_ms

    @property
    def pages(self) -> Sequence[ConsolePage]:
        """The pages."""
        return [
            ConsolePage(PATH, self._list, "notices", title=marked("Charge notices")),
            ConsolePage(f"{PATH}/{{appid}}", self._show, "notices"),
            ConsolePage(f"{PATH}/{{appid}}", self._send, "notices", "POST"),
        ]

    async def _list(self, visit: Visit) -> Response:
        """The notices that were sent; or to the preview of one about the app that was chosen."""
        asked = visit.request.query_params
        if asked.get("app") in visit.apps:
            capability = _capability(asked.get("capability", "quick"))
            return visit.redirect(f"{PATH}/{asked['app']}", capability=capability)
        sent = asked.get("sent", "")
        is_sent = sent in visit.apps
        notices, names, recorded = await asyncio.gather(
            self._reads.read(lambda ask: read_notices(ask, visit.apps, LISTED_MAX)),
            self._overviews.names(visit.apps),
            self._recorded(visit, sent) if is_sent else _none(),
        )
        values = {
            "apps": sorted(((one, names.get(one, one)) for one in visit.apps), key=lambda one: one[1]),
            "capability_names": CAPABILITY_NAMES,
            "delivery_states": DELIVERY_STATES,
            "listed_max": LISTED_MAX,
            "names": names,
            "price": price_range,
            "recipient": RECIPIENT,
            "rows": [*_on_the_way(recorded, notices), *(NoticeRow(one) for one in notices)],
            "is_cut": len(notices) == LISTED_MAX,
            "is_sent": is_sent,
        }
        return visit.page("charge_notices.html", values)

    async def _show(self, visit: Visit) -> Response:
        query = visit.request.query_params
        capability = _capability(query.get("capability", "quick"))
        usual = usual_fields(capability, self._charged_from_ms)
        fields: dict[NoticeField, str] = {
            name: query.get(name, told)[:VALUE_CHARACTERS_MAX].strip() for name, told in usual.items()
        }
        return await self._page(visit, capability, fields)

    async def _send(self, visit: Visit) -> Response:
        capability = _capability(visit.value("capability"))
        fields: dict[NoticeField, str] = {name: visit.value(name) for name in NOTICE_MISTAKES}
        prices = read_prices(fields)
        if not isinstance(prices, NoticePrices):
            return await self._page(visit, capability, fields, status=422)
        appid, previewed = visit.request.path_params["appid"], visit.value("previewed_at_ms")
        found = await self._reads.read(partial(_figures, appid=appid, capability=capability))
        terms = prices.terms(found.bound, _name(found))
        refusal = _objection(found)
        if not refusal and (visit.value("told") != _told(terms) or not is_current(previewed, _now_ms())):
            refusal = "changed"
        if not refusal and _today(await self._recorded(visit, appid), int(previewed)) >= NOTICES_A_DAY:
            refusal = "too_many"
        if refusal:
            return await self._page(visit, capability, fields, REFUSED[refusal], 409)
        try:
            await asyncio.to_thread(
                self._facts.record,
                visit.member.actor,
                [notice_fact(appid, capability, terms, int(previewed))],
                DEED,
                appid,
            )
        except RefusedFactError:
            return await self._page(visit, capability, fields, REFUSED["fact"], 422)
        except RefusedChangeError as error:
            if error.reason != "known_fact":
                raise ConsoleProblem("not_found") from error
            # A second click on the same preview: the notice is on its way already.
        return visit.redirect(PATH, sent=appid)

    async def _page(
        self,
        visit: Visit,
        capability: Capability,
        fields: Mapping[NoticeField, str],
        mistake: str = "",
        status: int = 200,
    ) -> Response:
        appid = visit.request.path_params["appid"]
        found, names = await asyncio.gather(
            self._reads.read(partial(_figures, appid=appid, capability=capability)),
            self._overviews.names(visit.apps),
        )
        prices = read_prices(fields)
        terms = prices.terms(found.bound, _name(found)) if isinstance(prices, NoticePrices) else None
        wrong = None if isinstance(prices, NoticePrices) else prices
        objection = _objection(found)
        values: dict[str, Any] = {
            "appid": appid,
            "capability": capability,
            "capability_names": CAPABILITY_NAMES,
            "fields": fields,
            "languages_of_texts": LANGUAGES,
            "minutes": PREVIEW_MS // 60_000,
            "mistake": mistake or (NOTICE_MISTAKES[wrong] if wrong else ""),
            "name": names.get(appid, appid),
            "objection": REFUSED[objection] if objection else "",
            "previewed_at_ms": _now_ms(),
            "texts": {} if terms is None else _texts(terms, appid, capability),
            "told": "" if terms is None else _told(terms),
            "unit_price_pattern": UNIT_PRICE_PATTERN,
            "wrong": wrong,
        }
        return visit.page("charge_notice.html", values, 422 if wrong else status)

    async def _recorded(self, visit: Visit, appid: str) -> Sequence[RecordedFact]:
        owner_id = visit.member.membership.owner_id
        return await asyncio.to_thread(self._facts.newest, owner_id, appid, "account.charge_notice_requested")


async def _none() -> Sequence[RecordedFact]:
    return ()


def _figures(ask: Ask, appid: str, capability: Capability) -> NoticeFigures:
    return NoticeFigures(
        next(iter(read_apps(ask, (appid,), search="", after="", most=1)), None),
        read_reference_bound(ask, appid, capability, read_clock(ask).now_ms),
    )


def _name(found: NoticeFigures) -> str:
    return "" if found.app is None else found.app.name


def _objection(found: NoticeFigures) -> str:
    """The reason why no notice is sent about an app; empty if there is none."""
    if found.app is None:
        return ""
    return "exempt" if found.app.exempt else "migrated" if found.app.migrated_to else ""


def _told(terms: NoticeTerms) -> str:
    """The digest of what the preview rests on and nobody types in: it is sent along and compared."""
    return hashlib.sha256(f"{terms.monthly_calls_max} {terms.name}".encode()).hexdigest()


def _texts(terms: NoticeTerms, appid: str, capability: Capability) -> dict[str, str]:
    """By language, the message as the notifier sends it."""
    terms = structs.replace(terms, name=one_line(shorten(terms.name)))
    return {
        language: "\n".join(
            (notice_headline(terms, appid, capability, language), *notice_lines(terms, capability, language))
        )
        for language in LANGUAGES
    }


def price_range(terms: NoticeTerms) -> str:
    """The price of a call, in yuan."""
    prices = dict.fromkeys((terms.price_min_micro_yuan, terms.price_max_micro_yuan))
    return "–".join(f"¥{yuan_text(one)}" for one in prices)


def _on_the_way(recorded: Sequence[RecordedFact], notices: Sequence[AskedNotice]) -> list[NoticeRow]:
    """The notices that the ledger does not have yet."""
    known = {(one.appid, one.capability, one.time_ms) for one in notices}
    oldest_ms = min((one.time_ms for one in notices), default=0) if len(notices) == LISTED_MAX else 0
    rows = [
        NoticeRow(_recorded_notice(one), "published" if one.is_published else "waiting") for one in recorded
    ]
    return [
        row
        for row in rows
        if (row.notice.appid, row.notice.capability, row.notice.time_ms) not in known
        and row.notice.time_ms >= oldest_ms
    ]


def _recorded_notice(recorded: RecordedFact) -> AskedNotice:
    data, charged_from = recorded.fact.data, recorded.fact.data["charged_from"]
    terms = NoticeTerms(
        data["monthly_calls_max"],
        data["price_min_micro_yuan"],
        data["price_max_micro_yuan"],
        parse_time(charged_from),
        data.get("name", ""),
    )
    return AskedNotice("", recorded.fact.time_ms or 0, recorded.fact.appid, data["capability"], "", terms)


def _today(recorded: Sequence[RecordedFact], at_ms: int) -> int:
    """The notices of the day before a preview, without that of this preview itself."""
    return sum(at_ms - DAY_MS < (one.fact.time_ms or 0) and one.fact.time_ms != at_ms for one in recorded)


def _capability(text: str) -> Capability:
    if text not in CAPABILITIES:
        raise ConsoleProblem("not_found")
    return text


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
