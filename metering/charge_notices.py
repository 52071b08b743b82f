"""The charge notice (能力收费通知) to the owner of an app: what it says, and when it is sent (rule 21).

Whoever asks for a notice and whoever sends it take its words from here: a preview is what the owner gets.
"""

from collections.abc import Mapping
from typing import Final, Literal

from msgspec import Struct

from metering.accounts import Account
from metering.events import Capability, ChargeNoticeData, ChargeNoticeRequested
from metering.journal import Journal, details_json
from metering.money import yuan_text
from metering.reference_use import use_in_notice
from metering.routing_sentences import SentenceLanguage
from metering.times import SHANGHAI, from_ms, to_ms

NoticeRefusal = Literal["exempt", "past"]
"""Reasons why a notice that was asked for is not sent."""

NOTICE_PRICES: Final[Mapping[Capability, tuple[int, int]]] = {
    "quick": (26_000, 30_000),
    "realtime": (40_000, 40_000),
}
"""The least and the highest price of a successful call in micro-yuan, as WeChat's own notice tells them."""


class NoticeTerms(Struct, frozen=True):
    """The contents of a notice, which are the details of its alert; see `ChargeNoticeData`."""

    monthly_calls_max: int
    price_min_micro_yuan: int
    price_max_micro_yuan: int
    charged_from_ms: int
    name: str = ""

    @staticmethod
    def of(data: ChargeNoticeData) -> "NoticeTerms":
        """The contents that an event asks for."""
        return NoticeTerms(
            data.monthly_calls_max,
            data.price_min_micro_yuan,
            data.price_max_micro_yuan,
            to_ms(data.charged_from),
            data.name,
        )


def request_notice(account: Account, event: ChargeNoticeRequested, time_ms: int, journal: Journal) -> None:
    """Raise the alert that carries a notice, unless the app is exempt or the request is past."""
    terms = NoticeTerms.of(event.data)
    details = {name: getattr(terms, name) for name in NoticeTerms.__struct_fields__}
    refusal: NoticeRefusal | Literal[""] = ""
    if account.exempt:
        refusal = "exempt"
    elif account.is_past(time_ms):
        refusal = "past"
    capability = event.data.capability
    journal.add(
        "charge_notice",
        time_ms,
        account.appid,
        capability,
        event_id=event.id,
        source=event.source,
        reason=refusal,
        details=details_json(**details),
    )
    if not refusal:
        journal.add_alert(
            account,
            capability,
            recovered=False,
            reason="charge_notice",
            time_ms=time_ms,
            remaining=account.balance(account.capabilities[capability]),
            **details,
        )


NOTICE_TITLES: Final[Mapping[SentenceLanguage, str]] = {"en": "Charge notice", "zh": "能力收费通知"}

COMPONENTS: Final[Mapping[SentenceLanguage, Mapping[str, str]]] = {
    "en": {
        "quick": "quick verification of phone numbers",
        "realtime": "real-time verification of phone numbers",
    },
    "zh": {"quick": "手机号快速验证组件", "realtime": "手机号实时验证组件"},
}
"""Capabilities as notices name them."""

_LABELS: Final[Mapping[SentenceLanguage, tuple[str, ...]]] = {
    "en": ("Mini-program: ", "Capability: ", "Recent use: ", "Price: ", "Charged from: ", "What to do: "),
    "zh": ("小程序名称：", "能力名称：", "最近用量：", "价格：", "收费时间：", "操作："),
}
_PRICES: Final[Mapping[SentenceLanguage, tuple[str, str]]] = {
    "en": ("¥{least} per successful call", "¥{least} to ¥{most} per successful call"),
    "zh": ("每次成功调用{least}元", "每次成功调用{least}元~{most}元"),
}
_MOMENT: Final[Mapping[SentenceLanguage, str]] = {"en": "{0} Shanghai time", "zh": "{0}（上海时间）"}
_REQUEST: Final[Mapping[SentenceLanguage, str]] = {
    "en": ("Buy a pack in Payment management (付费管理) at mp.weixin.qq.com, so that the service goes on."),
    "zh": "请前往微信公众平台的“付费管理”购买资源包，以免影响服务。",
}


def notice_headline(terms: NoticeTerms, appid: str, capability: str, language: SentenceLanguage) -> str:
    """The first line of a message: that it is a notice, app and capability."""
    app = f"{terms.name} ({appid})" if terms.name else appid
    component = COMPONENTS[language].get(capability, capability)
    title = NOTICE_TITLES[language]
    return f"【{title}】{app} {component}" if language == "zh" else f"[{title}] {app} {component}"


def notice_lines(terms: NoticeTerms, capability: str, language: SentenceLanguage) -> tuple[str, ...]:
    """The lines of a notice, in the order of the platform's own; a name that is not known has none."""
    facts = (terms.name, COMPONENTS[language].get(capability, capability), *_figures(terms, language))
    told = zip(_LABELS[language], (*facts, _REQUEST[language]), strict=True)
    return tuple(f"{label}{fact}" for label, fact in told if fact)


def notice_summary(terms: NoticeTerms, language: SentenceLanguage) -> str:
    """A notice in one line, for messages with several."""
    use, price, moment = _figures(terms, language)
    label = _LABELS[language][4]
    return (
        "，".join((use, price, f"{label}{moment}"))
        if language == "zh"
        else f"{use}; {price}; {label}{moment}"
    )


def _figures(terms: NoticeTerms, language: SentenceLanguage) -> tuple[str, str, str]:
    """The use, the price and the start of charging."""
    least, most = terms.price_min_micro_yuan, terms.price_max_micro_yuan
    price = _PRICES[language][least != most].format(least=yuan_text(least), most=yuan_text(most))
    moment = f"{from_ms(terms.charged_from_ms).astimezone(SHANGHAI):%Y-%m-%d %H:%M}"
    return use_in_notice(terms.monthly_calls_max, language), price, _MOMENT[language].format(moment)
