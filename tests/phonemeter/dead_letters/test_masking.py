"""Nothing that is shown of a letter holds a phone number or orders a terminal about."""

import pytest

from phonemeter.dead_letters.masking import printable, shown_bytes, shown_text, without_phone_numbers
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
    shown = shown_bytes(found, found.value or b"")
    assert not any(character.isdigit() for character in shown)
    assert '"client":"***********"' in shown


def test_what_is_no_text_is_shown_in_hexadecimal_with_its_phone_number_masked() -> None:
    found = letter(b"\xff" + PHONE.encode())
    assert found.reason == "not_utf8"
    assert shown_bytes(found, found.value or b"") == "ff2a 2a2a 2a2a 2a2a 2a2a 2a2a"


def test_control_characters_are_written_out() -> None:
    assert printable("a\x1b[2Jb\u202e\n\tc") == "a\\x1b[2Jb\\u202e\n\tc"
    assert shown_text(letter(b"{"), "\x07") == "\\x07"
