"""The routes of the notifier that recipients of owners are, read from the business database.

They do not travel by the log of events: it keeps everything for ever, and the keys of robots are secrets.
"""

import re
from collections.abc import Mapping
from datetime import time
from typing import Any, Final
from urllib.parse import quote
from zoneinfo import ZoneInfo

from sqlalchemy import Row, select

from metering.alerts import RECIPIENT
from phonemeter.business.database import BusinessDatabase
from phonemeter.business.tables import ALERT_RECIPIENTS, OWNER_APPS, QUIET_HOURS
from phonemeter.errors import OperationError, UserError
from sinks.notifier.channels import EXAMPLES, is_safe, plugin_of
from sinks.notifier.errors import RoutesError
from sinks.notifier.hours import QuietHours
from sinks.notifier.routes import ChannelName, RecipientRoutes, Route

CHANNELS: Final[Mapping[str, ChannelName]] = {
    "email": "email",
    "wecom": "wecom",
    "dingtalk": "dingtalk",
    "feishu": "feishu",
    "lark": "feishu",
}
"""The channel of each kind. All but e-mail, whose server the operator sets, are at one public host each."""

ZONE: Final = ZoneInfo("Asia/Shanghai")

_KEY: Final = re.compile(r"[A-Za-z0-9-]{8,128}")
_SECRET: Final = re.compile(r"[A-Za-z0-9]{0,128}")


def route_name(recipient_id: str) -> str:
    """The name of a recipient in deliveries."""
    return f"{RECIPIENT}{recipient_id}"


class RecipientRouteReader:
    """Reads the recipients of all owners. Blocking.

    Args:
        database: the business database.
        mail_server: the setting `alert_mail`; empty for no e-mail.

    Raises:
        UserError: the mail server can't be used.
    """

    def __init__(self, database: BusinessDatabase, mail_server: str) -> None:
        self._database = database
        self._mail_server = mail_server
        if mail_server:
            address = self._mail_address("alerts@example.com")
            fits = "to=" not in mail_server and plugin_of("email", address) is not None
            if not fits or not is_safe("email", address):
                example = EXAMPLES["email"].replace("to=PERSON", "from=SENDER")
                raise UserError(
                    f"PHONEMETER_ALERT_MAIL (alert_mail in phonemeter.toml) is no mail server for messages "
                    f"to owners; write it like {example}, without a receiver."
                )

    def __call__(self) -> RecipientRoutes:
        """The recipients of all owners.

        Raises:
            RoutesError: the database does not answer.
        """
        owners = select(ALERT_RECIPIENTS.c.owner_id)
        joined = (
            select(ALERT_RECIPIENTS, QUIET_HOURS.c.begins, QUIET_HOURS.c.ends)
            .join(QUIET_HOURS, QUIET_HOURS.c.owner_id == ALERT_RECIPIENTS.c.owner_id, isouter=True)
            .order_by(ALERT_RECIPIENTS.c.recipient_id)
        )
        apps = select(OWNER_APPS.c.appid, OWNER_APPS.c.owner_id).where(OWNER_APPS.c.owner_id.in_(owners))
        try:
            with self._database.begin() as connection:
                rows, owned = connection.execute(joined).all(), connection.execute(apps).all()
        except OperationError as error:
            raise RoutesError(str(error)) from None
        routes: dict[str, Route] = {}
        of_owner: dict[str, tuple[str, ...]] = {}
        for row in rows:
            route = self.route_of(row)
            if route is not None:
                routes[route.name] = route
                of_owner[row.owner_id] = (*of_owner.get(row.owner_id, ()), route.name)
        by_app = {appid: of_owner[owner_id] for appid, owner_id in owned if owner_id in of_owner}
        return RecipientRoutes(routes, by_app)

    def route_of(self, row: Row[Any]) -> Route | None:
        """The route of a recipient's row; None if nothing can be sent to it."""
        address = self._address(row.kind, row.target, row.secret)
        if not address:
            return None
        quiet = None
        if row.begins is not None:
            quiet = QuietHours(time.fromisoformat(row.begins), time.fromisoformat(row.ends), ZONE)
        return Route(
            name=route_name(row.recipient_id),
            channel=CHANNELS[row.kind],
            address=address,
            secrets=(row.secret,) if row.secret and CHANNELS[row.kind] == "feishu" else (),
            language="en" if row.language == "en" else "zh",
            severities=tuple(row.severities),
            quiet=quiet,
        )

    def _address(self, kind: str, target: str, secret: str) -> str:
        """The address; empty if a target is none, whoever wrote it, or e-mail is not set up."""
        if kind == "email":
            return self._mail_address(target) if self._mail_server else ""
        if not _KEY.fullmatch(target) or not _SECRET.fullmatch(secret):
            return ""
        if kind == "dingtalk":
            return f"dingtalk://{secret}@{target}" if secret else f"dingtalk://{target}"
        return {
            "wecom": f"wecombot://{target}",
            "feishu": f"feishu://{target}",
            "lark": f"lark://{target}",
        }.get(kind, "")

    def _mail_address(self, email: str) -> str:
        joint = "&" if "?" in self._mail_server else "?"
        return f"{self._mail_server}{joint}to={quote(email, safe='@')}"
