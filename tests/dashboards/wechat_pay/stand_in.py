"""A stand-in for WeChat Pay: its answers and notices over HTTP, by its public documentation of version 3.

It verifies what merchants sign and signs what it says, with RSA, and encrypts notices with AES-GCM. It can
also misbehave: each word in `faults` spoils one answer.
"""

import asyncio
import json
import re
import secrets
import time
from base64 import b64decode, b64encode
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any, Literal, NamedTuple

import aiohttp
from aiohttp import web
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256

from tests.dashboards.wechat_pay.keys import APPID, KEY_ID, MCHID, NOTICE_KEY, SERIAL, key_of
from tests.ports import free_port

SCHEME = "WECHATPAY2-SHA256-RSA2048"
PAID_AT = "2024-06-03T18:05:03+08:00"

Answer = tuple[int, dict[str, Any] | None]
Handler = Callable[[web.Request, dict[str, Any]], Answer]

AnswerFault = Literal[
    # An error of the server's own.
    "500",
    # No answer until the client gives up.
    "silence",
    # An answer without a signature, with a stranger's, with an old one, and the falsified one of the probe.
    "unsigned",
    "forged",
    "old",
    "probe",
    # A signed answer that is no JSON, and one that never ends.
    "garbage",
    "endless",
    # To another place.
    "redirect",
]


class SentNotice(NamedTuple):
    """A notice as it is sent; it can be sent again, or changed before."""

    headers: dict[str, str]
    body: bytes


def signature(key_name: str, *parts: bytes) -> str:
    lines = b"".join(part + b"\n" for part in parts)
    return b64encode(key_of(key_name).sign(lines, PKCS1v15(), SHA256())).decode()


def signed(body: bytes, key: str = "wechat", serial: str = KEY_ID, age_s: float = 0) -> dict[str, str]:
    """The headers of what WeChat Pay signs."""
    timestamp, nonce = str(int(time.time() - age_s)), secrets.token_hex(16)
    return {
        "Wechatpay-Timestamp": timestamp,
        "Wechatpay-Nonce": nonce,
        "Wechatpay-Signature": signature(key, timestamp.encode(), nonce.encode(), body),
        "Wechatpay-Serial": serial,
        "Wechatpay-Signature-Type": SCHEME,
    }


def sealed(content: Mapping[str, Any], kind: str, notice_key: str = NOTICE_KEY) -> dict[str, str]:
    """The encrypted part of a notice."""
    nonce = secrets.token_hex(6)
    cipher = AESGCM(notice_key.encode()).encrypt(nonce.encode(), json.dumps(content).encode(), kind.encode())
    return {
        "original_type": kind,
        "algorithm": "AEAD_AES_256_GCM",
        "ciphertext": b64encode(cipher).decode(),
        "associated_data": kind,
        "nonce": nonce,
    }


def notice_body(event: str, resource: Mapping[str, str]) -> bytes:
    return json.dumps(
        {
            "id": "EV-" + secrets.token_hex(10),
            "create_time": PAID_AT,
            "resource_type": "encrypt-resource",
            "event_type": event,
            "summary": "支付成功",
            "resource": resource,
        },
        ensure_ascii=False,
    ).encode()


