"""The signatures and ciphers of WeChat Pay: each that is believed, and each refusal with its reason."""

import json
import time
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from dashboards.wechat_pay.answers import RefundNotice, Transaction
from dashboards.wechat_pay.errors import NoticeRefusedError, WechatPayFileError
from dashboards.wechat_pay.key_files import read_notice_key, read_platform_keys, read_private_key
from dashboards.wechat_pay.notices import SIGNATURES_MAX, NoticeReader, SignatureMemory
from dashboards.wechat_pay.signatures import AGE_MAX_S, PlatformKeys
from tests.dashboards.wechat_pay.keys import (
    APPID,
    KEY_ID,
    MCHID,
    NOTICE_KEY,
    certificate,
    certificate_pem,
    key_files,
    key_of,
    public_pem,
)
from tests.dashboards.wechat_pay.stand_in import notice_body, sealed, signed

BODY = '{"summary": "支付成功"}'.encode()
SERIAL = "5157F09EFDC096DE15EBE81A47057A7232F1B8E1"


def platform(ahead_s: float = 0) -> PlatformKeys:
    return PlatformKeys(key_of("wechat").public_key(), KEY_ID, [], lambda: time.time() + ahead_s)


def lower(headers: Mapping[str, str], **changes: str) -> dict[str, str]:
    changed = {f"wechatpay-{name.replace('_', '-')}": value for name, value in changes.items()}
    return {**{name.lower(): value for name, value in headers.items()}, **changed}


def fault(headers: Mapping[str, str], body: bytes = BODY, keys: PlatformKeys | None = None) -> str:
    """The fault that is found in what was signed; empty if there is none."""
    try:
        (keys or platform()).verify(headers, body)
    except NoticeRefusedError as error:
        return error.fault
    return ""


def test_what_wechat_pay_has_signed_is_believed() -> None:
    assert fault(lower(signed(BODY))) == ""


def test_a_changed_body_time_or_nonce_is_forged() -> None:
    assert fault(lower(signed(BODY)), BODY + b" ") == "forged"
    assert fault(lower(signed(BODY), nonce="another")) == "forged"
    assert fault(lower(signed(BODY), timestamp=str(int(time.time()) + 1))) == "forged"
    assert fault(lower(signed(BODY, key="stranger"))) == "forged"


@pytest.mark.parametrize("given", ["AAAA", "not base64!", "é", "A" * 1_000])
def test_a_signature_that_is_none_is_forged(given: str) -> None:
    assert fault(lower(signed(BODY), signature=given)) == "forged"


def test_the_falsified_signature_by_which_wechat_pay_tries_merchants_is_told_apart() -> None:
    assert fault(lower(signed(BODY), signature="WECHATPAY/SIGNTEST/AbC=")) == "signature_test"


@pytest.mark.parametrize("name", ["timestamp", "nonce", "signature", "serial"])
def test_without_one_of_its_headers_it_is_unsigned(name: str) -> None:
    headers = lower(signed(BODY))
    assert fault({**headers, f"wechatpay-{name}": ""}) == "unsigned"
    assert fault({**headers, f"wechatpay-{name}": "1" * 1_025}) == "unsigned"
    del headers[f"wechatpay-{name}"]
    assert fault(headers) == "unsigned"


def test_another_algorithm_is_unsigned() -> None:
    assert fault(lower(signed(BODY), signature_type="WECHATPAY2-SM2-WITH-SM3")) == "unsigned"


@pytest.mark.parametrize("age_s", [AGE_MAX_S + 60, -AGE_MAX_S - 60])
def test_what_was_signed_long_ago_or_ahead_of_the_clock_is_stale(age_s: float) -> None:
    assert fault(lower(signed(BODY, age_s=age_s))) == "stale"


@pytest.mark.parametrize("age_s", [AGE_MAX_S - 60, -AGE_MAX_S + 60])
def test_within_five_minutes_it_is_timely(age_s: float) -> None:
    assert fault(lower(signed(BODY, age_s=age_s))) == ""


