"""The recipients of owners in the business database, as the console's protocol has them."""

import secrets
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Sequence
from typing import Any, Final

import msgspec
from sqlalchemy import Connection, Row, delete, func, insert, null, select, update

from dashboards.console.alert_desk import RouteTest
from dashboards.console.errors import RefusedChangeError
from dashboards.console.members import Actor
from dashboards.console.recipients import (
    RECIPIENTS_MAX,
    AlertRecipient,
    QuietTimes,
    RecipientSettings,
    RecipientTarget,
    RecipientText,
)
from phonemeter.business.audit_trail import note
from phonemeter.business.console_transaction import console_transaction
from phonemeter.business.database import BusinessDatabase
from phonemeter.business.owners import lock_owner
from phonemeter.business.recipient_routes import RecipientRouteReader, route_name
from phonemeter.business.tables import ALERT_RECIPIENTS, QUIET_HOURS
from producers.clock import wall_clock_ms
from sinks.notifier.channels import Deliver, Message, deliverer
from sinks.notifier.routes import App

TESTS_MAX: Final = 10
TESTS_WINDOW_S: Final = 3_600.0
"""A receiver gets at most so many test messages of an owner within this time."""

OWNERS_MAX: Final = 10_000


class BusinessRecipients:
    """The recipients. Blocking; threads may share it.

    Args:
        database: the business database.
        mail_server: the setting `alert_mail`; empty for no e-mail.
        timeout_s: of an attempt to send a test message.
        deliver: makes the attempt.

    Raises:
        UserError: the mail server can't be used.
    """

    def __init__(
        self,
        database: BusinessDatabase,
        mail_server: str,
        timeout_s: float,
        deliver: Deliver | None = None,
        monotonic_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self.sends_email = bool(mail_server)
        self._database = database
        self._routes = RecipientRouteReader(database, mail_server)
        self._deliver = deliver or deliverer(timeout_s)
        self._monotonic_s = monotonic_s
        self._tests: OrderedDict[str, deque[float]] = OrderedDict()

    def settings_of(self, owner_id: str) -> RecipientSettings:
        """The recipients of an owner, and their quiet hours."""
        columns = ALERT_RECIPIENTS.c
        chosen = select(ALERT_RECIPIENTS).where(columns.owner_id == owner_id)
        times = select(QUIET_HOURS.c.begins, QUIET_HOURS.c.ends).where(QUIET_HOURS.c.owner_id == owner_id)
        with console_transaction(self._database) as connection:
            rows = connection.execute(chosen.order_by(columns.name, columns.recipient_id)).all()
            quiet = connection.execute(times).first()
        return RecipientSettings(
            [_recipient(row) for row in rows], None if quiet is None else QuietTimes(quiet.begins, quiet.ends)
        )

    def add(self, actor: Actor, text: RecipientText, target: RecipientTarget) -> None:
        """Add a recipient."""
        columns = ALERT_RECIPIENTS.c
        of_owner = columns.owner_id == actor.owner_id
        same = of_owner & (columns.kind == target.kind) & (columns.target == target.target)
        with console_transaction(self._database) as connection:
            lock_owner(connection, actor.owner_id)
            if connection.execute(select(columns.recipient_id).where(same)).first() is not None:
                raise RefusedChangeError("known_recipient")
            count = select(func.count()).select_from(ALERT_RECIPIENTS).where(of_owner)
            if connection.execute(count).scalar_one() >= RECIPIENTS_MAX:
                raise RefusedChangeError("too_many")
            row = {
                "recipient_id": secrets.token_hex(8),
                "owner_id": actor.owner_id,
                "added_at_ms": wall_clock_ms(),
                **msgspec.structs.asdict(target),
                **_columns(text),
            }
            connection.execute(insert(ALERT_RECIPIENTS).values(row))
            note(connection, actor, "recipient_added", f"{text.name} ({target.kind})")

    def change(self, actor: Actor, recipient_id: str, text: RecipientText) -> None:
        """Change all but the target of a recipient."""
        with console_transaction(self._database) as connection:
            _found(connection, actor, recipient_id)
            this = ALERT_RECIPIENTS.c.recipient_id == recipient_id
            connection.execute(update(ALERT_RECIPIENTS).where(this).values(_columns(text)))
            note(connection, actor, "recipient_changed", text.name)

    def remove(self, actor: Actor, recipient_id: str) -> None:
        """Remove a recipient."""
        with console_transaction(self._database) as connection:
            found = _found(connection, actor, recipient_id)
            this = ALERT_RECIPIENTS.c.recipient_id == recipient_id
            connection.execute(delete(ALERT_RECIPIENTS).where(this))
            note(connection, actor, "recipient_removed", found.name)

    def set_quiet_times(self, actor: Actor, quiet: QuietTimes | None) -> None:
        """Set the quiet hours of an owner, or none."""
        with console_transaction(self._database) as connection:
            lock_owner(connection, actor.owner_id)
            connection.execute(delete(QUIET_HOURS).where(QUIET_HOURS.c.owner_id == actor.owner_id))
            if quiet is not None:
                connection.execute(insert(QUIET_HOURS).values(owner_id=actor.owner_id, **quiet._asdict()))
            note(connection, actor, "quiet_hours_set", "" if quiet is None else "–".join(quiet))

    def test(self, actor: Actor, recipient_id: str, apps: Sequence[str]) -> RouteTest:
        """Send a test message to a recipient of the actor's owner, and to nobody else."""
        with console_transaction(self._database) as connection:
            row = _found(connection, actor, recipient_id)
            self._count_test(actor.owner_id)
            note(connection, actor, "recipient_tested", row.name)
        route = self._routes.route_of(row)
        if route is None:
            raise RefusedChangeError("no_mail_server")
        now_ms = wall_clock_ms()
        message = Message.to_try(route.name, next(iter(apps), ""), App(), now_ms)
        outcome = self._deliver(route, message, now_ms)
        # The reason of a mail server may name what is the operator's alone.
        reason = "" if route.channel == "email" else outcome.reason
        return RouteTest(outcome.delivered, reason)

    def _count_test(self, owner_id: str) -> None:
        now_s = self._monotonic_s()
        made = self._tests.setdefault(owner_id, deque())
        while made and now_s - made[0] >= TESTS_WINDOW_S:
            made.popleft()
        if len(made) >= TESTS_MAX:
            raise RefusedChangeError("too_many")
        made.append(now_s)
        self._tests.move_to_end(owner_id)
        while len(self._tests) > OWNERS_MAX:
            self._tests.popitem(last=False)


def _found(connection: Connection, actor: Actor, recipient_id: str) -> Row[Any]:
    """The row of a recipient of the actor's owner, without quiet hours: a test is sent at once."""
    columns = ALERT_RECIPIENTS.c
    this = (columns.recipient_id == recipient_id) & (columns.owner_id == actor.owner_id)
    found = connection.execute(select(ALERT_RECIPIENTS, null().label("begins")).where(this)).first()
    if found is None:
        raise RefusedChangeError("not_there")
    return found


def _columns(text: RecipientText) -> dict[str, Any]:
    return {**msgspec.structs.asdict(text), "severities": list(text.severities)}


def _recipient(row: Row[Any]) -> AlertRecipient:
    return AlertRecipient(
        row.recipient_id,
        route_name(row.recipient_id),
        RecipientText(row.name, row.language, tuple(row.severities)),
        RecipientTarget(row.kind, row.target, row.secret),
    )
