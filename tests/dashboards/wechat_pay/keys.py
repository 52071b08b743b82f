"""Keys of the tests, made once: a merchant's, WeChat Pay's, a stranger's, and the files that they are in."""

from datetime import datetime, timedelta
from functools import cache
from pathlib import Path
from typing import NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from cryptography.x509.oid import NameOID

MCHID = "1900000001"
APPID = "wx8888888888888888"
SERIAL = "444F4864EA9B34415F2B2C1D3E4F5A6B7C8D9E0F"
KEY_ID = "PUB_KEY_ID_0119000000012026101700000001"
NOTICE_KEY = "0123456789abcdefghijABCDEFGHIJ01"


@cache
def key_of(_name: str) -> rsa.RSAPrivateKey:
    """The private key of a name."""
    return rsa.generate_private_key(public_exponent=65_537, key_size=2_048)


def private_pem(name: str) -> bytes:
    return key_of(name).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def public_pem(name: str) -> bytes:
    return key_of(name).public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def certificate(name: str, begin: datetime, days: int) -> x509.Certificate:
    """A certificate of a name, signed by itself."""
    issuer = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    return (
        x509.CertificateBuilder()
        .subject_name(issuer)
        .issuer_name(issuer)
        .public_key(key_of(name).public_key())
        .serial_number(0x5157F09EFDC096DE15EBE81A47057A7232F1B8E1)
        .not_valid_before(begin)
        .not_valid_after(begin + timedelta(days=days))
        .sign(key_of(name), hashes.SHA256())
    )


def certificate_pem(name: str, begin: datetime, days: int) -> bytes:
    return certificate(name, begin, days).public_bytes(Encoding.PEM)


class KeyFiles(NamedTuple):
    """The files that settings name."""

    private_key: Path
    notice_key: Path
    platform_keys: Path


def key_files(directory: Path) -> KeyFiles:
    """The files of the merchant, readable by their owner only."""
    directory.mkdir(parents=True, exist_ok=True)
    files = KeyFiles(*(directory / name for name in ("apiclient_key.pem", "notice_key", "pub_key.pem")))
    for path, content in zip(
        files, (private_pem("merchant"), NOTICE_KEY.encode() + b"\n", public_pem("wechat")), strict=True
    ):
        path.touch(0o600)
        path.write_bytes(content)
    return files
