"""The alerts of an owner's apps: what stands, what has ended, where they went, and who takes care."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple
from urllib.parse import urlencode

from starlette.responses import Response

from dashboards.console.alert_desk import AlertAcknowledgement, AlertDesk
from dashboards.console.errors import RefusedChangeError
from dashboards.console.languages import marked
from dashboards.console.overview_rows import CAPABILITY_NAMES
from dashboards.console.page_guard import ConsolePage
from dashboards.console.problems import ConsoleProblem
from dashboards.console.recipients import KIND_TITLES, RecipientDesk, RecipientSettings
from dashboards.console.setting_work import SettingWork
from dashboards.console.visit import VALUE_CHARACTERS_MAX, Visit
from dashboards.http.cursors import read_cursor, write_cursor
from dashboards.http.errors import WrongParameterError
from dashboards.reads.app_names import NamedApp
from dashboards.reads.owner_alerts import (
    BEFORE_ALL,
    AlertPlace,
    OwnerAlert,
    is_alert_of,
    read_owner_alerts,
)
from metering.alert_sentences import sentence_of
from metering.alert_severity import severity_of

PATH: Final = "/alerts"
ROWS_A_PAGE: Final = 50
ALERT_CHARACTERS_MAX: Final = 64

REASON_TITLES: Final[Mapping[str, str]] = {
    "level": marked("Low balance"),
    "expiry": marked("Expiry"),
    "run_out": marked("Runs out"),
    "uncovered": marked("Calls without quota"),
    "refused": marked("WeChat refuses"),
    "minute_burn": marked("Unusual minute"),
    "client_burn": marked("Unusual user"),
    "charge_notice": marked("Charge notice"),
}
STATE_TITLES: Final[Mapping[str, str]] = {"open": marked("stands"), "ended": marked("ended")}
SEVERITY_TITLES: Final[Mapping[str, str]] = {
    "urgent": marked("Urgent"),
    "warning": marked("Warning"),
    "info": marked("Recovered"),
}
SEVERITY_LEVELS: Final[Mapping[str, str]] = {"urgent": "danger", "warning": "warn", "info": "good"}
DELIVERY_TITLES: Final[Mapping[str, str]] = {
    "held": marked("held"),
    "waiting": marked("waits"),
    "sending": marked("under way"),
    "delivered": marked("delivered"),
    "dead": marked("not delivered"),
    "acknowledged": marked("ended"),
    "not_sent": marked("not sent"),
}
CHANNEL_TITLES: Final[Mapping[str, str]] = {
    "webhook": marked("Webhook"),
    "wecom": marked("WeCom"),
    "dingtalk": marked("DingTalk"),
    "feishu": marked("Feishu"),
    "slack": "Slack",
    "email": marked("E-mail"),
}


class AlertQuestion(NamedTuple):
    """A question to the list: of which app, what and in which state; empty for all."""

    app: str = ""
    reason: str = ""
    state: str = ""

    def address(self, **more: str) -> str:
        """The address of the list, from a place on if a cursor is given."""
        told = urlencode({name: value for name, value in {**self._asdict(), **more}.items() if value})
        return f"{PATH}?{told}" if told else PATH


class ListedAlert(NamedTuple):
    """An alert as the page has it."""

    told: OwnerAlert
    app: NamedApp
    severity: str
    sentence: str
    acknowledgement: AlertAcknowledgement | None


class AlertPages:
    """The list, and what its forms are sent to."""

    def __init__(self, work: SettingWork, desk: AlertDesk, recipients: RecipientDesk | None) -> None:
        self._work = work
        self._desk = desk
        self._recipients = recipients

    @property
    def pages(self) -> list[ConsolePage]:
        """The pages."""
        return [
            ConsolePage(PATH, self._show, title=marked("Alerts")),
            ConsolePage(f"{PATH}/acknowledge", self._acknowledge, "settings", "POST"),
        ]

    async def _show(self, visit: Visit) -> Response:
        if not visit.apps:
            return visit.redirect("/first-run")
        asked, place = _asked(visit)
        chosen = (asked.app,) if asked.app else visit.apps
        apps, found, routes, settings = await asyncio.gather(
            self._work.apps(visit),
            self._work.reads.read(
                lambda ask: read_owner_alerts(
                    ask, chosen, reason=asked.reason, state=asked.state, before=place, most=ROWS_A_PAGE + 1
                )
            ),
            asyncio.to_thread(self._desk.routes, visit.apps),
            self._recipient_settings(visit),
        )
        shown = found[:ROWS_A_PAGE]
        here = await asyncio.to_thread(self._desk.acknowledgements, [one.alert.id for one in shown])
        more = write_cursor(_scope(visit, asked), shown[-1].place) if len(found) > ROWS_A_PAGE else ""
        values: dict[str, Any] = {
            "alerts": [_listed(one, apps, here, visit) for one in shown],
            "apps": apps,
            "asked": asked,
            "capability_names": CAPABILITY_NAMES,
            "channel_titles": CHANNEL_TITLES,
            "delivery_titles": DELIVERY_TITLES,
            "is_first": place == BEFORE_ALL,
            "may_change": visit.member.may("settings"),
            "may_set": visit.member.may("settings") and self._recipients is not None,
            "kind_titles": KIND_TITLES,
            "older": asked.address(cursor=more) if more else "",
            "path": PATH,
            "reason_titles": REASON_TITLES,
            "routes": routes,
            "severity_levels": SEVERITY_LEVELS,
            "severity_titles": SEVERITY_TITLES,
            "state_titles": STATE_TITLES,
            "route_names": {one.route: one.text.name for one in settings.recipients},
            "settings": settings,
        }
        return visit.page("alerts.html", values)

    async def _recipient_settings(self, visit: Visit) -> RecipientSettings:
        if self._recipients is None:
            return RecipientSettings()
        return await asyncio.to_thread(self._recipients.settings_of, visit.member.membership.owner_id)

    async def _acknowledge(self, visit: Visit) -> Response:
        appid, alert_id = visit.value("app"), visit.value("alert")[:ALERT_CHARACTERS_MAX]
        if appid not in visit.apps:
            raise ConsoleProblem("not_found")
        if not await self._work.reads.read(lambda ask: is_alert_of(ask, (appid,), alert_id)):
            raise ConsoleProblem("not_found")
        try:
            await asyncio.to_thread(self._desk.acknowledge, visit.member.actor, appid, alert_id)
        except RefusedChangeError:
            raise ConsoleProblem("not_found") from None
        # The filters of the list from which it was sent are kept.
        return visit.redirect(PATH, **{name: value for name, value in _asked_in_form(visit).items() if value})


def _listed(
    one: OwnerAlert, apps: Sequence[NamedApp], here: Mapping[str, AlertAcknowledgement], visit: Visit
) -> ListedAlert:
    appid = one.alert.appid
    acknowledgement = here.get(one.alert.id)
    if acknowledgement is None and one.acknowledged_by:
        acknowledgement = AlertAcknowledgement(one.acknowledged_by, one.acknowledged_at_ms or 0)
    return ListedAlert(
        one,
        next((app for app in apps if app.appid == appid), NamedApp(appid, appid)),
        severity_of(one.alert),
        sentence_of(one.entry, visit.language),
        acknowledgement,
    )


def _asked(visit: Visit) -> tuple[AlertQuestion, AlertPlace]:
    """The question of an address; what makes no sense in it is left out."""
    query = visit.request.query_params
    asked = AlertQuestion(
        query.get("app", "") if query.get("app", "") in visit.apps else "",
        query.get("reason", "") if query.get("reason", "") in REASON_TITLES else "",
        query.get("state", "") if query.get("state", "") in STATE_TITLES else "",
    )
    try:
        cursor = query.get("cursor", "")[:VALUE_CHARACTERS_MAX]
        place = read_cursor(_scope(visit, asked), cursor, AlertPlace) if cursor else BEFORE_ALL
    except WrongParameterError:
        place = BEFORE_ALL
    return asked, place


def _asked_in_form(visit: Visit) -> dict[str, str]:
    return {
        "app": visit.value("of_app"),
        "reason": visit.value("of_reason"),
        "state": visit.value("of_state"),
    }


def _scope(visit: Visit, asked: AlertQuestion) -> list[object]:
    """The list that a cursor belongs to."""
    return [PATH, visit.member.membership.owner_id, *asked]