class PayStandIn:
    """WeChat Pay for one merchant: what was begun, paid and refunded."""

    def __init__(self) -> None:
        self.transactions: dict[str, dict[str, Any]] = {}
        self.refunds: dict[str, dict[str, Any]] = {}
        self.faults: list[AnswerFault] = []
        self.asked: list[str] = []
        self.serials: list[str] = []
        self.refund_state = "PROCESSING"
        self._nonces: set[str] = set()
        self._numbers = iter(range(10**27, 10**28))

    def application(self) -> web.Application:
        application = web.Application()
        routes: list[tuple[str, str, Handler]] = [
            ("POST", "/v3/pay/transactions/native", self._begin),
            ("GET", "/v3/pay/transactions/out-trade-no/{order}", self._look),
            ("POST", "/v3/pay/transactions/out-trade-no/{order}/close", self._close),
            ("POST", "/v3/refund/domestic/refunds", self._refund),
            ("GET", "/v3/refund/domestic/refunds/{refund}", self._look_refund),
        ]
        for method, path, handler in routes:
            application.router.add_route(method, path, self._guarded(handler))
        return application

    def pay(self, order: str, total: int | None = None) -> None:
        """Let somebody scan the code and pay."""
        one = self.transactions[order]
        assert one["trade_state"] == "NOTPAY"
        one |= {
            "trade_state": "SUCCESS",
            "trade_state_desc": "支付成功",
            "transaction_id": str(next(self._numbers)),
            "trade_type": "NATIVE",
            "bank_type": "OTHERS",
            "success_time": PAID_AT,
            "payer": {"openid": "oUpF8uMuAJO_M2pxb1Q9zNjWeS6o"},
        }
        amount = one["amount"]["total"] if total is None else total
        one["amount"] = {
            "total": amount,
            "payer_total": amount,
            "currency": "CNY",
            "payer_currency": "CNY",
        }

    def notice(self, order: str, **changes: object) -> SentNotice:
        """The notice of a payment, in which some fields may be changed."""
        body = notice_body(
            "TRANSACTION.SUCCESS", sealed({**self.transactions[order], **changes}, "transaction")
        )
        return SentNotice(signed(body), body)

    def refund_notice(self, refund: str, status: str = "SUCCESS") -> SentNotice:
        """The notice of a refund, which ends with a status."""
        one = self.refunds[refund]
        one["status"] = status
        content = {
            "mchid": MCHID,
            "out_trade_no": one["out_trade_no"],
            "transaction_id": one["transaction_id"],
            "out_refund_no": refund,
            "refund_id": one["refund_id"],
            "refund_status": status,
            "user_received_account": "招商银行信用卡0403",
            "amount": {name: one["amount"][name] for name in ("total", "refund")},
        }
        body = notice_body(f"REFUND.{status}", sealed(content, "refund"))
        return SentNotice(signed(body), body)

    def _guarded(self, handler: Handler) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
        async def handle(request: web.Request) -> web.StreamResponse:
            body = await request.read()
            self.asked.append(f"{request.method} {request.path}")
            fault = self.faults.pop(0) if self.faults else None
            if fault == "silence":
                await asyncio.Event().wait()
            if fault == "500":
                return _plain(500, {"code": "SYSTEM_ERROR", "message": "系统异常，请稍后重试"})
            refused = self._refused(request, body)
            if refused is not None:
                return _plain(401, {"code": "SIGN_ERROR", "message": refused})
            status, content = handler(request, json.loads(body) if body else {})
            return _answered(status, content, fault)

        return handle

    def _refused(self, request: web.Request, body: bytes) -> str | None:
        """The fault of a request's signature."""
        scheme, _, rest = request.headers.get("Authorization", "").partition(" ")
        given = dict(re.findall(r'(\w+)="([^"]*)"', rest))
        if scheme != SCHEME or set(given) != {"mchid", "nonce_str", "signature", "timestamp", "serial_no"}:
            return "Authorization不合法"
        wrong = {
            "商户证书序列号有误": given["mchid"] != MCHID or given["serial_no"].upper() != SERIAL,
            "时间戳已过期": abs(time.time() - int(given["timestamp"])) > 300,
            "随机串不合法": len(given["nonce_str"]) > 32 or given["nonce_str"] in self._nonces,
            "Accept不合法": request.headers.get("Accept") != "application/json"
            or not request.headers.get("User-Agent"),
        }
        if any(wrong.values()):
            return next(words for words, is_wrong in wrong.items() if is_wrong)
        self._nonces.add(given["nonce_str"])
        self.serials.append(request.headers.get("Wechatpay-Serial", ""))
        parts = (request.method, request.path_qs, given["timestamp"], given["nonce_str"])
        lines = b"".join(part.encode() + b"\n" for part in parts) + body + b"\n"
        try:
            key_of("merchant").public_key().verify(b64decode(given["signature"]), lines, PKCS1v15(), SHA256())
        except InvalidSignature:
            return "签名错误"
        return None

    def _begin(self, _request: web.Request, asked: dict[str, Any]) -> Answer:
        wrong = _wrong(asked)
        if wrong is not None:
            return 400, {"code": "PARAM_ERROR", "message": wrong}
        order = asked["out_trade_no"]
        known = self.transactions.get(order)
        if known is not None and known["trade_state"] == "SUCCESS":
            return 400, {"code": "ORDERPAID", "message": "该订单已支付"}
        if known is not None and known["trade_state"] == "CLOSED":
            return 400, {"code": "ORDER_CLOSED", "message": "该订单已关闭"}
        if known is not None and known["amount"]["total"] != asked["amount"]["total"]:
            return 403, {"code": "OUT_TRADE_NO_USED", "message": "商户订单号重复"}
        self.transactions[order] = {
            "appid": APPID,
            "mchid": MCHID,
            "out_trade_no": order,
            "trade_state": "NOTPAY",
            "trade_state_desc": "订单未支付",
            "attach": "",
            "amount": {"total": asked["amount"]["total"], "currency": "CNY"},
            "payer": {},
        }
        return 200, {"code_url": f"weixin://wxpay/bizpayurl?pr={secrets.token_urlsafe(6)}"}

    def _look(self, request: web.Request, _asked: dict[str, Any]) -> Answer:
        if request.query.get("mchid") != MCHID:
            return 400, {"code": "PARAM_ERROR", "message": "mchid"}
        found = self.transactions.get(request.match_info["order"])
        return (200, found) if found else (404, {"code": "ORDER_NOT_EXIST", "message": "订单不存在"})

    def _close(self, request: web.Request, asked: dict[str, Any]) -> Answer:
        if asked != {"mchid": MCHID}:
            return 400, {"code": "PARAM_ERROR", "message": "mchid"}
        found = self.transactions.get(request.match_info["order"])
        if found is None:
            return 404, {"code": "ORDER_NOT_EXIST", "message": "订单不存在"}
        if found["trade_state"] == "SUCCESS":
            return 400, {"code": "ORDERPAID", "message": "该订单已支付"}
        if found["trade_state"] == "CLOSED":
            return 400, {"code": "ORDER_CLOSED", "message": "该订单已关闭"}
        found["trade_state"] = "CLOSED"
        return 204, None

    def _refund(self, _request: web.Request, asked: dict[str, Any]) -> Answer:
        number = str(asked.get("out_refund_no", ""))
        if not re.fullmatch(r"[0-9A-Za-z_|*@-]{1,64}", number) or asked["amount"].get("currency") != "CNY":
            return 400, {"code": "PARAM_ERROR", "message": "out_refund_no"}
        if number in self.refunds:
            return 200, self.refunds[number]
        paid = next(
            (
                one
                for one in self.transactions.values()
                if one.get("transaction_id") == asked.get("transaction_id") and "success_time" in one
            ),
            None,
        )
        if paid is None:
            return 404, {"code": "RESOURCE_NOT_EXISTS", "message": "订单不存在"}
        before = sum(
            one["amount"]["refund"]
            for one in self.refunds.values()
            if one["transaction_id"] == paid["transaction_id"]
        )
        total, refund = asked["amount"]["total"], asked["amount"]["refund"]
        if total != paid["amount"]["total"] or before + refund > total:
            return 400, {"code": "INVALID_REQUEST", "message": "订单金额或退款金额与之前请求不一致"}
        paid["trade_state"] = "REFUND"
        self.refunds[number] = {
            "refund_id": "50" + str(next(self._numbers)),
            "out_refund_no": number,
            "transaction_id": paid["transaction_id"],
            "out_trade_no": paid["out_trade_no"],
            "channel": "ORIGINAL",
            "user_received_account": "招商银行信用卡0403",
            "create_time": PAID_AT,
            "status": self.refund_state,
            "amount": {"total": total, "refund": refund, "currency": "CNY"},
        }
        return 200, self.refunds[number]

    def _look_refund(self, request: web.Request, _asked: dict[str, Any]) -> Answer:
        found = self.refunds.get(request.match_info["refund"])
        return (200, found) if found else (404, {"code": "RESOURCE_NOT_EXISTS", "message": "退款单不存在"})


