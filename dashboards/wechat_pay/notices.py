"""Notices of WeChat Pay: verified, decrypted, and compared with the merchant that they are for."""

import binascii
from base64 import b64decode
from collections.abc import Callable, Mapping
from typing import Final, TypeVar

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from dashboards.wechat_pay.answers import EncryptedResource, NoticeEnvelope, RefundNotice, Transaction
from dashboards.wechat_pay.errors import NoticeRefusedError
from dashboards.wechat_pay.signatures import AGE_MAX_S, PlatformKeys

NOTICE_BYTES_MAX: Final = 65_536
CIPHER: Final = "AEAD_AES_256_GCM"
NONCE_BYTES: Final = 12
SIGNATURES_MAX: Final = 10_000
"""Signatures that are remembered; while so many are young, the next notice has to come again."""

TRANSACTION: Final = "TRANSACTION.SUCCESS"
REFUNDS: Final = frozenset({"REFUND.SUCCESS", "REFUND.ABNORMAL", "REFUND.CLOSED"})

R = TypeVar("R", Transaction, RefundNotice)


class SignatureMemory:
    """The signatures of notices that were taken, for as long as their time is accepted."""

    def __init__(self, now_s: Callable[[], float]) -> None:
        self._now_s = now_s
        self._until_s: dict[str, float] = {}

    def refuse_known(self, signature: str) -> None:
        """Refuse a signature that was taken before.

        Raises:
            NoticeRefusedError: it was, or no more can be remembered.
        """
        now_s = self._now_s()
        if len(self._until_s) >= SIGNATURES_MAX:
            self._until_s = {one: until_s for one, until_s in self._until_s.items() if until_s > now_s}
        if self._until_s.get(signature, 0.0) > now_s or len(self._until_s) >= SIGNATURES_MAX:
            raise NoticeRefusedError("replayed")

    def add(self, signature: str) -> None:
        """Remember the signature of a notice that is stored."""
        # A notice may be ahead of our clock by as much as it may be behind.
        self._until_s[signature] = self._now_s() + 2 * AGE_MAX_S


class NoticeReader:
    """The reader of notices to one merchant.

    Args:
        platform: verifies signatures.
        notice_key: the APIv3 key.
        mchid, appid: of the merchant.
    """

    def __init__(self, platform: PlatformKeys, notice_key: bytes, mchid: str, appid: str) -> None:
        self._platform = platform
        self._cipher = AESGCM(notice_key)
        self._mchid = mchid
        self._appid = appid

    def signature(self, headers: Mapping[str, str], body: bytes) -> str:
        """The signature of a notice, verified.

        Raises:
            NoticeRefusedError: WeChat Pay has not signed it, or not now.
        """
        return self._platform.verify(headers, body)

    def read(self, body: bytes) -> Transaction | RefundNotice | None:
        """Read a notice whose signature was verified; None for one about something else.

        Raises:
            NoticeRefusedError: it is not to be taken.
        """
        try:
            envelope = msgspec.json.decode(body, type=NoticeEnvelope)
        except (msgspec.MsgspecError, UnicodeDecodeError):
            raise NoticeRefusedError("unreadable") from None
        if envelope.event_type == TRANSACTION:
            transaction = self._decrypted(envelope.resource, Transaction)
            self._refuse_others(transaction.mchid, transaction.appid)
            return transaction
        if envelope.event_type in REFUNDS:
            refund = self._decrypted(envelope.resource, RefundNotice)
            # A refund names no app.
            self._refuse_others(refund.mchid, self._appid)
            return refund
        return None

    def _refuse_others(self, mchid: str, appid: str) -> None:
        if mchid != self._mchid:
            raise NoticeRefusedError("other_merchant")
        if appid != self._appid:
            raise NoticeRefusedError("other_app")

    def _decrypted(self, resource: EncryptedResource, kind: type[R]) -> R:
        nonce = resource.nonce.encode()
        if resource.algorithm != CIPHER or len(nonce) != NONCE_BYTES:
            raise NoticeRefusedError("unreadable")
        try:
            text = self._cipher.decrypt(
                nonce, b64decode(resource.ciphertext, validate=True), resource.associated_data.encode()
            )
            return msgspec.json.decode(text, type=kind)
        except (InvalidTag, binascii.Error, ValueError, msgspec.MsgspecError):
            raise NoticeRefusedError("unreadable") from None
