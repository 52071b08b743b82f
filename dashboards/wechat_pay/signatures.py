"""Signatures, both ways: those of the merchant, and those of WeChat Pay.

SHA-256 with RSA over lines; the lines of a request are its method, target, time, nonce and body, those of an
answer and of a notice are time, nonce and body.
"""

import binascii
import secrets
from base64 import b64decode, b64encode
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, RSAPublicKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.x509 import Certificate

from dashboards.wechat_pay.errors import NoticeRefusedError

ALGORITHM: Final = "WECHATPAY2-SHA256-RSA2048"
AGE_MAX_S: Final = 300
"""WeChat Pay's own limit: what was signed longer ago is not to be taken."""

SIGNATURE_TEST: Final = "WECHATPAY/SIGNTEST/"
"""Beginning of a signature that WeChat Pay falsifies now and then, to see whether it is noticed."""

HEADER_CHARACTERS_MAX: Final = 1_024
TIMESTAMP_DIGITS_MAX: Final = 12


class MerchantSigner:
    """The signature of the merchant under each request."""

    def __init__(self, mchid: str, serial: str, key: RSAPrivateKey, now_s: Callable[[], float]) -> None:
        self._mchid = mchid
        self._serial = serial
        self._key = key
        self._now_s = now_s

    def authorization(self, method: str, target: str, body: bytes) -> str:
        """The header `Authorization` of a request; the target is its path with its query."""
        timestamp, nonce = str(int(self._now_s())), secrets.token_hex(16).upper()
        lines = b"".join(b"%b\n" % part for part in (*_encoded(method, target, timestamp, nonce), body))
        signature = b64encode(self._key.sign(lines, PKCS1v15(), SHA256())).decode()
        return (
            f'{ALGORITHM} mchid="{self._mchid}",nonce_str="{nonce}",signature="{signature}",'
            f'timestamp="{timestamp}",serial_no="{self._serial}"'
        )


class PlatformKeys:
    """The keys that WeChat Pay signs with, by the serial that it names.

    Args:
        public_key: of WeChat Pay; None where it signs with certificates only.
        public_key_id: its name.
        certificates: of the platform, each valid for its time.
        now_s: the clock.
    """

    def __init__(
        self,
        public_key: RSAPublicKey | None,
        public_key_id: str,
        certificates: list[Certificate],
        now_s: Callable[[], float],
    ) -> None:
        self._now_s = now_s
        self._keys: dict[str, RSAPublicKey] = {}
        self._until: dict[str, tuple[datetime, datetime]] = {}
        if public_key is not None:
            self._keys[public_key_id.upper()] = public_key
        for one in certificates:
            key = one.public_key()
            if isinstance(key, RSAPublicKey):
                serial = f"{one.serial_number:X}"
                self._keys[serial] = key
                self._until[serial] = (one.not_valid_before_utc, one.not_valid_after_utc)

    def verify(self, headers: Mapping[str, str], body: bytes) -> str:
        """Verify what WeChat Pay has signed, and return the signature.

        Args:
            headers: with names in lower case, or of a mapping that does not tell cases apart.
            body: the bytes as they came.

        Raises:
            NoticeRefusedError: it is not signed by WeChat Pay, or not now.
        """
        timestamp, nonce, signature, serial = (
            headers.get(f"wechatpay-{name}", "") for name in ("timestamp", "nonce", "signature", "serial")
        )
        if not all(0 < len(one) <= HEADER_CHARACTERS_MAX for one in (timestamp, nonce, signature, serial)):
            raise NoticeRefusedError("unsigned")
        if headers.get("wechatpay-signature-type", ALGORITHM) != ALGORITHM:
            raise NoticeRefusedError("unsigned")
        if not self._is_timely(timestamp):
            raise NoticeRefusedError("stale")
        key = self._key(serial)
        if key is None:
            raise NoticeRefusedError("unknown_serial")
        if signature.startswith(SIGNATURE_TEST):
            raise NoticeRefusedError("signature_test")
        lines = b"".join(b"%b\n" % part for part in (*_encoded(timestamp, nonce), body))
        try:
            key.verify(b64decode(signature, validate=True), lines, PKCS1v15(), SHA256())
        except (InvalidSignature, binascii.Error, ValueError):
            raise NoticeRefusedError("forged") from None
        return signature

    def _is_timely(self, timestamp: str) -> bool:
        if not (timestamp.isascii() and timestamp.isdigit() and len(timestamp) <= TIMESTAMP_DIGITS_MAX):
            return False
        return abs(self._now_s() - int(timestamp)) <= AGE_MAX_S

    def _key(self, serial: str) -> RSAPublicKey | None:
        name = serial.upper().lstrip("0")
        if name in self._until:
            begin, end = self._until[name]
            if not begin <= datetime.fromtimestamp(self._now_s(), UTC) <= end:
                return None
        return self._keys.get(name)


def _encoded(*parts: str) -> tuple[bytes, ...]:
    # As HTTP carries headers: what is not ASCII must not fail here, it only verifies nothing.
    return tuple(part.encode("utf-8", "surrogateescape") for part in parts)