def _wrong(asked: dict[str, Any]) -> str | None:
    """The fault of a request to begin."""
    fields = {"appid", "mchid", "description", "out_trade_no", "time_expire", "notify_url", "amount"}
    if not isinstance(asked, dict) or not fields >= set(asked) >= fields - {"time_expire"}:
        return "参数缺失"
    checks = {
        "appid": asked["appid"] == APPID,
        "mchid": asked["mchid"] == MCHID,
        "description": 0 < len(asked["description"]) <= 127,
        "out_trade_no": re.fullmatch(r"[0-9A-Za-z_|*-]{6,32}", asked["out_trade_no"]),
        "time_expire": re.fullmatch(
            r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\+08:00", asked.get("time_expire", PAID_AT)
        ),
        "notify_url": re.fullmatch(r"https?://[^?]{1,240}", asked["notify_url"]),
        "amount": type(asked["amount"]["total"]) is int and asked["amount"]["total"] > 0,
        "currency": asked["amount"].get("currency", "CNY") == "CNY",
    }
    return next((name for name, holds in checks.items() if not holds), None)


def _plain(status: int, content: dict[str, Any]) -> web.Response:
    return web.json_response(content, status=status)


def _answered(status: int, content: dict[str, Any] | None, fault: AnswerFault | None) -> web.Response:
    body = b"" if content is None else json.dumps(content, ensure_ascii=False).encode()
    if fault == "garbage":
        body = b"<html>"
    if fault == "endless":
        body = b"[" + b"0," * 500_000
    headers = signed(
        body,
        key="stranger" if fault == "forged" else "wechat",
        age_s=3_600 if fault == "old" else 0,
    )
    if fault == "probe":
        headers["Wechatpay-Signature"] = "WECHATPAY/SIGNTEST/" + headers["Wechatpay-Signature"][19:]
    if fault == "unsigned":
        headers = {}
    if fault == "redirect":
        return web.Response(status=302, headers={"Location": "/elsewhere", **headers})
    return web.Response(status=status, body=body, content_type="application/json", headers=headers)


@asynccontextmanager
async def pay_stand_in() -> AsyncIterator[tuple[PayStandIn, str]]:
    """A stand-in that is served on loopback, and its address."""
    stand_in, port = PayStandIn(), free_port()
    runner = web.AppRunner(stand_in.application(), access_log=None, shutdown_timeout=1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    try:
        yield stand_in, f"http://127.0.0.1:{port}"
    finally:
        await runner.cleanup()


async def send(url: str, notice: SentNotice, **headers: str) -> tuple[int, str]:
    """Send a notice to a merchant, with some headers changed: status and content of the answer."""
    async with (
        aiohttp.ClientSession() as session,
        session.post(
            url,
            data=notice.body,
            headers={"Content-Type": "application/json", **notice.headers, **headers},
            timeout=aiohttp.ClientTimeout(total=60),
        ) as answer,
    ):
        return answer.status, await answer.text()
