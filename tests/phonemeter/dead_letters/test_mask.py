"""Nothing that is shown of a letter holds a phone number or orders a terminal about."""

import json

import pytest

from metering.printable_text import printable
from phonemeter.dead_letters.mask import masked_bytes, masked_text, without_phone_numbers
from tests.phonemeter.dead_letters.letters import PHONE, encoded, letter, tap


@pytest.mark.parametrize(
    "written",
    [PHONE, "+86 138-0013-8000", "(0086) 138 0013 8000", "138.0013.8000", f"tel{PHONE}x", f"{PHONE} 2026"],
)
def test_a_phone_number_is_masked_however_it_is_written(written: str) -> None:
    assert "0013" not in without_phone_numbers(f'{{"note":"call {written}!"}}')
    assert "8000" not in without_phone_numbers(f'{{"note":"call {written}!"}}')


@pytest.mark.parametrize(
    "text", ["wxfb1f3d218d111092", "2026-10-17T10:05:03.120Z", "1790000000000", "300000000"]
)
def test_other_numbers_stay(text: str) -> None:
    assert without_phone_numbers(text) == text


def test_every_digit_is_masked_where_the_reason_is_a_phone_number() -> None:
    found = letter(encoded(tap(client=PHONE, note="１３８ 0013")))
    assert found.reason == "phone_number"
    shown = masked_bytes(found, found.value or b"")
    assert not any(character.isdigit() for character in shown)
    assert '"client":"***********"' in shown


def test_what_is_no_text_is_shown_in_hexadecimal_with_its_phone_number_masked() -> None:
    found = letter(b"\xff" + PHONE.encode())
    assert found.reason == "not_utf8"
    assert masked_bytes(found, found.value or b"") == "ff2a 2a2a 2a2a 2a2a 2a2a 2a2a"


OPENID = "oGZUI0egBJY1zhBYw2KhdUfwVJJE"


@pytest.mark.parametrize(
    "note", [f"店{PHONE}", PHONE.replace("0013", "\u200b0013"), "１３８００１３８０００", OPENID]
)
@pytest.mark.parametrize("ensure_ascii", [False, True])
def test_nobody_is_shown_in_a_letter_whose_reason_is_another_one(note: str, *, ensure_ascii: bool) -> None:
    value = json.dumps({"note": note}, ensure_ascii=ensure_ascii).encode()
    found = letter(value)
    assert found.reason != "phone_number"
    shown = masked_bytes(found, value)
    assert "8000" not in shown.translate(str.maketrans("０１３８", "0138"))
    assert OPENID[5:] not in shown


def test_what_json_must_escape_stays_escaped() -> None:
    value = b'{"note":"a\\u0022b\\u005cc\\u000ad\\ud800"}'
    assert masked_bytes(letter(value), value) == value.decode()


def test_an_openid_is_masked_where_it_is_the_reason() -> None:
    found = letter(encoded(tap(client=OPENID)))
    assert found.reason == "phone_number"
    assert OPENID[5:9] not in masked_bytes(found, found.value or b"")


def test_control_characters_are_written_out() -> None:
    assert printable("a\x1b[2Jb\u202e\n\tc") == "a\\x1b[2Jb\\u202e\n\tc"
    assert masked_text(letter(b"{"), "\x07") == "\\x07"
