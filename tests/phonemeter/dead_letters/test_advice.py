"""Each letter says what would make it an event."""

import pytest

from phonemeter.dead_letters.advice import advice_for
from tests.phonemeter.dead_letters.letters import PHONE, encoded, held_letter, letter, tap


def test_what_is_beyond_the_horizon_is_counted_by_a_retry() -> None:
    assert "retry counts it unless the ledger in ClickHouse has it" in advice_for(held_letter())


@pytest.mark.parametrize(
    ("value", "key", "told"),
    [
        (b"x" * 70_000, b"wx", "at most 65,536 bytes"),
        (b"\xff", b"wx", "JSON in UTF-8"),
        (b"{", b"wx", "one JSON object"),
        (None, b"wx", "one JSON object"),
        (
            encoded(tap() | {"type": "phone.authorisation.success"}),
            b"wx",
            "type=phone.authorization.succeeded.",
        ),
        (encoded(tap() | {"type": 5}), b"wx", "--set type="),
        (encoded(tap(capability="slow")), b"wx", "--set data.capability=VALUE"),
        (encoded({"type": "pack.refunded", **tap(), "data": {}}), b"wx", "--set data.capability=VALUE"),
        (encoded({name: value for name, value in tap().items() if name != "id"}), b"wx", "--set id=VALUE"),
        (encoded(tap() | {"time": "1970-01-01T00:00:00Z"}), b"wx", "--set time=TIME"),
        (encoded(tap()), None, "retry publishes it with its subject"),
        (encoded(tap()), b"another", "--set subject=APPID"),
        (encoded(tap(client=PHONE)), b"wx", "--unset FIELD"),
    ],
)
def test_advice_names_the_option_that_mends_it(value: bytes | None, key: bytes | None, told: str) -> None:
    assert told in advice_for(letter(value, key))
