"""Recipients: whom alerts of an owner's apps reach, as its members set them up, and its quiet hours."""

import re
from collections.abc import Mapping, Sequence
from typing import Final, Literal, NamedTuple, Protocol

from msgspec import Struct

from dashboards.console.alert_desk import RouteTest
from dashboards.console.languages import Language, marked
from dashboards.console.members import EMAIL_CHARACTERS_MAX, Actor, is_name, normalized_email
from dashboards.console.setting_fields import FieldMistakeError
from metering.alert_severity import Severity
from metering.personal_identifiers import find_identifier

RecipientKind = Literal["email", "wecom", "dingtalk", "feishu", "lark"]

RECIPIENTS_MAX: Final = 10
"""Recipients of one owner."""

SECRET_CHARACTERS_MAX: Final = 128
SEVERITIES: Final[tuple[Severity, ...]] = ("urgent", "warning", "info")
SHOWN_CHARACTERS: Final = 4
"""End of a robot's key that is shown: enough to tell two of them apart."""

WRONG_NAME: Final = marked("The name has 1 to 64 characters, without a phone number or an openid.")
WRONG_EMAIL: Final = marked("This is no e-mail address that can be used; it may hold no phone number.")
WRONG_ROBOT: Final = marked("Copy the whole address that the robot shows: it begins with %(beginning)s.")
WRONG_SECRET: Final = marked("The signing secret of the robot has letters and digits only, at most 128.")
NO_SEVERITY: Final = marked("Choose at least one kind of alert.")
WRONG_CLOCK: Final = marked("Enter both times as hours and minutes, such as 22:00, and different ones.")


class Robot(NamedTuple):
    """A kind of robot of a group chat, which is at one host only.

    Attributes:
        beginning: of the address that it shows, in front of the key.
        key: the expression for a key.
        signs: True where messages may have to be signed.
    """

    beginning: str
    key: str
    signs: bool = False

    @property
    def pattern(self) -> str:
        """The expression for the whole address."""
        return re.escape(self.beginning).replace("\\-", "-") + self.key


ROBOTS: Final[Mapping[RecipientKind, Robot]] = {
    "wecom": Robot("https://qyapi.weixin.qq.com/cgi-bin/webhook/send?key=", r"[A-Za-z0-9\-]{8,64}"),
    "dingtalk": Robot("https://oapi.dingtalk.com/robot/send?access_token=", "[A-Za-z0-9]{8,128}", signs=True),
    "feishu": Robot("https://open.feishu.cn/open-apis/bot/v2/hook/", r"[A-Za-z0-9\-]{8,64}", signs=True),
    "lark": Robot("https://open.larksuite.com/open-apis/bot/v2/hook/", r"[A-Za-z0-9\-]{8,64}", signs=True),
}
"""Robots by kind. No other address is taken: a message must not reach what only the operator can reach."""

KIND_TITLES: Final[Mapping[RecipientKind, str]] = {
    "email": marked("E-mail"),
    "wecom": marked("WeCom"),
    "dingtalk": marked("DingTalk"),
    "feishu": marked("Feishu"),
    "lark": "Lark",
}

_SECRET: Final = re.compile(r"[A-Za-z0-9]{1,128}")
_CLOCK: Final = re.compile(r"([01][0-9]|2[0-3]):[0-5][0-9]")


class RecipientText(Struct, frozen=True):
    """The entries of a member about a recipient.

    Attributes:
        name: for people.
        language: of its messages.
        severities: of the alerts that it gets.
    """

    name: str
    language: Language
    severities: tuple[Severity, ...]


class RecipientTarget(Struct, frozen=True):
    """The place that messages to a recipient go to: an e-mail address, or the key and secret of a robot."""

    kind: RecipientKind
    target: str
    secret: str = ""

    def __repr__(self) -> str:
        return f"RecipientTarget({self.kind!r})"

    @property
    def shown(self) -> str:
        """The target as members see it: the key of a robot by its end only."""
        return self.target if self.kind == "email" else f"…{self.target[-SHOWN_CHARACTERS:]}"


class AlertRecipient(Struct, frozen=True):
    """A recipient.

    Attributes:
        route: its name in deliveries.
    """

    recipient_id: str
    route: str
    text: RecipientText
    target: RecipientTarget


class QuietTimes(NamedTuple):
    """The daily hours, of Asia/Shanghai, in which an owner's recipients get urgent alerts only."""

    begins: str
    ends: str


class RecipientSettings(NamedTuple):
    """The recipients of an owner, and their quiet hours; None if they have none."""

    recipients: Sequence[AlertRecipient] = ()
    quiet: QuietTimes | None = None


class RecipientDesk(Protocol):
    """The recipients, for pages. Blocking.

    Each method raises RecordsUnavailableError if the database does not answer, and those that change or send
    something RefusedChangeError: `not_there` for a recipient that is not the actor's owner's.

    Attributes:
        sends_email: True if a mail server is set up.
    """

    sends_email: bool

    def settings_of(self, owner_id: str) -> RecipientSettings:
        """The recipients of an owner, by name."""

    def add(self, actor: Actor, text: RecipientText, target: RecipientTarget) -> None:
        """Add a recipient; the same target is there once (`known_recipient`), and so many (`too_many`)."""

    def change(self, actor: Actor, recipient_id: str, text: RecipientText) -> None:
        """Change all but the target of a recipient."""

    def remove(self, actor: Actor, recipient_id: str) -> None:
        """Remove a recipient, which gets nothing any more, not even what is held for it."""

    def set_quiet_times(self, actor: Actor, quiet: QuietTimes | None) -> None:
        """Set the quiet hours of all recipients of the actor's owner."""

    def test(self, actor: Actor, recipient_id: str, apps: Sequence[str]) -> RouteTest:
        """Send a test message to a recipient at once; too many in an hour are refused (`too_many`)."""


def read_text(name: str, language: str, severities: Sequence[str]) -> RecipientText:
    """The text about a recipient in the fields of a form.

    Raises:
        FieldMistakeError: a field can't be used.
    """
    if not is_name(name):
        raise FieldMistakeError(WRONG_NAME)
    chosen = tuple(one for one in SEVERITIES if one in severities)
    if not chosen:
        raise FieldMistakeError(NO_SEVERITY)
    return RecipientText(name, "en" if language == "en" else "zh", chosen)


def read_target(kind: RecipientKind, address: str, secret: str) -> RecipientTarget:
    """The target in the fields of a form.

    Raises:
        FieldMistakeError: a field can't be used.
    """
    if kind == "email":
        email = normalized_email(address[: EMAIL_CHARACTERS_MAX + 1])
        if email is None or find_identifier(email) is not None:
            raise FieldMistakeError(WRONG_EMAIL)
        return RecipientTarget(kind, email)
    robot = ROBOTS[kind]
    if not re.fullmatch(robot.pattern, address):
        raise FieldMistakeError(WRONG_ROBOT, beginning=robot.beginning)
    if secret and not (robot.signs and _SECRET.fullmatch(secret)):
        raise FieldMistakeError(WRONG_SECRET)
    return RecipientTarget(kind, address.removeprefix(robot.beginning), secret)


def read_quiet_times(begins: str, ends: str) -> QuietTimes | None:
    """The quiet hours in the fields of a form; none if both are empty.

    Raises:
        FieldMistakeError: a time is none, or both are the same.
    """
    if not begins and not ends:
        return None
    if begins == ends or not _CLOCK.fullmatch(begins) or not _CLOCK.fullmatch(ends):
        raise FieldMistakeError(WRONG_CLOCK)
    return QuietTimes(begins, ends)
