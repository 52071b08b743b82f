"""Dead letters keep the original bytes, up to the limits of a record."""

import json
from hashlib import sha256

import pytest
from msgspec.structs import replace

from metering import dead_letters
from metering.content_modes import Header
from metering.dead_letters import (
    HEADERS_BYTES_KEPT,
    HEADERS_KEPT,
    KEY_BYTES_KEPT,
    RECORD_BYTES_MAX,
    VALUE_BYTES_KEPT,
    DeadLetter,
    OriginalSizes,
)
from metering.partition import meter
from metering.partition_state import PartitionState
from metering.records import Record
from metering.rules import Rules

LETTER = DeadLetter(
    topic="phone-events",
    partition=3,
    offset=17,
    recorded_at_ms=1_700_000_000_000,
    reason="not_json",
    sentence="The event is not a JSON object.",
    key=None,
    value=b"{",
)


@pytest.mark.parametrize("value", [None, b"", b"{", bytes(range(256))])
def test_a_dead_letter_comes_back_as_it_was_written(value: bytes | None) -> None:
    letter = replace(LETTER, key=value, value=value)
    assert dead_letters.decode(dead_letters.encode(letter)) == letter


def test_a_letter_that_holds_the_whole_record_says_nothing_of_what_was_cut() -> None:
    assert json.loads(dead_letters.encode(LETTER)) == {
        "topic": "phone-events",
        "partition": 3,
        "offset": 17,
        "recorded_at_ms": 1_700_000_000_000,
        "reason": "not_json",
        "sentence": "The event is not a JSON object.",
        "key": None,
        "value": "ew==",
    }


@pytest.mark.parametrize("value", [b"", b"{}", b"[]", b'{"topic":7}', b"\xff"])
def test_what_is_no_dead_letter_is_an_error(value: bytes) -> None:
    with pytest.raises(ValueError, match="not a dead letter"):
        dead_letters.decode(value)


def letter_of(
    key: bytes | None, value: bytes | None, headers: tuple[tuple[str, bytes | None], ...] = ()
) -> DeadLetter:
    """The dead letter of a record."""
    (letter,) = meter(PartitionState(3, 17), [Record(17, 1_000, key, value, headers)], Rules()).dead_letters
    return letter


def test_a_letter_that_could_be_an_event_is_whole() -> None:
    headers = (("traceparent", b"00-4b"), ("empty", b""), ("none", None))
    letter = letter_of(b"k" * KEY_BYTES_KEPT, b"x" * VALUE_BYTES_KEPT, headers)
    assert (len(letter.key or b""), len(letter.value or b"")) == (KEY_BYTES_KEPT, VALUE_BYTES_KEPT)
    assert letter.headers == headers
    assert letter.original is None
    assert dead_letters.decode(dead_letters.encode(letter)) == letter


@pytest.mark.parametrize(
    ("key", "value", "headers"),
    [
        (b"app", b"x" * 20_000_000, ()),
        (b"\x00" * 3_000_000, b"{", ()),
        (None, b"{", (("h", b"\xff" * 3_000_000),)),
        (None, b"{", (("\x01" * 3_000_000, None),)),
        (None, b"{", (("", None),) * 100_000),
        (b"\x00" * 5_000, b"\xff" * 100_000, (("\x01" * 163, b""),) * 101),
    ],
    ids=["value", "key", "header", "header name", "headers", "all"],
)
def test_a_letter_fits_into_a_record_whatever_it_is_made_of(
    key: bytes | None, value: bytes, headers: tuple[Header, ...]
) -> None:
    letter = letter_of(key, value, headers)
    encoded = dead_letters.encode(letter)
    assert len(encoded) <= RECORD_BYTES_MAX
    assert letter.original == OriginalSizes(
        value_bytes=len(value),
        key_bytes=len(key or b""),
        headers_bytes=sum(len(name) + len(content or b"") for name, content in headers),
        value_sha256=sha256(value).hexdigest(),
    )
    assert value.startswith(letter.value or b"?")
    assert len(letter.headers) <= HEADERS_KEPT
    assert sum(len(name) + len(content or b"") for name, content in letter.headers) <= HEADERS_BYTES_KEPT
    assert dead_letters.decode(encoded) == letter
