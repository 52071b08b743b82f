"""Ways to a member's phone number, with the cost and the risk of each by what happened in the last days.

Each fixed answer and the balance (rule 20) is applied to the sign-ups of those days: calls that were granted,
and taps that the platform refused. Every sign-up ends in exactly one place: a paid call, a short message, a
number that nobody checks, or a refusal.
"""

from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple, get_args

from metering.events import Capability
from metering.money import MICRO_YUAN
from metering.routing_policy import RoutingMode, RoutingPolicy
from metering.routing_sentences import SentenceLanguage

UNIT_PRICES: Final[Mapping[Capability, int]] = {"quick": 30_000, "realtime": 40_000}
"""Micro-yuan of a call by the notice, without any discount."""

ROUTING_MODES: Final[tuple[RoutingMode, ...]] = get_args(RoutingMode)


class RecentSignUps(NamedTuple):
    """The sign-ups of the last days with a capability of an app.

    Attributes:
        days: how many days they are of.
        calls: succeeded authorizations.
        asked_again: how many of them were of a client that had succeeded before within these days.
        refused: taps that the platform refused with errno 1400001.
        price_micro_yuan: of a call; 0 in an exempt app.
    """

    days: int
    calls: int
    asked_again: int = 0
    refused: int = 0
    price_micro_yuan: int = UNIT_PRICES["quick"]

    @property
    def total(self) -> int:
        """All sign-ups that were tried."""
        return self.calls + self.refused


class WayNote(NamedTuple):
    """A remark about a way: its name, and the numbers in its sentence; amounts are in micro-yuan."""

    name: str
    numbers: Mapping[str, int]


class WayOutcome(NamedTuple):
    """The sign-ups as a way would have made them.

    Attributes:
        mode: the way.
        paid: sign-ups by calls of WeChat's component.
        cost_micro_yuan: of these calls.
        short_messages: sign-ups by short message.
        unchecked: sign-ups by a number on file or one typed in, which nobody checks then.
        refused: sign-ups that fail.
        notes: cost and risk in remarks.
    """

    mode: RoutingMode
    paid: int
    cost_micro_yuan: int
    short_messages: int
    unchecked: int
    refused: int
    notes: tuple[WayNote, ...]


def way_outcomes(recent: RecentSignUps, policy: RoutingPolicy) -> list[WayOutcome]:
    """The outcome of each way, the one that the balance decides first."""
    return [_outcome(mode, recent, policy) for mode in ROUTING_MODES]


def _outcome(mode: RoutingMode, recent: RecentSignUps, policy: RoutingPolicy) -> WayOutcome:
    paid = messages = unchecked = refused = 0
    if mode == "wechat":
        paid, refused = recent.calls, recent.refused
    elif mode == "sms":
        # Without a short message left, the answer is to type the number in.
        messages = _sendable(recent.total, policy)
        unchecked = recent.total - messages
    elif mode == "manual":
        unchecked = recent.total
    else:
        on_file = _on_file(recent, policy)
        paid = recent.calls - on_file
        # What WeChat refused would have gone elsewhere before: that is what the balance decides.
        messages = _sendable(recent.refused, policy)
        unchecked = on_file + recent.refused - messages
    cost = paid * recent.price_micro_yuan
    outcome = WayOutcome(mode, paid, cost, messages, unchecked, refused, ())
    notes = (
        _NOTES[mode](outcome, recent, policy) if recent.total else [WayNote("no_use", {"days": recent.days})]
    )
    return outcome._replace(notes=(*notes, WayNote(f"risk_{mode}", {})))


def _sendable(numbers: int, policy: RoutingPolicy) -> int:
    return numbers if policy.sms_left is None else min(numbers, policy.sms_left)


def _on_file(recent: RecentSignUps, policy: RoutingPolicy) -> int:
    return 0 if policy.ask_known_members else recent.asked_again


def _paid(outcome: WayOutcome, recent: RecentSignUps) -> list[WayNote]:
    calls, price = outcome.paid, recent.price_micro_yuan
    if not calls:
        return []
    if not price:
        return [WayNote("exempt", {"calls": calls})]
    return [WayNote("paid", {"calls": calls, "price": price, "cost": outcome.cost_micro_yuan})]


def _of_balance(outcome: WayOutcome, recent: RecentSignUps, policy: RoutingPolicy) -> list[WayNote]:
    notes = _paid(outcome, recent)
    on_file = _on_file(recent, policy)
    if on_file:
        notes.append(WayNote("on_file", {"calls": on_file, "saved": on_file * recent.price_micro_yuan}))
    if recent.refused:
        typed = outcome.unchecked - on_file
        diverted = {"taps": recent.refused, "messages": outcome.short_messages, "typed": typed}
        notes.append(WayNote("diverted", diverted))
    if policy.reserve_calls:
        notes.append(WayNote("reserve", {"calls": policy.reserve_calls}))
    return notes


def _of_wechat(outcome: WayOutcome, recent: RecentSignUps, _policy: RoutingPolicy) -> list[WayNote]:
    notes = _paid(outcome, recent)
    again, price = recent.asked_again, recent.price_micro_yuan
    if again and price:
        notes.append(WayNote("asked_again", {"calls": again, "cost": again * price}))
    if recent.refused:
        notes.append(WayNote("refused", {"taps": recent.refused}))
    return notes


