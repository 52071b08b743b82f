"""The texts of messages: one alert or several, in Chinese or English, as plain text.

Owners of packs read them, who use the platform's console and no terminal, so no text names a command.

Texts of events and names of apps are escaped: none can end a line or be interpreted by a channel.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Final, NamedTuple

import msgspec

from metering.alert_severity import severity_of
from metering.alerts import Alert
from metering.charge_notices import NOTICE_TITLES, NoticeTerms, notice_headline, notice_lines, notice_summary
from metering.printable_text import one_line, shorten
from metering.times import SHANGHAI, from_ms, parse_time
from sinks.notifier.routes import App, Language

Escape = Callable[[str], str]
"""A function that escapes what a channel would interpret in a text."""


class AlertText(NamedTuple):
    """An alert in words: a headline, and lines with the event, the remaining calls and the advice."""

    headline: str
    lines: tuple[str, ...]

    def text(self) -> str:
        """The headline and the lines as one text."""
        return "\n".join((self.headline, *self.lines))


SEVERITY: Final = {
    "zh": {"urgent": "紧急", "warning": "预警", "info": "恢复"},
    "en": {"urgent": "Urgent", "warning": "Warning", "info": "Recovered"},
}
CAPABILITY: Final = {
    "zh": {"quick": "手机号快速验证", "realtime": "手机号实时验证"},
    "en": {"quick": "quick verification", "realtime": "real-time verification"},
}
LABELS: Final = {
    "zh": ("发生", "剩余", "建议", "编号", "{0:,} 次", "上海时间", "："),
    "en": ("What happened", "Remaining", "What to do", "Alert", "{0:,} calls", "Shanghai time", ": "),
}

HAPPENED: Final = {
    "zh": {
        "level": "余量降到体验额度与生效中资源包的 {level_percent}%（共 {size} 次）",
        "level 0": "体验额度与生效中的资源包已用完",
        "expiry": "资源包 {pack_id} 在 {days} 天内到期{expires_at}，剩余部分将过期作废",
        "expiry 0": "资源包 {pack_id} 已到期，剩余部分过期作废",
        "run_out": "按最近的用量，约 {hours_left} 小时后用完",
        "uncovered": "有授权成功但无可扣额度（{why}）",
        "refused": "微信拒绝授权（错误码 1400001），会员现在无法注册；剩余次数以微信后台为准",
        "minute_burn": "一分钟内扣减 {calls} 次，平时最多 {usual} 次",
        "client_burn": "客户端 {client} 一小时内扣减 {calls} 次，平时最多 {usual} 次",
        "recovered level": "余量已回到 {level_percent}% 以上（共 {size} 次）",
        "recovered run_out": "按最近的用量，余量够用了",
        "recovered uncovered": "又有可扣额度了",
        "recovered refused": "微信不再拒绝授权",
        "test": "这是一条测试消息",
        "other": "{reason}：{details}",
        "recovered other": "{reason} 已恢复：{details}",
    },
    "en": {
        "level": "the balance is down to {level_percent}% of trial quota and active packs ({size} calls)",
        "level 0": "trial quota and active packs are used up",
        "expiry": "pack {pack_id} expires within {days} days{expires_at}; what is left of it will lapse",
        "expiry 0": "pack {pack_id} has expired; what was left of it lapses",
        "run_out": "at the recent use the balance lasts for about {hours_left} hours",
        "uncovered": "authorizations succeeded that no pack could cover ({why})",
        "refused": "WeChat refuses authorizations (errno 1400001): members cannot sign up now",
        "minute_burn": "{calls} calls were charged in one minute; the most so far was {usual}",
        "client_burn": "client {client} took {calls} calls within an hour; the most so far was {usual}",
        "recovered level": "the balance is clear of {level_percent}% again ({size} calls)",
        "recovered run_out": "at the recent use the balance is sufficient again",
        "recovered uncovered": "packs cover calls again",
        "recovered refused": "WeChat grants authorizations again",
        "test": "this is a test message",
        "other": "{reason}: {details}",
        "recovered other": "{reason} is over: {details}",
    },
}
ADVICE: Final = {
    "zh": {
        "level": "在微信公众平台购买资源包，否则用完后组件会报错 1400001，会员无法注册",
        "level 0": "立即购买资源包：额度为零时组件报错 1400001，会员无法注册",
        "expiry": "到期前用完，或下次购买更小、有效期更长的资源包",
        "run_out": "在用完之前购买资源包；买多少看平时每天的用量",
        "uncovered": "核对微信后台的资源包是否都已录入，并购买资源包",
        "refused": "立即在微信公众平台查看剩余次数；没有就购买资源包，有就联系微信客服",
        "minute_burn": "检查是否有机器人或活动：看各门店、各入口的用量",
        "client_burn": "检查该客户端是否为机器人，必要时拦截",
        "recovered": "无需处理",
        "test": "无需处理",
        "other": "请负责这套系统的同事查看",
    },
    "en": {
        "level": "buy a pack: at zero the component fails with errno 1400001 and members cannot sign up",
        "level 0": "buy a pack now: the component fails with errno 1400001 and members cannot sign up",
        "expiry": "use it before, or buy smaller or longer packs next time",
        "run_out": "buy a pack before that; how large, the calls of a usual day tell",
        "uncovered": "check that every pack on the platform was recorded here, and buy one",
        "refused": "check the calls left on the platform: without any buy a pack, else ask its support",
        "minute_burn": "look for a bot or a campaign: usage by store and scene",
        "client_burn": "find out whether this client is a bot, and block it",
        "recovered": "nothing",
        "test": "nothing",
        "other": "ask who looks after this system",
    },
}
REASONS: Final = {
    "zh": {
        "level": "余量偏低",
        "expiry": "资源包即将到期",
        "run_out": "余量即将用完",
        "uncovered": "无可扣额度",
        "refused": "微信拒绝授权",
        "minute_burn": "扣减过快",
        "client_burn": "单个客户端扣减过多",
        "charge_notice": NOTICE_TITLES["zh"],
    },
    "en": {
        "level": "low balance",
        "expiry": "a pack expires",
        "run_out": "the balance runs out",
        "uncovered": "calls that no pack covers",
        "refused": "WeChat refuses authorizations",
        "minute_burn": "calls are charged too fast",
        "client_burn": "one client takes too many calls",
        "charge_notice": NOTICE_TITLES["en"],
    },
}
"""Reasons in words, for alerts without the details of their sentence."""

WHY: Final = {
    "zh": {"no_pack": "没有生效中的资源包", "exhausted": "资源包已用完", "too_late": "记录到得太晚"},
    "en": {
        "no_pack": "there is none",
        "exhausted": "they are used up",
        "too_late": "the record came too late",
    },
}
"""Reasons why calls are uncovered, in words."""

EXPIRES_AT: Final = {"zh": "（上海时间 {0}）", "en": " ({0} Shanghai time)"}
SUMMARY: Final = {
    "zh": ("{count} 条告警", "另有 {more} 条，没有列出"),
    "en": ("{count} alerts", "and {more} more, not listed here"),
}


def unescaped(text: str) -> str:
    """The text as it is, for channels that interpret nothing in it."""
    return text


def text_of(alert: Alert, app: App, language: Language, escape: Escape = unescaped) -> AlertText:
    """The text of one alert."""
    alert, app = _escaped(alert, app, escape)
    happened, left, to_do, number, calls, zone, colon = LABELS[language]
    when = _shanghai(parse_time(alert.time))
    notice = _notice_of(alert, app)
    told = (
        (
            f"{happened}{colon}{_sentence(HAPPENED, alert, language)}",
            f"{left}{colon}{calls.format(alert.remaining)}",
            f"{to_do}{colon}{_sentence(ADVICE, alert, language)}",
        )
        if notice is None
        else notice_lines(notice, alert.capability, language)
    )
    return AlertText(_headline(alert, app, language), (*told, f"{number}{colon}{alert.id} · {when} {zone}"))


def _notice_of(alert: Alert, app: App) -> NoticeTerms | None:
    """The charge notice that an alert carries; None if it is none, or not one that this version can tell."""
    if alert.reason != "charge_notice" or alert.kind != "alert":
        return None
    try:
        terms = msgspec.convert(alert.details, NoticeTerms)
    except msgspec.ValidationError:
        return None
    return terms if terms.name else msgspec.structs.replace(terms, name=app.name)


def _headline(alert: Alert, app: App, language: Language) -> str:
    """An alert's first line: severity, or that it is a charge notice, app and capability."""
    notice = _notice_of(alert, app)
    if notice is not None:
        return notice_headline(notice, alert.appid, alert.capability, language)
    severity = SEVERITY[language][severity_of(alert)]
    capability = CAPABILITY[language].get(alert.capability, alert.capability)
    name = f"{app.name} ({alert.appid})" if app.name else alert.appid
    return f"【{severity}】{name} {capability}" if language == "zh" else f"[{severity}] {name} {capability}"


