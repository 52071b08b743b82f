"""The sentences about alerts and the recoveries from them, for people, in English and Chinese."""

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from metering.ledger import Entry
from metering.routing_sentences import SentenceLanguage

_ALERT_SENTENCES: Final[Mapping[SentenceLanguage, Mapping[str, str]]] = {
    "en": {
        "level": "{remaining:,} of {size:,} calls were left, which is {level_percent} % or less.",
        "level of nothing": "No call was left, which is {level_percent} % or less.",
        "expiry": "Pack {pack_id} held {remaining:,} calls that expire within {days} days.",
        "run_out": "{remaining:,} calls were left, for about {hours_left} hours at the use of the last days.",
        "uncovered": "Calls began to be uncovered ({why}).",
        "refused": (
            "The platform refused an authorization (errno {errno}): members cannot sign up. {remaining:,} "
            "calls are left by the ledger."
        ),
        "minute_burn": (
            "{calls:,} calls were charged in one minute; the busiest of 7 days before had {usual:,}."
        ),
        "client_burn": (
            "Client {client} took {calls:,} calls in one hour; the busiest of 7 days before took {usual:,}."
        ),
        "charge_notice": (
            "The owner is told what calls cost, at a use of at most {monthly_calls_max:,} a month on average."
        ),
    },
    "zh": {
        "level": "剩余 {remaining:,} 次，总量 {size:,} 次，已降到 {level_percent}% 或以下。",
        "level of nothing": "已没有剩余次数，降到 {level_percent}% 或以下。",
        "expiry": "资源包 {pack_id} 还有 {remaining:,} 次，将在 {days} 天内过期作废。",
        "run_out": "剩余 {remaining:,} 次，按最近几天的用量约够用 {hours_left} 小时。",
        "uncovered": "开始出现无可扣额度的调用（{why}）。",
        "refused": ("微信拒绝授权（错误码 {errno}），会员无法注册；按台账还剩 {remaining:,} 次。"),
        "minute_burn": "一分钟内扣减 {calls:,} 次；此前 7 天最多的一分钟为 {usual:,} 次。",
        "client_burn": "用户 {client} 一小时内用去 {calls:,} 次；此前 7 天最多的为 {usual:,} 次。",
        "charge_notice": "告知主体调用如何收费；平均每月使用约在 {monthly_calls_max:,} 次以内。",
    },
}
_RECOVERY_SENTENCES: Final[Mapping[SentenceLanguage, Mapping[str, str]]] = {
    "en": {
        "level": "A top-up lifted the balance clear of {level_percent} %: {remaining:,} of {size:,} calls.",
        "run_out": (
            "After a top-up {remaining:,} calls were left, enough for now at the use of the last days."
        ),
        "uncovered": "Packs cover calls again: {remaining:,} are left.",
        "refused": "The platform grants calls again: {remaining:,} are left by the ledger.",
    },
    "zh": {
        "level": "充值后余量已回到 {level_percent}% 以上：剩余 {remaining:,} 次，总量 {size:,} 次。",
        "run_out": "充值后剩余 {remaining:,} 次，按最近几天的用量暂时够用。",
        "uncovered": "资源包恢复可扣，剩余 {remaining:,} 次。",
        "refused": "微信恢复授权，按台账还剩 {remaining:,} 次。",
    },
}
_WHY: Final[Mapping[str, str]] = {
    "no_pack": "没有生效中的资源包",
    "exhausted": "额度已全部用完",
    "too_late": "事件到达太晚",
}


def sentence_of(entry: Entry, language: SentenceLanguage = "en") -> str:
    """The sentence of an entry of kind `alert` or `recovery`."""
    details: dict[str, Any] = msgspec.json.decode(entry.details)
    sentences = (_RECOVERY_SENTENCES if entry.kind == "recovery" else _ALERT_SENTENCES)[language]
    reason = "level of nothing" if details.get("size") == 0 else entry.reason
    if language == "zh" and "why" in details:
        details["why"] = _WHY.get(details["why"], details["why"])
    return sentences[reason].format(remaining=entry.remaining, pack_id=entry.pack_id, **details)