def _of_messages(outcome: WayOutcome, recent: RecentSignUps, policy: RoutingPolicy) -> list[WayNote]:
    messages, price = outcome.short_messages, recent.price_micro_yuan
    notes = []
    if messages and price:
        notes.append(WayNote("messages", {"messages": messages, "price": price}))
    elif messages:
        notes.append(WayNote("messages_of_exempt", {"messages": messages}))
    if policy.sms_left is not None:
        lasts = policy.sms_left * recent.days // recent.total
        notes.append(WayNote("messages_last", {"left": policy.sms_left, "days": lasts}))
    if outcome.unchecked:
        notes.append(WayNote("messages_end", {"numbers": outcome.unchecked}))
    return notes


def _of_typing(outcome: WayOutcome, recent: RecentSignUps, _policy: RoutingPolicy) -> list[WayNote]:
    return [WayNote("typed", {"numbers": outcome.unchecked, "saved": recent.calls * recent.price_micro_yuan})]


_NotesOf = Callable[[WayOutcome, RecentSignUps, RoutingPolicy], list[WayNote]]

_NOTES: Final[Mapping[RoutingMode, _NotesOf]] = {
    "balance": _of_balance,
    "wechat": _of_wechat,
    "sms": _of_messages,
    "manual": _of_typing,
}

_SENTENCES: Final[Mapping[SentenceLanguage, Mapping[str, str]]] = {
    "en": {
        "no_use": "Nobody signed up in the last {days} days, so there is nothing to reckon with.",
        "paid": "{calls} calls at {price} each: {cost}.",
        "exempt": "{calls} calls, which cost nothing: the app is exempt.",
        "asked_again": "{calls} of these were members who had given their number shortly before: {cost}.",
        "refused": "{taps} taps met WeChat's refusal (errno 1400001): these members could not sign up.",
        "on_file": "{calls} members whose number is on file are not asked again, which saves {saved}.",
        "diverted": (
            "{taps} taps that WeChat refused would have gone elsewhere: {messages} by short message, {typed} "
            "by hand."
        ),
        "reserve": "The last {calls} calls are kept for taps under way.",
        "messages": (
            "{messages} short messages at your provider's price: cheaper than WeChat below {price} each."
        ),
        "messages_of_exempt": "{messages} short messages, while WeChat's calls cost this app nothing.",
        "messages_last": "The {left} short messages left would last for {days} days.",
        "messages_end": "After that {numbers} numbers would be typed in, unless you buy more messages.",
        "typed": "{numbers} numbers typed in, which saves {saved}.",
        "risk_balance": "As long as calls are left, the number is real; after that the page goes on without.",
        "risk_wechat": "The number is real and the member's own. At zero nobody can sign up.",
        "risk_sms": "The number is real. Some members give up while they wait for the code.",
        "risk_manual": "It costs nothing, but nobody checks that a number is real or the member's own.",
    },
    "zh": {
        "no_use": "最近 {days} 天没有会员注册，暂无可参考的数据。",
        "paid": "调用 {calls} 次，每次 {price}，共 {cost}。",
        "exempt": "调用 {calls} 次，免费主体不收费。",
        "asked_again": "其中 {calls} 次是不久前刚授权过的会员，重复花费 {cost}。",
        "refused": "有 {taps} 次被微信拒绝（错误码 1400001），这些会员当时无法注册。",
        "on_file": "手机号已留存的会员不再重复获取，共 {calls} 次，可省 {saved}。",
        "diverted": "微信拒绝的 {taps} 次会提前改走其他方式：短信 {messages} 次，手动输入 {typed} 次。",
        "reserve": "最后 {calls} 次保留给正在进行的授权。",
        "messages": "需发送短信 {messages} 条，费用由短信服务商收取：每条低于 {price} 才比微信便宜。",
        "messages_of_exempt": "需发送短信 {messages} 条，而免费主体调用微信组件不收费。",
        "messages_last": "短信余额 {left} 条，约够用 {days} 天。",
        "messages_end": "之后的 {numbers} 个手机号只能手动输入，除非充值短信。",
        "typed": "手动输入 {numbers} 个手机号，可省 {saved}。",
        "risk_balance": "有剩余次数时号码真实有效；用完后页面自动改走其他方式，不影响注册。",
        "risk_wechat": "号码真实，且为会员本人所有；次数用完后会员无法注册。",
        "risk_sms": "号码真实有效；部分会员会在等待验证码时放弃。",
        "risk_manual": "不产生费用，但无法保证号码真实，也可能填写他人的号码。",
    },
}
_AMOUNTS: Final = frozenset({"price", "cost", "saved"})


def sentence_of_way(note: WayNote, language: SentenceLanguage = "en") -> str:
    """A remark in words."""
    shown: dict[str, Any] = {
        name: _yuan(number) if name in _AMOUNTS else f"{number:,}" for name, number in note.numbers.items()
    }
    return _SENTENCES[language][note.name].format(**shown)


def _yuan(micro_yuan: int) -> str:
    """An amount; prices of calls are whole fen, so nothing is rounded."""
    whole, rest = divmod(micro_yuan, MICRO_YUAN)
    return f"¥{whole:,}.{rest // 10_000:02}"
