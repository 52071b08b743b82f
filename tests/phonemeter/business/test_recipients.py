"""Recipients of owners in SQLite and in PostgreSQL, as routes of the notifier, and with the real notifier."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import update

from dashboards.console.errors import RefusedChangeError
from dashboards.console.members import Actor
from dashboards.console.recipients import RECIPIENTS_MAX, QuietTimes, RecipientTarget, RecipientText
from metering.times import SHANGHAI
from phonemeter.business.database import BusinessDatabase
from phonemeter.business.members import BusinessMembers
from phonemeter.business.owners import OwnerStore
from phonemeter.business.recipient_routes import RecipientRouteReader
from phonemeter.business.recipients import TESTS_MAX, TESTS_WINDOW_S, BusinessRecipients
from phonemeter.business.tables import ALERT_RECIPIENTS
from phonemeter.errors import UserError
from sinks.notifier.channels import Message, plugin_of
from sinks.notifier.errors import RoutesError
from sinks.notifier.planning import AttemptOutcome
from sinks.notifier.routes import Route, Routes
from tests.conftest import RunningKafka
from tests.served import scraped
from tests.sinks.notifier.parts import alert, mail_server, notifier_thread, publish
from tests.waiting import blocking_until

APP = "wx8ff4154a2448e576"
OTHER = "wx00000000000000aa"
MAIL = "mailtos://user:word@mail.example.com?from=alerts@example.com"
ALL = RecipientText("boss", "zh", ("urgent", "warning", "info"))

pytestmark = pytest.mark.stack


@pytest.fixture
def database(url: str) -> Iterator[BusinessDatabase]:
    with BusinessDatabase(url) as opened:
        OwnerStore(opened).add("Coffee Ltd", [APP])
        OwnerStore(opened).add("Tea Ltd", [OTHER])
        yield opened


def actor_of(database: BusinessDatabase, name: str) -> Actor:
    owners = OwnerStore(database).every_owner()
    return Actor("li@coffee.example", next(one.owner_id for one in owners if one.name == name))


def only_id(recipients: BusinessRecipients, actor: Actor) -> str:
    (one,) = recipients.settings_of(actor.owner_id).recipients
    return one.recipient_id


def test_each_kind_is_a_route_for_its_owners_apps_alone(database: BusinessDatabase) -> None:
    recipients, coffee = BusinessRecipients(database, MAIL, 1), actor_of(database, "Coffee Ltd")
    targets = {
        "email": (RecipientTarget("email", "li+a@coffee.example"), "email"),
        "wecom": (RecipientTarget("wecom", "693a91f6-7xxx"), "wecom"),
        "dingtalk": (RecipientTarget("dingtalk", "566cc69da782", "SECabc"), "dingtalk"),
        "feishu": (RecipientTarget("feishu", "5a2c0b1e-1a2b", "abc"), "feishu"),
        "lark": (RecipientTarget("lark", "5a2c0b1e-1a2b"), "feishu"),
    }
    for name, (target, _) in targets.items():
        recipients.add(coffee, RecipientText(name, "en", ("urgent",)), target)
    recipients.set_quiet_times(coffee, QuietTimes("22:00", "08:00"))
    recipients.add(actor_of(database, "Tea Ltd"), ALL, RecipientTarget("wecom", "693a91f6-7xxx"))
    found = RecipientRouteReader(database, MAIL)()
    names = {one.route: one.text.name for one in recipients.settings_of(coffee.owner_id).recipients}
    assert set(found.by_app) == {APP, OTHER}
    assert sorted(found.by_app[APP]) == sorted(names)
    for route in found.of_app(APP):
        target, channel = targets[names[route.name]]
        assert (route.channel, route.language, route.severities) == (channel, "en", ("urgent",))
        assert route.quiet is not None
        assert (f"{route.quiet.begin:%H:%M}", f"{route.quiet.end:%H:%M}") == ("22:00", "08:00")
        assert (route.quiet.zone.key, route.quiet.urgent_passes) == ("Asia/Shanghai", True)
        assert plugin_of(route.channel, route.address) is not None
        assert route.secrets == (("abc",) if target.kind == "feishu" else ())
        assert target.target not in repr(route)
    (tea,) = found.of_app(OTHER)
    assert (tea.quiet, len(tea.severities)) == (None, 3)
    routes = Routes().with_recipients(found)
    asked = routes.requests(alert(appid=OTHER), 0)
    assert [one.route for one in asked] == [tea.name]
    assert routes.requests(alert(appid="wxnobodys"), 0) == []
    # An app that moves takes its alerts along.
    OwnerStore(database).change_apps("Coffee Ltd", [], [APP])
    OwnerStore(database).change_apps("Tea Ltd", [APP], [])
    assert RecipientRouteReader(database, MAIL)().by_app == {APP: (tea.name,), OTHER: (tea.name,)}
    # Without a mail server, and where somebody wrote what is no key, nothing is sent.
    with database.begin() as connection:
        wrong = update(ALERT_RECIPIENTS).where(ALERT_RECIPIENTS.c.kind != "email")
        connection.execute(wrong.values(target=ALERT_RECIPIENTS.c.recipient_id + "@10.0.0.1/"))
    assert RecipientRouteReader(database, "")().routes == {}


def test_recipients_are_added_once_and_changed_and_removed_by_their_owner(
    database: BusinessDatabase,
) -> None:
    recipients = BusinessRecipients(database, MAIL, 1)
    coffee, tea = actor_of(database, "Coffee Ltd"), actor_of(database, "Tea Ltd")
    target = RecipientTarget("wecom", "693a91f6-7xxx")
    recipients.add(coffee, ALL, target)
    with pytest.raises(RefusedChangeError, match="known_recipient"):
        recipients.add(coffee, ALL, target)
    recipient_id = only_id(recipients, coffee)
    for refused in (
        lambda: recipients.change(tea, recipient_id, ALL),
        lambda: recipients.remove(tea, recipient_id),
        lambda: recipients.test(tea, recipient_id, [OTHER]),
    ):
        with pytest.raises(RefusedChangeError, match="not_there"):
            refused()
    recipients.change(coffee, recipient_id, RecipientText("shift", "en", ("info",)))
    (changed,) = recipients.settings_of(coffee.owner_id).recipients
    assert (changed.text, changed.target) == (RecipientText("shift", "en", ("info",)), target)
    for quiet in (QuietTimes("22:00", "08:00"), QuietTimes("23:00", "07:30"), None):
        recipients.set_quiet_times(coffee, quiet)
        assert recipients.settings_of(coffee.owner_id).quiet == quiet
    assert recipients.settings_of(tea.owner_id) == ([], None)
    recipients.remove(coffee, recipient_id)
    for number in range(RECIPIENTS_MAX):
        recipients.add(coffee, ALL, RecipientTarget("wecom", f"693a91f6-{number}"))
    with pytest.raises(RefusedChangeError, match="too_many"):
        recipients.add(coffee, ALL, target)
    trail = BusinessMembers(database).audit_trail(coffee.owner_id)
    told = [(one.what, one.subject) for one in reversed(trail) if "owner" not in one.what][1:7]
    assert told == [
        ("recipient_added", "boss (wecom)"),
        ("recipient_changed", "shift"),
        ("quiet_hours_set", "22:00–08:00"),
        ("quiet_hours_set", "23:00–07:30"),
        ("quiet_hours_set", ""),
        ("recipient_removed", "shift"),
    ]
    assert "693a91f6" not in str(trail)


def test_a_test_message_goes_to_the_recipient_alone_and_ten_times_an_hour(database: BusinessDatabase) -> None:
    sent: list[str] = []
    now_s = [0.0]

    def deliver(route: Route, message: Message, _now_ms: int) -> AttemptOutcome:
        sent.append(f"{route.address} {message.alerts[0].appid}")
        return AttemptOutcome(delivered=False, reason="the robot answered error 93000")

    recipients = BusinessRecipients(database, MAIL, 1, deliver, lambda: now_s[0])
    coffee = actor_of(database, "Coffee Ltd")
    recipients.add(coffee, ALL, RecipientTarget("wecom", "693a91f6-7xxx"))
    recipient_id = only_id(recipients, coffee)
    for _ in range(TESTS_MAX):
        told = recipients.test(coffee, recipient_id, [APP])
        assert told == (False, "the robot answered error 93000")
    with pytest.raises(RefusedChangeError, match="too_many"):
        recipients.test(coffee, recipient_id, [APP])
    now_s[0] = TESTS_WINDOW_S
    recipients.test(coffee, recipient_id, [])
    assert sent == [f"wecombot://693a91f6-7xxx {APP}"] * TESTS_MAX + ["wecombot://693a91f6-7xxx "]
    recipients.remove(coffee, recipient_id)
    recipients.add(coffee, ALL, RecipientTarget("email", "li@coffee.example"))
    # The words of the operator's mail server are not for owners.
    assert recipients.test(coffee, only_id(recipients, coffee), [APP]) == (False, "")
    with pytest.raises(RefusedChangeError, match="no_mail_server"):
        BusinessRecipients(database, "", 1, deliver).test(coffee, only_id(recipients, coffee), [APP])


@pytest.mark.parametrize(
    "server",
    [
        "mailto://user:word@mail.example.com?from=a@example.com",
        "https://mail.example.com",
        f"{MAIL}&to=somebody@example.com",
        "wecombot://693a91f6-7xxx",
    ],
)
def test_a_mail_server_that_cannot_be_used_is_refused_at_the_start(server: str) -> None:
    with pytest.raises(UserError, match="PHONEMETER_ALERT_MAIL") as refused:
        RecipientRouteReader(BusinessDatabase("sqlite:////nowhere"), server)
    assert "word" not in str(refused.value)


def test_the_notifier_sends_alerts_to_the_owners_own_recipients_and_obeys_their_quiet_hours(
    topics: RunningKafka, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, free_port: Callable[[], int]
) -> None:
    port, now = free_port(), datetime.now(UTC).astimezone(SHANGHAI)
    quiet = QuietTimes(f"{now - timedelta(hours=1):%H:%M}", f"{now + timedelta(hours=2):%H:%M}")
    with (
        BusinessDatabase(f"sqlite:///{tmp_path}/business.sqlite") as database,
        mail_server(free_port()) as mailbox,
    ):
        OwnerStore(database).add("Coffee Ltd", [APP])
        OwnerStore(database).add("Tea Ltd", [OTHER])
        coffee, tea = actor_of(database, "Coffee Ltd"), actor_of(database, "Tea Ltd")
        recipients = BusinessRecipients(database, mailbox.address, 20)
        recipients.add(coffee, ALL, RecipientTarget("email", "li@coffee.example"))
        reader = RecipientRouteReader(database, mailbox.address)
        with notifier_thread(monkeypatch, topics.bootstrap, None, port, reader):
            publish(topics.bootstrap, [alert(1, appid=APP), alert(2, appid=OTHER)])
            blocking_until(lambda: mailbox.receivers() == ["li@coffee.example"], what="the first mail")
            recipients.set_quiet_times(tea, quiet)
            recipients.add(tea, ALL, RecipientTarget("email", "wang@tea.example"))
            count = "phonemeter_notifier_recipients"
            blocking_until(lambda: scraped(port).get(count) == 2, what="the notifier knows both")
            publish(
                topics.bootstrap,
                [alert(3, appid=OTHER), alert(4, appid=OTHER, reason="refused"), alert(5, appid=APP)],
            )
            blocking_until(lambda: len(mailbox.mails) == 3, what="what is not held is there")
            blocking_until(lambda: scraped(port).get("phonemeter_notifier_open") == 1, what="one is held")
            recipients.remove(tea, only_id(recipients, tea))
            blocking_until(lambda: scraped(port).get(count) == 1, what="the notifier forgets one")
        assert sorted(mailbox.receivers()) == ["li@coffee.example", "li@coffee.example", "wang@tea.example"]
    lost = BusinessDatabase(f"sqlite:///{tmp_path}/business.sqlite/none/business.sqlite")
    with pytest.raises(RoutesError, match="can't be used"):
        RecipientRouteReader(lost, "")()