@pytest.mark.parametrize("given", ["yesterday", "-1", "1.5", "٣", "1" * 13])
def test_a_time_that_is_no_count_of_seconds_is_stale(given: str) -> None:
    assert fault(lower(signed(BODY), timestamp=given)) == "stale"


@pytest.mark.parametrize("given", ["PUB_KEY_ID_1", "0x12", "ZZ", SERIAL])
def test_a_serial_that_is_not_known_is_refused_without_asking_anybody(given: str) -> None:
    assert fault(lower(signed(BODY, serial=given))) == "unknown_serial"


def test_a_platform_certificate_is_believed_while_it_is_valid() -> None:
    begin = datetime.now(UTC) - timedelta(days=10)
    headers = lower(signed(BODY, serial=SERIAL))
    valid = PlatformKeys(None, "", [certificate("wechat", begin, 20)], time.time)
    assert fault(headers, keys=valid) == ""
    assert fault(lower(headers, serial=SERIAL.lower()), keys=valid) == ""
    expired = PlatformKeys(None, "", [certificate("wechat", begin, 5)], time.time)
    assert fault(headers, keys=expired) == "unknown_serial"
    assert fault(lower(signed(BODY)), keys=valid) == "unknown_serial"


def test_a_signature_is_remembered_for_as_long_as_it_is_timely() -> None:
    now_s = 1_000.0
    memory = SignatureMemory(lambda: now_s)
    memory.refuse_known("a")
    memory.add("a")
    with pytest.raises(NoticeRefusedError, match="replayed"):
        memory.refuse_known("a")
    memory.refuse_known("b")
    now_s += 2 * AGE_MAX_S
    memory.refuse_known("a")


def test_the_memory_of_signatures_is_bounded() -> None:
    now_s = 1_000.0
    memory = SignatureMemory(lambda: now_s)
    for number in range(SIGNATURES_MAX):
        memory.add(str(number))
    with pytest.raises(NoticeRefusedError, match="replayed"):
        memory.refuse_known("new")
    now_s += 2 * AGE_MAX_S
    memory.refuse_known("new")


TRANSACTION = {
    "mchid": MCHID,
    "appid": APPID,
    "out_trade_no": "DD2026101700000000001",
    "trade_state": "SUCCESS",
    "transaction_id": "42",
    "success_time": "2026-10-17T18:05:03+08:00",
    "amount": {"total": 750, "currency": "CNY"},
}


def read(body: bytes) -> Transaction | RefundNotice | None:
    return NoticeReader(platform(), NOTICE_KEY.encode(), MCHID, APPID).read(body)


def refused(body: bytes) -> str:
    with pytest.raises(NoticeRefusedError) as caught:
        read(body)
    return caught.value.fault


def test_a_notice_of_a_payment_is_decrypted() -> None:
    found = read(notice_body("TRANSACTION.SUCCESS", sealed(TRANSACTION, "transaction")))
    assert isinstance(found, Transaction)
    assert (found.out_trade_no, found.transaction_id) == ("DD2026101700000000001", "42")


def test_a_notice_about_something_else_is_left_alone() -> None:
    assert read(notice_body("PAYSCORE.USER_PAID", sealed({"a": 1}, "payscore"))) is None


def test_a_notice_to_another_merchant_or_app_is_refused() -> None:
    for field, reason in (("mchid", "other_merchant"), ("appid", "other_app")):
        changed = {**TRANSACTION, field: "wx0000000000000000"}
        assert refused(notice_body("TRANSACTION.SUCCESS", sealed(changed, "transaction"))) == reason
    refund = {
        "mchid": "1",
        "out_refund_no": "RT1",
        "out_trade_no": "DD1",
        "transaction_id": "42",
        "refund_status": "SUCCESS",
        "amount": {"total": 750, "refund": 750},
    }
    assert refused(notice_body("REFUND.SUCCESS", sealed(refund, "refund"))) == "other_merchant"


