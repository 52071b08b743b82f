"""Recipients of alerts: whom the alerts of the owner's apps reach, and at which hours."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from starlette.responses import Response

from dashboards.console.alert_desk import RouteTest
from dashboards.console.errors import RefusedChangeError
from dashboards.console.languages import LANGUAGES, marked
from dashboards.console.page_guard import ConsolePage
from dashboards.console.pages.alerts import SEVERITY_LEVELS, SEVERITY_TITLES
from dashboards.console.problems import ConsoleProblem
from dashboards.console.recipients import (
    KIND_TITLES,
    RECIPIENTS_MAX,
    ROBOTS,
    SECRET_CHARACTERS_MAX,
    SEVERITIES,
    AlertRecipient,
    RecipientDesk,
    RecipientKind,
    RecipientText,
    read_quiet_times,
    read_target,
    read_text,
)
from dashboards.console.setting_fields import FieldMistakeError
from dashboards.console.visit import Visit

PATH: Final = "/alerts/recipients"

REFUSED: Final[Mapping[str, str]] = {
    "not_there": marked("There is no such recipient."),
    "known_recipient": marked("This address is a recipient already."),
    "too_many": marked("There are too many recipients. Remove some first."),
    "no_mail_server": marked("No e-mail can be sent: no mail server is set up. Ask who runs phonemeter."),
}
TOO_MANY_TESTS: Final = marked("Too many test messages were sent. Wait an hour.")


class RecipientPages:
    """The pages of the recipients and quiet hours, and what their forms are sent to."""

    def __init__(self, recipients: RecipientDesk) -> None:
        self._recipients = recipients

    @property
    def pages(self) -> list[ConsolePage]:
        """The pages."""
        one = f"{PATH}/{{recipient_id}}"
        return [
            ConsolePage(PATH, self._show, "settings"),
            ConsolePage(PATH, self._add, "settings", "POST"),
            ConsolePage(f"{PATH}/new", self._new, "settings"),
            ConsolePage(f"{PATH}/quiet", self._set_quiet, "settings", "POST"),
            ConsolePage(one, self._edit, "settings"),
            ConsolePage(one, self._save, "settings", "POST"),
            ConsolePage(f"{one}/remove", self._remove, "settings", "POST"),
            ConsolePage(f"{one}/test", self._test, "settings", "POST"),
        ]

    async def _show(self, visit: Visit) -> Response:
        return await self._list(visit)

    async def _new(self, visit: Visit) -> Response:
        return self._form(visit, self._kind(visit.request.query_params.get("kind", "")))

    async def _add(self, visit: Visit) -> Response:
        kind = self._kind(visit.value("kind"))
        try:
            text, target = _text(visit), read_target(kind, visit.value("address"), visit.value("secret"))
            await asyncio.to_thread(self._recipients.add, visit.member.actor, text, target)
        except FieldMistakeError as error:
            return self._form(visit, kind, mistake=error.told(visit.wording), status=422)
        except RefusedChangeError as error:
            return self._form(visit, kind, mistake=visit.wording.text(REFUSED[error.reason]), status=409)
        return visit.redirect(PATH, saved="1")

    async def _edit(self, visit: Visit) -> Response:
        found = await self._found(visit)
        return self._form(visit, found.target.kind, found)

    async def _save(self, visit: Visit) -> Response:
        found = await self._found(visit)
        try:
            text = _text(visit)
        except FieldMistakeError as error:
            return self._form(visit, found.target.kind, found, error.told(visit.wording), 422)
        return await self._changed(
            visit, lambda: self._recipients.change(visit.member.actor, found.recipient_id, text)
        )

    async def _remove(self, visit: Visit) -> Response:
        recipient_id = _recipient_id(visit)
        return await self._changed(visit, lambda: self._recipients.remove(visit.member.actor, recipient_id))

    async def _set_quiet(self, visit: Visit) -> Response:
        try:
            quiet = read_quiet_times(visit.value("begins"), visit.value("ends"))
        except FieldMistakeError as error:
            return await self._list(visit, error.told(visit.wording), status=422)
        return await self._changed(visit, lambda: self._recipients.set_quiet_times(visit.member.actor, quiet))

    async def _test(self, visit: Visit) -> Response:
        found = await self._found(visit)
        try:
            outcome = await asyncio.to_thread(
                self._recipients.test, visit.member.actor, found.recipient_id, visit.apps
            )
        except RefusedChangeError as error:
            text = TOO_MANY_TESTS if error.reason == "too_many" else REFUSED[error.reason]
            return await self._list(visit, visit.wording.text(text), status=409)
        return await self._list(visit, tested=(found.text.name, outcome))

    async def _changed(self, visit: Visit, change: Callable[[], None]) -> Response:
        try:
            await asyncio.to_thread(change)
        except RefusedChangeError as error:
            return await self._list(visit, visit.wording.text(REFUSED[error.reason]), status=409)
        return visit.redirect(PATH, saved="1")

    async def _list(
        self,
        visit: Visit,
        mistake: str = "",
        tested: tuple[str, RouteTest] | None = None,
        status: int = 200,
    ) -> Response:
        settings = await asyncio.to_thread(self._recipients.settings_of, visit.member.membership.owner_id)
        quiet = settings.quiet
        entered = visit.request.url.path.endswith("/quiet")
        values: dict[str, Any] = {
            "begins": visit.value("begins") if entered else quiet.begins if quiet else "",
            "ends": visit.value("ends") if entered else quiet.ends if quiet else "",
            "is_full": len(settings.recipients) >= RECIPIENTS_MAX,
            "kind_titles": KIND_TITLES,
            "mistake": mistake,
            "path": PATH,
            "recipients": settings.recipients,
            "saved": "saved" in visit.request.query_params,
            "sends_email": self._recipients.sends_email,
            "severity_levels": SEVERITY_LEVELS,
            "severity_titles": SEVERITY_TITLES,
            "tested": tested,
        }
        return visit.page("recipients.html", values, status)

    def _form(
        self,
        visit: Visit,
        kind: RecipientKind,
        found: AlertRecipient | None = None,
        mistake: str = "",
        status: int = 200,
    ) -> Response:
        text = RecipientText("", visit.language, SEVERITIES) if found is None else found.text
        is_sent = visit.request.method == "POST"
        values: dict[str, Any] = {
            "address": visit.value("address") if is_sent else "",
            "chosen": visit.form.get("severity", []) if is_sent else text.severities,
            "kind": kind,
            "kind_titles": KIND_TITLES,
            "languages_of_texts": LANGUAGES,
            "mistake": mistake,
            "name": visit.value("name") if is_sent else text.name,
            "path": PATH,
            "recipient": found,
            "robot": ROBOTS.get(kind),
            "secret_max": SECRET_CHARACTERS_MAX,
            "severities": SEVERITIES,
            "severity_titles": SEVERITY_TITLES,
            "text_language": visit.value("language") if is_sent else text.language,
        }
        return visit.page("recipient.html", values, status)

    def _kind(self, text: str) -> RecipientKind:
        found = next((kind for kind in KIND_TITLES if kind == text), None)
        if found is None or (found == "email" and not self._recipients.sends_email):
            raise ConsoleProblem("not_found")
        return found

    async def _found(self, visit: Visit) -> AlertRecipient:
        settings = await asyncio.to_thread(self._recipients.settings_of, visit.member.membership.owner_id)
        recipient_id = _recipient_id(visit)
        found = next((one for one in settings.recipients if one.recipient_id == recipient_id), None)
        if found is None:
            raise ConsoleProblem("not_found")
        return found


def _recipient_id(visit: Visit) -> str:
    found: str = visit.request.path_params["recipient_id"]
    return found


def _text(visit: Visit) -> RecipientText:
    chosen: Sequence[str] = visit.form.get("severity", [])
    return read_text(visit.value("name"), visit.value("language"), chosen)
