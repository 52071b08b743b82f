"""What a person reads: one alert, or several, in Chinese or English, as plain text."""

from collections.abc import Sequence
from typing import Final, NamedTuple

from metering.alerts import Alert
from metering.times import SHANGHAI, from_ms, parse_time
from sinks.notifier.routes import App, Language
from sinks.notifier.severity import severity_of


class Told(NamedTuple):
    """An alert in words: a headline, and what happened, what is left and what to do."""

    headline: str
    lines: tuple[str, ...]

    def text(self) -> str:
        """All of it."""
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
        "level": "余额降到生效中资源包的 {level_percent}%（共 {size} 次）",
        "level 0": "生效中的资源包已用完",
        "expiry": "资源包 {pack_id} 在 {days} 天内到期{expires_at}，剩余部分将过期作废",
        "expiry 0": "资源包 {pack_id} 已到期，剩余部分过期作废",
        "run_out": "按最近的用量，约 {hours_left} 小时后用完",
        "uncovered": "有授权成功但无可扣额度（{why}）",
        "minute_burn": "一分钟内扣减 {calls} 次，平时最多 {usual} 次",
        "client_burn": "客户端 {client} 一小时内扣减 {calls} 次，平时最多 {usual} 次",
        "recovered level": "余额已回到 {level_percent}% 以上（共 {size} 次）",
        "recovered run_out": "按最近的用量，余额够用了",
        "recovered uncovered": "又有可扣额度了",
        "test": "这是一条测试消息",
        "other": "{reason}：{details}",
        "recovered other": "{reason} 已恢复：{details}",
    },
    "en": {
        "level": "the balance is down to {level_percent}% of the active packs ({size} calls)",
        "level 0": "the active packs are used up",
        "expiry": "pack {pack_id} expires within {days} days{expires_at}; what is left of it will lapse",
        "expiry 0": "pack {pack_id} has expired; what was left of it lapses",
        "run_out": "at the recent use the balance lasts for about {hours_left} hours",
        "uncovered": "authorizations succeeded that no pack could cover ({why})",
        "minute_burn": "{calls} calls were charged in one minute; the most so far was {usual}",
        "client_burn": "client {client} took {calls} calls within an hour; the most so far was {usual}",
        "recovered level": "the balance is clear of {level_percent}% again ({size} calls)",
        "recovered run_out": "at the recent use the balance is sufficient again",
        "recovered uncovered": "packs cover calls again",
        "test": "this is a test message",
        "other": "{reason}: {details}",
        "recovered other": "{reason} is over: {details}",
    },
}
ADVICE: Final = {
    "zh": {
        "level": "在微信公众平台购买资源包，否则用完后组件会报错 1400001，会员无法注册",
        "level 0": "立即购买资源包：额度为零时组件报错 1400001，会员无法注册",
        "expiry": "到期前用完，或下次购买更小、有效期更长的资源包（phonemeter forecast）",
        "run_out": "提前购买资源包；买多大见 phonemeter forecast",
        "uncovered": "核对微信后台的资源包是否都已录入，并购买资源包",
        "minute_burn": "检查是否有机器人或活动：phonemeter explain、按门店和入口的用量",
        "client_burn": "检查该客户端是否为机器人，必要时拦截",
        "recovered": "无需处理",
        "test": "无需处理",
        "other": "见 phonemeter balance {appid}",
    },
    "en": {
        "level": "buy a pack: at zero the component fails with errno 1400001 and members cannot sign up",
        "level 0": "buy a pack now: the component fails with errno 1400001 and members cannot sign up",
        "expiry": "use it before, or buy smaller or longer packs next time (phonemeter forecast)",
        "run_out": "buy a pack in time; phonemeter forecast says which",
        "uncovered": "check that every pack on the platform was recorded here, and buy one",
        "minute_burn": "look for a bot or a campaign: usage by store and scene",
        "client_burn": "find out whether this client is a bot, and block it",
        "recovered": "nothing",
        "test": "nothing",
        "other": "see phonemeter balance {appid}",
    },
}
EXPIRES_AT: Final = {"zh": "（上海时间 {0}）", "en": " ({0} Shanghai time)"}
SUMMARY: Final = {
    "zh": ("{count} 条告警", "另有 {more} 条：phonemeter alerts list"),
    "en": ("{count} alerts", "and {more} more: phonemeter alerts list"),
}


def tell(alert: Alert, app: App, language: Language) -> Told:
    """One alert in words."""
    happened, left, to_do, number, calls, zone, colon = LABELS[language]
    when = _shanghai(parse_time(alert.time))
    return Told(
        headline(alert, app, language),
        (
            f"{happened}{colon}{_filled(HAPPENED, alert, language)}",
            f"{left}{colon}{calls.format(alert.remaining)}",
            f"{to_do}{colon}{_filled(ADVICE, alert, language)}",
            f"{number}{colon}{alert.id} · {when} {zone}",
        ),
    )


def headline(alert: Alert, app: App, language: Language) -> str:
    """An alert's first line: how urgent, which app, which capability."""
    severity = SEVERITY[language][severity_of(alert)]
    capability = CAPABILITY[language].get(alert.capability, alert.capability)
    name = f"{app.name} ({alert.appid})" if app.name else alert.appid
    return f"【{severity}】{name} {capability}" if language == "zh" else f"[{severity}] {name} {capability}"


def tell_all(alerts: Sequence[Alert], apps: Sequence[App], language: Language, bytes_max: int) -> Told:
    """Several alerts in words: as many as fit into `bytes_max` bytes of text, and how many more there are."""
    if len(alerts) == 1:
        return tell(alerts[0], apps[0], language)
    title, rest = SUMMARY[language]
    count = title.format(count=len(alerts))
    blocks = [
        f"{headline(alert, app, language)}\n{_filled(HAPPENED, alert, language)} · {alert.id}"
        for alert, app in zip(alerts, apps, strict=True)
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
    return Told(count, tuple(shown))


def _filled(table: dict[str, dict[str, str]], alert: Alert, language: Language) -> str:
    words = table[language]
    key = alert.reason
    if alert.kind == "recovery":
        key = "recovered" if "recovered" in words else f"recovered {alert.reason}"
    elif alert.details.get("level_percent", alert.details.get("days")) == 0:
        key = f"{alert.reason} 0" if f"{alert.reason} 0" in words else alert.reason
    other = "recovered other" if alert.kind == "recovery" and "recovered other" in words else "other"
    given = {name: _shown(name, value) for name, value in alert.details.items()}
    details = ", ".join(f"{name} {value}" for name, value in given.items()) or "-"
    expires_at = EXPIRES_AT[language].format(given["expires_at_ms"]) if "expires_at_ms" in given else ""
    about = {"pack_id": alert.pack_id, "appid": alert.appid, "reason": alert.reason, "expires_at": expires_at}
    facts = {**given, **about}
    try:
        return words.get(key, words[other]).format_map({**facts, "details": details})
    except KeyError:
        return words[other].format_map({**facts, "details": details})


def _shown(name: str, value: int | str) -> str:
    if not isinstance(value, int):
        return value
    return _shanghai(value) if name.endswith("_at_ms") else f"{value:,}"


def _shanghai(time_ms: int) -> str:
    return f"{from_ms(time_ms).astimezone(SHANGHAI):%Y-%m-%d %H:%M}"
