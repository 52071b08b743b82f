"""Contents of WeChat Pay's answers and notices, as far as they are used; unknown fields are left alone."""

from typing import Final

import msgspec
from msgspec import Struct

from metering.money import MICRO_YUAN

FEN: Final = MICRO_YUAN // 100
"""Micro-yuan in one fen, in which WeChat Pay counts."""


class NativeOffer(Struct, frozen=True):
    """The answer to a new transaction: the text of its QR code."""

    code_url: str


class TransactionAmount(Struct, frozen=True):
    """The amount of a transaction, in fen."""

    total: int
    currency: str = "CNY"


class Transaction(Struct, frozen=True):
    """A transaction, as it is told in an answer and in a notice; what only paid ones have may be empty."""

    mchid: str
    appid: str
    out_trade_no: str
    trade_state: str
    transaction_id: str = ""
    success_time: str = ""
    amount: TransactionAmount | None = None


class RefundAmount(Struct, frozen=True):
    """The amounts of a refund, in fen."""

    total: int
    refund: int


class Refund(Struct, frozen=True):
    """A refund, as an answer tells it."""

    out_refund_no: str
    out_trade_no: str
    transaction_id: str
    status: str
    amount: RefundAmount


class RefundNotice(Struct, frozen=True):
    """A refund, as a notice tells it."""

    mchid: str
    out_refund_no: str
    out_trade_no: str
    transaction_id: str
    refund_status: str
    amount: RefundAmount


class PayRefusal(Struct, frozen=True):
    """The content of an answer that is a refusal."""

    code: str = ""
    message: str = ""


class EncryptedResource(Struct, frozen=True):
    """The encrypted part of a notice."""

    algorithm: str
    ciphertext: str
    nonce: str
    original_type: str = ""
    associated_data: str = ""


class NoticeEnvelope(Struct, frozen=True):
    """The content of a notice as it is sent."""

    id: str
    event_type: str
    resource_type: str
    resource: EncryptedResource


def decode_refusal(content: bytes) -> PayRefusal:
    """Decode a refusal; an empty one if it is none of WeChat Pay's."""
    try:
        return msgspec.json.decode(content, type=PayRefusal)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return PayRefusal()
