"""Signatures and encryption, against WeChat's own published example and the stand-in's implementation."""

import base64

import pytest
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import CBC

from producers.wechat.message_crypt import MessageKey, UnreadableMessageError, is_signed, signature_of
from producers.wechat_sim.pushing import encrypted, signed
from tests.producers.wechat.parts import AES_KEY, APP

# The example that WeChat publishes with its sample code (Sample.py of WXBizMsgCrypt).
TOKEN = "spamtest"  # noqa: S105 - no real one
TIMESTAMP = "1409735669"
NONCE = "1320562132"
SIGNATURE = "5d197aaffba7e9b25a30732f161a50dee96bd5fa"
SAMPLE_APP = "wx2c2769f8efd9abc2"
ENCRYPTED = (
    "hyzAe4OzmOMbd6TvGdIOO6uBmdJoD0Fk53REIHvxYtJlE2B655HuD0m8KUePWB3+LrPXo87wzQ1QLvbeUgmBM4x6F8PGHQHFVAFmOD2L"
    "dJF9FrXpbUAh0B5GIItb52sn896wVsMSHGuPE328HnRGBcrS7C41IzDWyWNlZkyyXwon8T332jisa+h6tEDYsVticbSnyU8dKOIbgU6u"
    "x5VTjg3yt+WGzjlpKn6NPhRjpA912xMezR4kw6KWwMrCVKSVCZciVGCgavjIQ6X8tCOp3yZbGpy0VxpAe+77TszTfRd5RJSVO/HTnifJ"
    "pXgCSUdUue1v6h0EIBYYI1BD1DlD+C0CR8e6OewpusjZ4uBl9FyJvnhvQl+q5rv1ixrcpCumEPo5MJSgM9ehVsNPfUM669WuMyVWQLCz"
    "pu9GhglF2PE="
)


def test_wechats_example_is_signed_and_decrypted_as_wechat_says() -> None:
    assert is_signed(SIGNATURE, TOKEN, TIMESTAMP, NONCE, ENCRYPTED)
    message = MessageKey(AES_KEY).decrypt(ENCRYPTED, SAMPLE_APP).decode()
    assert "<FromUserName><![CDATA[oyORnuP8q7ou2gfYjqLzSIWZf0rs]]></FromUserName>" in message
    assert "<Content><![CDATA[abcdteT]]></Content>" in message


def test_an_address_is_signed_as_in_wechats_documentation() -> None:
    assert signature_of("AAAAA", "1714036504", "1514711492") == "f464b24fc39322e44b38aa78f5edd27bd1441696"


@pytest.mark.parametrize("length", [0, 1, 11, 12, 13, 31, 32, 33, 1_000])
def test_what_another_implementation_encrypts_is_read_whatever_its_length(length: int) -> None:
    message = bytes(range(256)) * 4
    assert MessageKey(AES_KEY).decrypt(encrypted(message[:length], AES_KEY, APP), APP) == message[:length]


def test_both_implementations_sign_alike() -> None:
    assert signature_of("b", "a", "c") == signed("c", "b", "a")


def test_a_message_for_another_appid_is_not_read() -> None:
    with pytest.raises(UnreadableMessageError):
        MessageKey(AES_KEY).decrypt(ENCRYPTED, APP)


def test_a_message_of_another_key_is_not_read() -> None:
    with pytest.raises(UnreadableMessageError):
        MessageKey(AES_KEY[::-1]).decrypt(ENCRYPTED, SAMPLE_APP)


def test_no_damaged_message_is_read_and_none_raises_anything_else() -> None:
    key, content = MessageKey(AES_KEY), base64.b64decode(ENCRYPTED)
    for place in range(0, len(content), 7):
        damaged = bytearray(content)
        damaged[place] ^= 1
        # The first random bytes mean nothing, but the block behind them changes with them.
        try:
            assert key.decrypt(base64.b64encode(damaged).decode(), SAMPLE_APP)
        except UnreadableMessageError:
            continue


def test_a_padding_that_is_none_is_refused() -> None:
    key = base64.b64decode(f"{AES_KEY}=")
    content = bytes(16) + (2).to_bytes(4, "big") + b"hi" + APP.encode()
    count = -len(content) % 32
    for last in (count, 0, 33):
        padded = content + b"x" * (count - 1) + bytes([last])
        encryptor = Cipher(AES(key), CBC(key[:16])).encryptor()
        text = base64.b64encode(encryptor.update(padded) + encryptor.finalize()).decode()
        with pytest.raises(UnreadableMessageError):
            MessageKey(AES_KEY).decrypt(text, APP)


@pytest.mark.parametrize("text", ["", "no base64!", "QUFB", base64.b64encode(bytes(32)).decode(), "ü"])
def test_what_is_no_message_is_refused(text: str) -> None:
    with pytest.raises(UnreadableMessageError):
        MessageKey(AES_KEY).decrypt(text, APP)


@pytest.mark.parametrize("text", ["", AES_KEY[:-1], f"{AES_KEY}a", f"{AES_KEY[:-1]}=", f"{AES_KEY}\n"])
def test_what_is_no_key_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="EncodingAESKey"):
        MessageKey(text)


def test_a_signature_that_is_no_ascii_is_none() -> None:
    assert not is_signed("ß", TOKEN)