def text_of_all(
    alerts: Sequence[Alert],
    apps: Sequence[App],
    language: Language,
    bytes_max: int,
    escape: Escape = unescaped,
) -> AlertText:
    """The text of several alerts: as many as fit into `bytes_max` bytes, and the number of the others."""
    if len(alerts) == 1:
        return text_of(alerts[0], apps[0], language, escape)
    title, rest = SUMMARY[language]
    count = title.format(count=len(alerts))
    blocks = [
        f"{_headline(alert, app, language)}\n{_told(alert, app, language)} · {alert.id}"
        for alert, app in map(partial(_escaped, escape=escape), alerts, apps)
    ]
    shown: list[str] = []
    left_bytes = bytes_max - len(f"{count}\n{rest}\n".encode()) - 8
    for block in blocks:
        left_bytes -= len(block.encode()) + 1
        if left_bytes < 0:
            break
        shown.append(block)
    if len(shown) < len(blocks):
        shown.append(rest.format(more=len(blocks) - len(shown)))
    return AlertText(count, tuple(shown))


def _told(alert: Alert, app: App, language: Language) -> str:
    notice = _notice_of(alert, app)
    return _sentence(HAPPENED, alert, language) if notice is None else notice_summary(notice, language)


def _escaped(alert: Alert, app: App, escape: Escape) -> tuple[Alert, App]:
    """An alert and its app with all texts escaped, each in one line and not too long."""

    def escaped(text: str) -> str:
        return escape(one_line(shorten(text)))

    details = {
        escaped(name): escaped(value) if isinstance(value, str) else value
        for name, value in alert.details.items()
    }
    texts = {name: escaped(getattr(alert, name)) for name in _TEXTS}
    return msgspec.structs.replace(alert, **texts, details=details), msgspec.structs.replace(
        app, name=escaped(app.name)
    )


