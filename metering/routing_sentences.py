"""The sentences about routing decisions, for people, in English and Chinese."""

from collections.abc import Mapping
from typing import Final, Literal

from metering.routing import RoutingDecision, RoutingReason

SentenceLanguage = Literal["en", "zh"]

ROUTING_SENTENCES: Final[Mapping[SentenceLanguage, Mapping[RoutingReason, str]]] = {
    "en": {
        "enough": "There are enough calls.",
        "exempt": "The app is exempt: its calls cost nothing.",
        "free": "Billing has not begun: calls are free.",
        "set_by_owner": "The owner has fixed the answer.",
        "known_member": "The member's number is on file and need not be paid for again.",
        "used_up": "No call is left: trial quota and active packs are used up.",
        "reserve_reached": "The balance is down to the owner's reserve.",
        "run_out_near": "The balance runs out sooner than the owner's lead time.",
        "store_budget_spent": "The store has spent its budget of today (Shanghai).",
        "platform_refused": "WeChat refuses authorizations (errno 1400001).",
        "probe": "This member alone tries whether WeChat still refuses.",
        "stale": "What is known of the balance is out of date.",
        "not_known": "Nothing is known of the app's balance.",
    },
    "zh": {
        "enough": "剩余次数充足。",
        "exempt": "免费主体，调用不收费。",
        "free": "尚未开始计费，调用免费。",
        "set_by_owner": "负责人已指定验证方式。",
        "known_member": "该会员的手机号已留存，无需再付费获取。",
        "used_up": "没有剩余次数：体验额度和生效中的资源包都已用完。",
        "reserve_reached": "剩余次数已降到负责人设定的保留量。",
        "run_out_near": "预计用完的时间早于负责人设定的提前量。",
        "store_budget_spent": "该门店今日（上海时间）的预算已用完。",
        "platform_refused": "微信拒绝授权（错误码 1400001）。",
        "probe": "仅由这一位会员试探微信是否仍然拒绝。",
        "stale": "所知的余量已过时。",
        "not_known": "不了解该小程序的余量。",
    },
}
_NO_SMS: Final[Mapping[SentenceLanguage, str]] = {
    "en": "No short message is left either.",
    "zh": "短信也没有剩余了。",
}
_ESTIMATED: Final[Mapping[SentenceLanguage, str]] = {
    "en": "The balance is an estimate, as what is known of it is out of date.",
    "zh": "所知的余量已过时，此处按用量推算。",
}
_WITHOUT_SMS: Final = frozenset({"known_member", "set_by_owner", "stale", "not_known"})
_ESTIMATES: Final = frozenset({"enough", "used_up", "reserve_reached", "run_out_near"})


def sentence_of_routing(decision: RoutingDecision, language: SentenceLanguage = "en") -> str:
    """The reason of a decision in words."""
    sentences = [ROUTING_SENTENCES[language][decision.reason]]
    if decision.route == "manual" and decision.reason not in _WITHOUT_SMS:
        sentences.append(_NO_SMS[language])
    if decision.is_degraded and decision.reason in _ESTIMATES:
        sentences.append(_ESTIMATED[language])
    return ("" if language == "zh" else " ").join(sentences)
