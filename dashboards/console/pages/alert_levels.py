"""The alert levels of an app: when its balance, its packs and its use alert."""

from functools import partial
from typing import Any, Final

import msgspec
from msgspec import structs
from starlette.responses import Response

from dashboards.console.languages import marked
from dashboards.console.page_guard import ConsolePage
from dashboards.console.problems import ConsoleProblem
from dashboards.console.setting_fields import (
    FieldMistakeError,
    NumberField,
    changes_between,
    long_value,
    number,
    numbers,
)
from dashboards.console.setting_work import SettingWork, first_app, named_app
from dashboards.console.visit import Visit
from dashboards.reads.thresholds import read_thresholds
from metering.accounts import AlertThresholds
from metering.rules import Rules

PATH: Final = "/alerts/levels"
LIST_MAX: Final = 10
"""Levels, and days before an expiry, of one app."""

LISTS: Final = {
    "levels_percent": NumberField(marked("Levels of the balance"), 0, 100),
    "expiry_days": NumberField(marked("Days before an expiry"), 0, 365),
}
NUMBERS: Final = {
    "run_out_lead_days": NumberField(marked("Days before the run-out"), 0, 365),
    "burn_minute_calls": NumberField(marked("Calls in a minute"), 0, 1_000_000_000),
    "burn_client_calls": NumberField(marked("Calls of one user in an hour"), 0, 1_000_000_000),
    "burn_percent": NumberField(marked("Share of the busiest before"), 100, 10_000),
}


class AlertLevelPages:
    """The page of an app's levels, and what its form is sent to."""

    def __init__(self, work: SettingWork, rules: Rules) -> None:
        self._work = work
        self._default = AlertThresholds.default(rules)

    @property
    def pages(self) -> list[ConsolePage]:
        """The pages."""
        return [
            ConsolePage(PATH, self._first),
            ConsolePage(f"{PATH}/{{appid}}", self._show),
            ConsolePage(f"{PATH}/{{appid}}", self._save, "settings", "POST"),
        ]

    async def _first(self, visit: Visit) -> Response:
        return await first_app(self._work, visit, PATH)

    async def _show(self, visit: Visit) -> Response:
        return await self._page(visit)

    async def _save(self, visit: Visit) -> Response:
        appid: str = visit.request.path_params["appid"]
        shown = self._shown(visit)
        try:
            changes = changes_between(_plain(shown), _plain(_asked(visit)))
            if changes:
                await self._work.record(visit, "account.alerting_set", appid, changes)
        except FieldMistakeError as mistake:
            return await self._page(visit, mistake.told(visit.wording))
        in_force = await self._work.holds(partial(self._is_in_force, appid, changes))
        return visit.redirect(f"{PATH}/{appid}", saved=("now" if in_force else "soon") if changes else "same")

    async def _is_in_force(self, appid: str, changes: dict[str, Any]) -> bool:
        found = await self._work.reads.read(partial(read_thresholds, appid=appid, default=self._default))
        return changes.items() <= _plain(found.thresholds).items()

    async def _page(self, visit: Visit, mistake: str = "") -> Response:
        appid: str = visit.request.path_params["appid"]
        apps = await self._work.apps(visit)
        found = await self._work.reads.read(partial(read_thresholds, appid=appid, default=self._default))
        pending = await self._work.pending(visit, appid, "account.alerting_set", found.set_at_ms)
        thresholds = found.thresholds
        for data in pending:
            thresholds = _with(thresholds, data)
        values: dict[str, Any] = {
            "app": named_app(apps, appid),
            "apps": apps,
            "default": _fields(self._default),
            "entered": _entered(visit) if mistake else _fields(thresholds),
            "lists": LISTS,
            "may_change": visit.member.may("settings"),
            "mistake": mistake,
            "numbers": NUMBERS,
            "path": PATH,
            "pending": bool(pending),
            "saved": visit.request.query_params.get("saved", ""),
            "set_at_ms": found.set_at_ms,
        }
        return visit.page("alert_levels.html", values, 422 if mistake else 200)

    def _shown(self, visit: Visit) -> AlertThresholds:
        try:
            return _with(self._default, msgspec.json.decode(long_value(visit, "shown"), type=dict[str, Any]))
        except (msgspec.DecodeError, msgspec.ValidationError, TypeError):
            raise ConsoleProblem("form_refused") from None


def _asked(visit: Visit) -> AlertThresholds:
    """The thresholds that the form asks for.

    Raises:
        FieldMistakeError: a field can't be used.
    """
    lists = {name: tuple(numbers(long_value(visit, name), field, LIST_MAX)) for name, field in LISTS.items()}
    counts = {name: number(visit.value(name), field) for name, field in NUMBERS.items()}
    return AlertThresholds(**lists, **counts)  # type: ignore[arg-type] # by the names of its fields


def _plain(thresholds: AlertThresholds) -> dict[str, Any]:
    """The thresholds as the data of a fact has them; lists have the highest first."""
    return {
        name: sorted(set(value), reverse=True) if isinstance(value, tuple) else value
        for name, value in structs.asdict(thresholds).items()
    }


def _with(thresholds: AlertThresholds, data: dict[str, Any]) -> AlertThresholds:
    given = {name: tuple(value) if isinstance(value, list) else value for name, value in data.items()}
    return structs.replace(thresholds, **given)


def _fields(thresholds: AlertThresholds) -> dict[str, str]:
    """The fields of the form, as texts."""
    return {
        **{
            name: ", ".join(map(str, value)) if isinstance(value, list) else str(value)
            for name, value in _plain(thresholds).items()
        },
        "shown": msgspec.json.encode(_plain(thresholds)).decode(),
    }


def _entered(visit: Visit) -> dict[str, str]:
    """The entries, so that nobody types them again."""
    return {name: long_value(visit, name) for name in (*LISTS, *NUMBERS, "shown")}