_TEXTS: Final = ("id", "appid", "capability", "reason", "pack_id")


def _sentence(table: dict[str, dict[str, str]], alert: Alert, language: Language) -> str:
    """The sentence of a table for an alert, with the alert's details."""
    words = table[language]
    key = alert.reason
    if alert.kind == "recovery":
        key = "recovered" if "recovered" in words else f"recovered {alert.reason}"
    elif 0 in {alert.details.get("level_percent", alert.details.get("days")), alert.details.get("size")}:
        key = f"{alert.reason} 0" if f"{alert.reason} 0" in words else alert.reason
    other = "recovered other" if alert.kind == "recovery" and "recovered other" in words else "other"
    given = {name: _shown_value(name, value) for name, value in alert.details.items()}
    if "why" in given:
        given["why"] = WHY[language].get(given["why"], given["why"])
    details = ", ".join(f"{name} {value}" for name, value in given.items()) or "-"
    expires_at = EXPIRES_AT[language].format(given["expires_at_ms"]) if "expires_at_ms" in given else ""
    reason = REASONS[language].get(alert.reason, alert.reason)
    about = {"pack_id": alert.pack_id, "appid": alert.appid, "reason": reason, "expires_at": expires_at}
    facts = {**given, **about}
    try:
        return words.get(key, words[other]).format_map({**facts, "details": details})
    except KeyError:
        return words[other].format_map({**facts, "details": details})


def _shown_value(name: str, value: int | str) -> str:
    if not isinstance(value, int):
        return value
    return _shanghai(value) if name.endswith("_at_ms") else f"{value:,}"


def _shanghai(time_ms: int) -> str:
    return f"{from_ms(time_ms).astimezone(SHANGHAI):%Y-%m-%d %H:%M}"
