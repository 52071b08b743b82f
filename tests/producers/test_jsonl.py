"""Lines of a stream: in bounded memory, as soon as they are there."""

import io
from collections.abc import Iterator

from hypothesis import given
from hypothesis import strategies as st

from metering.events import VALUE_BYTES_MAX
from producers.jsonl import Block, JsonLine, Read, read_blocks, read_lines, starting_at


def lines_of(data: bytes) -> list[JsonLine]:
    return list(read_lines(io.BytesIO(data).read1))


def in_pieces(pieces: list[bytes]) -> Read:
    """A stream that gives what it has piece by piece, as a pipe does."""
    left: Iterator[bytes] = iter([piece for piece in pieces if piece])
    return lambda _size: next(left, b"")


def test_lines_are_numbered_as_in_an_editor_and_empty_ones_are_passed_over() -> None:
    assert [(line.number, line.value) for line in lines_of(b"a\n\n  \r\nb\r\nc")] == [
        (1, b"a"),
        (4, b"b"),
        (5, b"c"),
    ]


def test_a_byte_order_mark_is_no_part_of_the_first_event() -> None:
    assert lines_of(b"\xef\xbb\xbf{}\n")[0].value == b"{}"


def test_a_line_of_exactly_the_limit_is_read_whole() -> None:
    longest = b"a" * VALUE_BYTES_MAX
    assert [line.value for line in lines_of(longest + b"\r\n" + longest)] == [longest, longest]


def test_a_line_beyond_the_limit_is_passed_over_and_the_next_one_read() -> None:
    endless = b"a" * (5 * VALUE_BYTES_MAX + 3)
    assert [(line.number, line.value) for line in lines_of(endless + b"\nb\n")] == [(1, None), (2, b"b")]


def test_a_short_event_before_a_mountain_of_spaces_is_still_read() -> None:
    assert lines_of(b"a" + b" " * (3 * VALUE_BYTES_MAX) + b"\nb")[0].value == b"a"


def test_what_comes_after_a_mountain_of_spaces_makes_the_line_too_long() -> None:
    padded = b"a" + b" " * (3 * VALUE_BYTES_MAX)
    assert [line.value for line in lines_of(padded + b"b\nc")] == [None, b"c"]


@given(st.lists(st.binary(max_size=40).filter(lambda value: b"\n" not in value and value.strip() == value)))
def test_every_line_that_holds_something_is_read_once(values: list[bytes]) -> None:
    data = b"\n".join(values)
    read = lines_of(b"\n" + data)
    assert [line.value for line in read] == [value for value in values if value]
    if values and values[-1]:
        assert read[-1].bytes_read == len(data) + 1


@given(
    st.lists(
        st.sampled_from([b"a", b"\n", b" ", b"b\nc", b"\r\n", b"\xef\xbb\xbf", b" " * 70_000, b"d" * 50_000])
    )
)
def test_the_lines_do_not_depend_on_how_they_arrive(pieces: list[bytes]) -> None:
    blocks = list(read_blocks(in_pieces(pieces)))
    lines = [
        JsonLine(number, value, 0)
        for block in blocks
        for number, value in enumerate(block.values, block.first)
    ]
    whole = lines_of(b"".join(pieces))
    assert [(line.number, line.value) for line in lines if line.value != b""] == [
        (line.number, line.value) for line in whole
    ]


def test_a_line_is_given_out_before_the_next_one_arrives() -> None:
    given_out: list[bytes | None] = []

    def read(size: int) -> bytes:
        del size
        if len(given_out) < 3:
            return b"line %d\n" % len(given_out)
        return b""

    for block in read_blocks(read):
        given_out += block.values
    assert given_out == [b"line 0", b"line 1", b"line 2"]


def test_what_was_read_before_can_be_passed_over() -> None:
    blocks = [Block(1, [b"a", b"b"], 4), Block(3, [b"c", b"d", b"e"], 10)]
    assert list(starting_at(iter(blocks), 4)) == [Block(4, [b"d", b"e"], 10)]
    assert list(starting_at(iter(blocks), 1)) == blocks
    assert list(starting_at(iter(blocks), 6)) == []
