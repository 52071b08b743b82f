"""The files that keys are in: read once, and refused if others may read what is secret."""

import os
from pathlib import Path
from typing import Final

from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, RSAPublicKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key, load_pem_public_key
from cryptography.x509 import Certificate, load_pem_x509_certificates

from dashboards.wechat_pay.errors import WechatPayFileError

OTHERS: Final = 0o077
FILE_BYTES_MAX: Final = 65_536
RSA_BITS_MIN: Final = 2_048
NOTICE_KEY_BYTES: Final = 32
_PUBLIC_BEGIN: Final = b"-----BEGIN PUBLIC KEY-----"
_PUBLIC_END: Final = b"-----END PUBLIC KEY-----"
_CERTIFICATE_BEGIN: Final = b"-----BEGIN CERTIFICATE-----"


def read_private_key(path: Path, setting: str) -> RSAPrivateKey:
    """The merchant's private key.

    Raises:
        WechatPayFileError: the file can't be used; `setting` is named in the sentence.
    """
    try:
        key = load_pem_private_key(_secret_bytes(path, setting), password=None)
    except (ValueError, TypeError):
        key = None
    if not isinstance(key, RSAPrivateKey) or key.key_size < RSA_BITS_MIN:
        raise WechatPayFileError(
            f"The file {path} of {setting} is not an RSA private key in PEM: use the apiclient_key.pem that "
            f"came with the merchant's API certificate."
        )
    return key


def read_notice_key(path: Path, setting: str) -> bytes:
    """The APIv3 key, which notices are encrypted with.

    Raises:
        WechatPayFileError: the file can't be used; `setting` is named in the sentence.
    """
    key = _secret_bytes(path, setting).strip()
    if len(key) != NOTICE_KEY_BYTES or not key.isascii():
        raise WechatPayFileError(
            f"The file {path} of {setting} has no APIv3 key: it is 32 letters and digits, alone in the file."
        )
    return key


def read_platform_keys(path: Path, setting: str) -> tuple[RSAPublicKey | None, list[Certificate]]:
    """The public key and the certificates that WeChat Pay signs with; neither is a secret.

    Raises:
        WechatPayFileError: the file can't be used; `setting` is named in the sentence.
    """
    text = _bytes(path, setting)
    begin = text.find(_PUBLIC_BEGIN)
    end = text.find(_PUBLIC_END, begin)
    try:
        key = load_pem_public_key(text[begin : end + len(_PUBLIC_END)]) if begin >= 0 else None
        certificates = load_pem_x509_certificates(text) if _CERTIFICATE_BEGIN in text else []
    except ValueError:
        key, certificates = None, []
    keys = [one.public_key() for one in certificates] + ([key] if key is not None else [])
    if not keys or not all(isinstance(one, RSAPublicKey) and one.key_size >= RSA_BITS_MIN for one in keys):
        raise WechatPayFileError(
            f"The file {path} of {setting} has no RSA public key and no certificate in PEM: use the "
            f"pub_key.pem of WeChat Pay."
        )
    return key if isinstance(key, RSAPublicKey) else None, certificates


def _secret_bytes(path: Path, setting: str) -> bytes:
    try:
        mode = path.stat().st_mode
    except OSError as error:
        raise _unreadable(path, setting, error) from None
    if mode & OTHERS:
        raise WechatPayFileError(
            f"Others may read the file {path} of {setting}: allow it to its owner alone with "
            f"chmod 600 {path}."
        )
    return _bytes(path, setting)


def _bytes(path: Path, setting: str) -> bytes:
    try:
        with path.open("rb") as file:
            found = file.read(FILE_BYTES_MAX + 1)
    except OSError as error:
        raise _unreadable(path, setting, error) from None
    if len(found) > FILE_BYTES_MAX:
        raise WechatPayFileError(
            f"The file {path} of {setting} is longer than {FILE_BYTES_MAX:,} bytes: correct the path."
        )
    return found


def _unreadable(path: Path, setting: str, error: OSError) -> WechatPayFileError:
    why = os.strerror(error.errno) if error.errno else "no reason given"
    return WechatPayFileError(f"The file {path} of {setting} can't be read ({why}): correct the path.")
