"""Signatures and encryption of WeChat's pushes, as its documentation on message encryption describes them."""

import base64
import binascii
import hashlib
import hmac
import re
from typing import Final

from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import CBC

PADDED_TO: Final = 32
RANDOM_BYTES: Final = 16
LENGTH_BYTES: Final = 4
AES_BLOCK_BYTES: Final = 16

_ENCODING_AES_KEY: Final = re.compile(r"[A-Za-z0-9]{43}")


class UnreadableMessageError(Exception):
    """An encrypted message that is not for this receiver, or is none at all."""


def signature_of(*parts: str) -> str:
    """The signature of a push: the SHA-1 of its parts, sorted and joined."""
    return hashlib.sha1("".join(sorted(parts)).encode(), usedforsecurity=False).hexdigest()


def is_signed(signature: str, *parts: str) -> bool:
    """Return whether a signature is that of the parts; how long it takes tells nothing."""
    return hmac.compare_digest(signature_of(*parts).encode(), signature.encode())


class MessageKey:
    """The key of encrypted messages, an EncodingAESKey.

    Raises:
        ValueError: the text is none.
    """

    __slots__ = ("_cipher",)

    def __init__(self, encoding_aes_key: str) -> None:
        if not _ENCODING_AES_KEY.fullmatch(encoding_aes_key):
            raise ValueError("not an EncodingAESKey")
        key = base64.b64decode(f"{encoding_aes_key}=")
        self._cipher = Cipher(AES(key), CBC(key[:AES_BLOCK_BYTES]))

    def decrypt(self, encrypted: str, appid: str) -> bytes:
        """The message in the base64 of an encrypted one that was made for `appid`.

        Raises:
            UnreadableMessageError: it is damaged, or of another key or appid; which of them is not told.
        """
        try:
            ciphertext = base64.b64decode(encrypted, validate=True)
        except (binascii.Error, ValueError):
            raise UnreadableMessageError from None
        if not ciphertext or len(ciphertext) % PADDED_TO:
            raise UnreadableMessageError
        decryptor = self._cipher.decryptor()
        content = _unpadded(decryptor.update(ciphertext) + decryptor.finalize())
        begin = RANDOM_BYTES + LENGTH_BYTES
        end = begin + int.from_bytes(content[RANDOM_BYTES:begin], "big")
        if len(content) < begin or end > len(content) or content[end:] != appid.encode():
            raise UnreadableMessageError
        return content[begin:end]


def _unpadded(padded: bytes) -> bytes:
    """The bytes without their PKCS #7 padding, here to blocks of 32."""
    count = padded[-1]
    if not 1 <= count <= PADDED_TO or padded[-count:] != bytes([count]) * count:
        raise UnreadableMessageError
    return padded[:-count]
