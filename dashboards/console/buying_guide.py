"""The guide to buying at WeChat itself: its steps, and the store that remembers how far an app has got."""

from collections.abc import Mapping
from typing import Final, NamedTuple, Protocol

from msgspec import Struct

from dashboards.console.languages import marked
from dashboards.console.members import Actor


class GuideStep(NamedTuple):
    """A step of the guide.

    Attributes:
        name: in the address and in the database, at most 16 characters.
        title: in English, marked for translation.
        details: the same.
    """

    name: str
    title: str
    details: str


GUIDE_STEPS: Final = (
    GuideStep(
        "assistant",
        marked("Open the mini-program assistant in WeChat"),
        marked(
            "The administrator opens 小程序助手 (mini-program assistant) on the phone and chooses "
            "this mini-program."
        ),
    ),
    GuideStep(
        "password",
        marked("Set an e-mail address and a password to sign in with"),
        marked(
            "Tap the name of the mini-program, and set 登录邮箱 (e-mail) and 登录密码 (password). A "
            "mini-program that was made from an official account has none."
        ),
    ),
    GuideStep(
        "sign_in",
        marked("Sign in on a computer, for the mini-program"),
        marked(
            "Open mp.weixin.qq.com, scan as administrator, and choose the mini-program as the account, not "
            "the official account."
        ),
    ),
    GuideStep(
        "page",
        marked("Go to the payment management"),
        marked(
            "管理 → 付费管理 → 概览: under 用量统计 move the pointer over the component and press 购买; "
            "or press 购买 under 用量购买."
        ),
    ),
    GuideStep(
        "choose",
        marked("Choose a pack"),
        marked("By 我的用量 and 参考数据 there, and by the recommendation here."),
    ),
    GuideStep(
        "pay",
        marked("Pay"),
        marked(
            "Tick 微信小程序付费能力服务条款, and pay by WeChat or by a personal or company bank account."
        ),
    ),
    GuideStep(
        "record",
        marked("See the pack here"),
        marked(
            "Where WeChat's own figures are read, the pack appears within minutes. Elsewhere record it on "
            "the page Buy."
        ),
    ),
)
STEP_NAMES: Final = tuple(step.name for step in GUIDE_STEPS)


class StepTick(Struct, frozen=True):
    """A tick on a step: whose, and when."""

    who: str
    at_ms: int


class GuideStore(Protocol):
    """The ticks on the steps, by app. Blocking.

    Each method raises RecordsUnavailableError if the database does not answer, and those that change
    something RefusedChangeError (`not_there`) for an app that is not the actor's owner's. Each change writes
    a line of the audit trail.
    """

    def ticks(self, owner_id: str, appid: str) -> Mapping[str, StepTick]:
        """The steps that are done, by name."""

    def tick(self, actor: Actor, appid: str, step: str) -> None:
        """Note that a step is done; one that is done stays so."""

    def untick(self, actor: Actor, appid: str, step: str) -> None:
        """Note that a step is not done."""

    def begin_again(self, actor: Actor, appid: str) -> None:
        """Note that no step is done, for the next purchase."""


def next_step(ticks: Mapping[str, StepTick]) -> str | None:
    """The first step that is not done; None after the last."""
    return next((name for name in STEP_NAMES if name not in ticks), None)
