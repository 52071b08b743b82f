"""ClickHouse's compressed frames: damage is detected."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from phonemeter.engine import frames
from phonemeter.engine.errors import EngineError
from phonemeter.engine.wire_values import cursor_over

DATA = bytes(range(256)) * 40


def unpacked(frame: bytes) -> bytes:
    cursor = cursor_over(frame)
    parts = []
    while cursor.ahead():
        parts.append(frames.unpack(cursor.take))
    return b"".join(parts)


def plain(data: bytes) -> bytes:
    """An uncompressed frame: only its checksum protects the data."""
    body = frames.HEADER.pack(frames.METHOD_NONE, len(data) + frames.HEADER.size, len(data)) + data
    return frames._checksum(body) + body


@given(st.binary(max_size=3_000))
def test_what_was_packed_is_unpacked(data: bytes) -> None:
    assert unpacked(frames.pack(data)) == data


def test_more_than_a_frame_holds_is_several() -> None:
    data = bytes(frames.MAX_PACKED_BYTES) + b"x"
    assert unpacked(frames.pack(data)) == data
    assert unpacked(plain(DATA) + frames.pack(DATA)) == DATA + DATA


@pytest.mark.parametrize("frame", [plain(DATA), frames.pack(DATA)], ids=["plain", "lz4"])
@given(place=st.integers(0), bit=st.integers(0, 7))
def test_a_bit_that_turned_over_is_noticed_wherever_it_is(frame: bytes, place: int, bit: int) -> None:
    place %= len(frame)
    damaged = bytearray(frame)
    damaged[place] ^= 1 << bit
    with pytest.raises((EngineError, EOFError)):
        unpacked(bytes(damaged))


def test_a_turned_bit_of_plain_data_does_not_match_the_checksum() -> None:
    damaged = bytearray(plain(DATA))
    damaged[-1] ^= 1
    with pytest.raises(EngineError, match="does not match its checksum"):
        unpacked(bytes(damaged))