def test_what_can_not_be_decrypted_is_unreadable() -> None:
    right = sealed(TRANSACTION, "transaction")
    changes: list[dict[str, str]] = [
        {"ciphertext": right["ciphertext"][:-8] + "AAAAAAA="},
        {"ciphertext": "not base64!"},
        {"ciphertext": ""},
        {"nonce": "0" * 12},
        {"nonce": ""},
        {"nonce": "0" * 200},
        {"associated_data": "refund"},
        {"algorithm": "AEAD_SM4_GCM"},
    ]
    for change in changes:
        assert refused(notice_body("TRANSACTION.SUCCESS", {**right, **change})) == "unreadable", change
    other = sealed(TRANSACTION, "transaction", notice_key="another key of thirty-two bytes!")
    assert refused(notice_body("TRANSACTION.SUCCESS", other)) == "unreadable"


@pytest.mark.parametrize(
    "body", [b"", b"{}", b"[]", b"\xff", json.dumps({"event_type": "TRANSACTION.SUCCESS"}).encode()]
)
def test_a_body_that_is_no_notice_is_unreadable(body: bytes) -> None:
    assert refused(body) == "unreadable"


def test_an_amount_that_is_no_whole_number_is_unreadable() -> None:
    changed = {**TRANSACTION, "amount": {"total": 7.5, "currency": "CNY"}}
    assert refused(notice_body("TRANSACTION.SUCCESS", sealed(changed, "transaction"))) == "unreadable"


def test_the_files_are_read(tmp_path: Path) -> None:
    files = key_files(tmp_path)
    assert read_private_key(files.private_key, "a").key_size == 2_048
    assert read_notice_key(files.notice_key, "b") == NOTICE_KEY.encode()
    key, certificates = read_platform_keys(files.platform_keys, "c")
    assert key is not None
    assert certificates == []


def test_a_public_key_and_certificates_may_be_in_one_file(tmp_path: Path) -> None:
    path = tmp_path / "both.pem"
    path.write_bytes(public_pem("wechat") + certificate_pem("wechat", datetime.now(UTC), 5))
    key, certificates = read_platform_keys(path, "c")
    assert key is not None
    assert [f"{one.serial_number:X}" for one in certificates] == [SERIAL]


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o622])
def test_a_secret_that_others_may_read_is_refused_with_the_command_that_mends_it(
    tmp_path: Path, mode: int
) -> None:
    files = key_files(tmp_path)
    files.private_key.chmod(mode)
    files.notice_key.chmod(mode)
    with pytest.raises(WechatPayFileError) as caught:
        read_private_key(files.private_key, "wechat_pay_private_key")
    assert str(caught.value) == (
        f"Others may read the file {files.private_key} of wechat_pay_private_key: allow it to its owner "
        f"alone with chmod 600 {files.private_key}."
    )
    with pytest.raises(WechatPayFileError, match="Others may read"):
        read_notice_key(files.notice_key, "wechat_pay_notice_key")


def test_a_file_that_is_missing_or_wrong_is_told_in_a_sentence_without_its_content(tmp_path: Path) -> None:
    with pytest.raises(WechatPayFileError, match=r"can't be read \(No such file or directory\)"):
        read_private_key(tmp_path / "none", "x")
    with pytest.raises(WechatPayFileError, match=r"can't be read \(No such file or directory\)"):
        read_platform_keys(tmp_path / "none", "x")
    wrong = tmp_path / "wrong"
    wrong.touch(0o600)
    wrong.write_text("s3cret")
    for reader in (read_private_key, read_notice_key, read_platform_keys):
        with pytest.raises(WechatPayFileError) as caught:
            reader(wrong, "the_setting")
        assert "the_setting" in str(caught.value)
        assert "s3cret" not in str(caught.value)
    wrong.write_bytes(
        generate_private_key(SECP256R1()).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    )
    with pytest.raises(WechatPayFileError, match="not an RSA private key"):
        read_private_key(wrong, "x")
