"""Dead letters keep the original bytes, whatever these are."""

import pytest

from metering import dead_letters
from metering.dead_letters import DeadLetter


@pytest.mark.parametrize("value", [None, b"", b"{", bytes(range(256))])
def test_a_dead_letter_comes_back_as_it_was_written(value: bytes | None) -> None:
    letter = DeadLetter(
        topic="phone-events",
        partition=3,
        offset=17,
        recorded_at_ms=1_700_000_000_000,
        reason="not_json",
        sentence="The event is not a JSON object.",
        key=value,
        value=value,
    )
    assert dead_letters.decode(dead_letters.encode(letter)) == letter


@pytest.mark.parametrize("value", [b"", b"{}", b"[]", b'{"topic":7}', b"\xff"])
def test_what_is_no_dead_letter_is_an_error(value: bytes) -> None:
    with pytest.raises(ValueError, match="not a dead letter"):
        dead_letters.decode(value)
