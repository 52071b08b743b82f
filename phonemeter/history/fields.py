"""The fields that a line of a file may have, and the names of columns by which they are found."""

import re
from typing import Final
from unicodedata import normalize

NAMES: Final[dict[str, tuple[str, ...]]] = {
    "appid": ("appid", "subject", "miniprogram", "小程序appid", "小程序id", "小程序"),
    "type": ("type", "eventtype", "outcome", "result", "status", "结果", "授权结果", "类型", "状态"),
    "time": (
        "time",
        "eventtime",
        "timestamp",
        "authorizedat",
        "calledat",
        "occurredat",
        "createdat",
        "createtime",
        "ts",
        "授权时间",
        "调用时间",
        "发生时间",
        "创建时间",
        "时间",
    ),
    "id": ("eventid",),
    "code": ("code", "授权码"),
    "capability": ("capability", "component", "能力", "组件", "组件类型"),
    "errno": ("errno", "errcode", "错误码"),
    "scene": ("scene", "page", "entrypage", "场景", "页面", "入口"),
    "store": ("store", "storeid", "storecode", "shop", "shopid", "门店", "门店编号", "门店id"),
    "env": ("env", "envversion", "环境"),
    "client": ("client", "clienthash"),
    "pack_id": ("packid", "pkgid", "资源包id", "资源包编号", "资源包"),
    "order_id": ("orderid", "orderno", "订单号", "订单编号"),
    "calls": ("calls", "packsize", "次数", "调用次数", "资源包次数"),
    "used_before": ("usedbefore", "已用次数"),
    "validity_days": ("validitydays", "days", "有效期天数", "有效期天", "有效天数"),
    "price_micro_yuan": ("pricemicroyuan",),
    "price_fen": ("pricefen", "amountfen", "价格分", "金额分"),
    "price_yuan": ("priceyuan", "amountyuan", "价格元", "金额元", "实付金额元"),
    "paid_at": ("paidat", "paytime", "paymenttime", "支付时间", "付款时间", "购买时间"),
    "assigned_at": ("assignedat", "assigntime", "分配时间", "指派时间"),
    "starts_at": ("startsat", "starttime", "生效时间", "开始时间"),
    "by": ("refundedby",),
    "trial_used": ("trialused",),
    "entity_type": ("entitytype", "ownertype", "主体类型"),
    "name": ("name", "小程序名称", "主体名称", "名称"),
    "category": ("category", "服务类目", "类目"),
    "source": ("source",),
}
"""The names of columns that are taken for a field, the most telling first, as `plain` makes them."""

TYPES: Final[dict[str, str]] = {
    "succeeded": "phone.authorization.succeeded",
    "denied": "phone.authorization.denied",
    "failed": "phone.authorization.failed",
    "purchased": "pack.purchased",
    "assigned": "pack.assigned",
    "refunded": "pack.refunded",
    "assignment_cancelled": "pack.assignment_cancelled",
    "registered": "account.registered",
    "opened": "account.opened",
}
"""The words for the types of events that a file may have."""

CALL: Final = ("capability", "scene", "store", "env", "client")
PURCHASE: Final = (
    "pack_id",
    "order_id",
    "capability",
    "calls",
    "used_before",
    "validity_days",
    "price_micro_yuan",
    "paid_at",
    "starts_at",
)

FIELDS_BY_TYPE: Final[dict[str, tuple[str, ...]]] = {
    "phone.authorization.succeeded": CALL,
    "phone.authorization.denied": (*CALL, "errno"),
    "phone.authorization.failed": (*CALL, "errno"),
    "pack.purchased": PURCHASE,
    "pack.assigned": (*PURCHASE, "assigned_at"),
    "pack.refunded": ("pack_id", "by"),
    "pack.assignment_cancelled": ("pack_id", "by"),
    "account.opened": ("trial_used", "capability"),
    "account.registered": ("entity_type", "name", "category"),
}
"""The fields of an event's data, by its type."""

VALUES: Final[dict[str, dict[str, str]]] = {
    "type": {
        **TYPES,
        **{kind: kind for kind in TYPES.values()},
        "success": TYPES["succeeded"],
        "ok": TYPES["succeeded"],
        "成功": TYPES["succeeded"],
        "授权成功": TYPES["succeeded"],
        "拒绝": TYPES["denied"],
        "用户拒绝": TYPES["denied"],
        "fail": TYPES["failed"],
        "失败": TYPES["failed"],
    },
    "capability": {
        "quick": "quick",
        "realtime": "realtime",
        "手机号快速验证组件": "quick",
        "手机号快速验证": "quick",
        "快速验证": "quick",
        "手机号实时验证组件": "realtime",
        "手机号实时验证": "realtime",
        "实时验证": "realtime",
    },
}
"""The words of files for values that have words of their own here."""

_LEFT_OUT: Final = re.compile(r"[\s_\-./()]+")


def plain(name: str) -> str:
    """The name of a column without case, width, spaces, brackets and punctuation."""
    return _LEFT_OUT.sub("", normalize("NFKC", name).casefold())
