"""The member-card settings of an app: how a member's phone number is obtained, what that costs and risks."""

import asyncio
from functools import partial
from typing import Any, Final

import msgspec
from starlette.responses import Response

from dashboards.console.languages import marked
from dashboards.console.overview_rows import CAPABILITY_NAMES
from dashboards.console.page_guard import ConsolePage
from dashboards.console.policy_form import (
    MODE_TITLES,
    STALE_TITLES,
    asked_policy,
    policy_changes,
    shown_policy,
    written,
    written_budgets,
)
from dashboards.console.problems import ConsoleProblem
from dashboards.console.quotas import Quota, quota_of
from dashboards.console.setting_fields import FieldMistakeError, long_value
from dashboards.console.setting_work import SettingWork, first_app, named_app
from dashboards.console.visit import Visit
from dashboards.reads.asking import Ask
from dashboards.reads.outlooks import read_holdings
from dashboards.reads.packs import read_packs
from dashboards.reads.routing import PolicyInForce, read_policies
from dashboards.reads.sign_ups import read_sign_ups
from metering.events import CAPABILITIES, Capability
from metering.routing_policy import DEFAULT_POLICY, RoutingChoices, RoutingPolicy
from metering.sign_up_ways import UNIT_PRICES, RecentSignUps, sentence_of_way, way_outcomes
from metering.times import DAY_MS, shanghai_date

PATH: Final = "/member-card"
BUY: Final = "/buy"
USAGE: Final = "/usage"
DAYS: Final = 30
"""Days whose sign-ups are reckoned with."""


class MemberCardPages:
    """The page, and what its form is sent to."""

    def __init__(self, work: SettingWork) -> None:
        self._work = work

    @property
    def pages(self) -> list[ConsolePage]:
        """The pages."""
        return [
            ConsolePage(PATH, self._first, title=marked("Member card")),
            ConsolePage(f"{PATH}/{{appid}}", self._show),
            ConsolePage(f"{PATH}/{{appid}}", self._save, "settings", "POST"),
        ]

    async def _first(self, visit: Visit) -> Response:
        return await first_app(self._work, visit, PATH)

    async def _show(self, visit: Visit) -> Response:
        return await self._page(visit, _capability(visit.request.query_params.get("capability", "quick")))

    async def _save(self, visit: Visit) -> Response:
        capability = _capability(visit.value("capability"))
        appid: str = visit.request.path_params["appid"]
        shown = shown_policy(visit)
        try:
            changes = policy_changes(shown, asked_policy(visit, shown))
            if changes:
                data = {"capability": capability, **changes}
                await self._work.record(visit, "account.routing_set", appid, data)
        except FieldMistakeError as mistake:
            return await self._page(visit, capability, mistake.told(visit.wording))
        in_force = await self._work.holds(partial(self._is_in_force, appid, capability, changes))
        saved = ("now" if in_force else "soon") if changes else "same"
        return visit.redirect(f"{PATH}/{appid}", capability=capability, saved=saved)

    async def _is_in_force(self, appid: str, capability: Capability, changes: dict[str, Any]) -> bool:
        found = _of(await self._work.reads.read(partial(read_policies, appid=appid)), capability)
        return not policy_changes(found.policy, _with(found.policy, changes))

    async def _page(self, visit: Visit, capability: Capability, mistake: str = "") -> Response:
        appid: str = visit.request.path_params["appid"]
        now_ms = (await self._work.reads.clock()).now_ms
        apps = await self._work.apps(visit)
        app = named_app(apps, appid)
        read = self._work.reads.read
        quota, recent, policies = await asyncio.gather(
            read(partial(_quota, appid=appid, capability=capability, now_ms=now_ms)),
            read(
                partial(_recent, appid=appid, capability=capability, now_ms=now_ms, is_exempt=app.is_exempt)
            ),
            read(partial(read_policies, appid=appid)),
        )
        found = _of(policies, capability)
        pending = [
            data
            for data in await self._work.pending(visit, appid, "account.routing_set", found.set_at_ms)
            if data.get("capability") == capability
        ]
        policy = found.policy
        for data in pending:
            policy = _with(policy, data)
        language = visit.language
        values: dict[str, Any] = {
            "app": app,
            "apps": apps,
            "capability": capability,
            "capability_names": CAPABILITY_NAMES,
            "days": DAYS,
            "may_change": visit.member.may("settings"),
            "mistake": mistake,
            "mode_titles": MODE_TITLES,
            "path": PATH,
            "pending": bool(pending),
            "policy": policy,
            "quota": quota,
            "recent": recent,
            "saved": visit.request.query_params.get("saved", ""),
            "set_at_ms": found.set_at_ms,
            "stale_titles": STALE_TITLES,
            "top_up": _top_up(visit, appid, capability),
            "ways": [
                (outcome, [sentence_of_way(note, language) for note in outcome.notes])
                for outcome in way_outcomes(recent, policy)
            ],
            "entered": _entered(visit) if mistake else _fields(policy),
        }
        return visit.page("member_card.html", values, 422 if mistake else 200)


def _top_up(visit: Visit, appid: str, capability: Capability) -> str:
    """The address of where packs are bought: of the use, where the console sells none."""
    page = next((entry.path for entry in visit.navigation if entry.path == BUY), USAGE)
    return f"{page}/{appid}?capability={capability}"


def _capability(text: str) -> Capability:
    found = next((one for one in CAPABILITIES if one == text), None)
    if found is None:
        raise ConsoleProblem("not_found")
    return found


def _of(policies: list[PolicyInForce], capability: Capability) -> PolicyInForce:
    default = PolicyInForce(capability, DEFAULT_POLICY, None)
    return next((one for one in policies if one.capability == capability), default)


def _with(policy: RoutingPolicy, changes: dict[str, Any]) -> RoutingPolicy:
    return policy.with_choices(msgspec.convert(changes, RoutingChoices))


def _quota(ask: Ask, appid: str, capability: Capability, now_ms: int) -> Quota | None:
    holdings = read_holdings(ask, (appid,)).get(appid, ())
    held = next((one for one in holdings if one.capability == capability), None)
    if held is None:
        return None
    return quota_of(held, read_packs(ask, appid, capability=capability).packs, {}, now_ms)


def _recent(ask: Ask, appid: str, capability: Capability, now_ms: int, *, is_exempt: bool) -> RecentSignUps:
    first = shanghai_date(now_ms - (DAYS - 1) * DAY_MS)
    price = 0 if is_exempt else UNIT_PRICES[capability]
    return read_sign_ups(ask, appid, capability, first, shanghai_date(now_ms + DAY_MS), price)


def _fields(policy: RoutingPolicy) -> dict[str, str]:
    """The fields of the form, as texts."""
    return {
        "mode": policy.mode,
        "reserve_calls": str(policy.reserve_calls),
        "lead_minutes": str(policy.lead_minutes),
        "refusal_pause_s": str(policy.refusal_pause_s),
        "sms_left": "" if policy.sms_left is None else str(policy.sms_left),
        "ask_known_members": "1" if policy.ask_known_members else "",
        "when_stale": policy.when_stale,
        "store_budgets": written_budgets(policy),
        "shown": written(policy),
    }


def _entered(visit: Visit) -> dict[str, str]:
    """The entries, so that nobody types them again."""
    names = _fields(DEFAULT_POLICY)
    return {name: long_value(visit, name) for name in names}
