"""Packed columns return their values, however they are cut and concatenated."""

from array import array

from hypothesis import given
from hypothesis import strategies as st

from sinks.native_columns import LowCardinalityColumn, StringColumn, concatenate_columns

TEXTS = st.lists(
    st.text(max_size=20)
    | st.sampled_from(["", "quick", "e7d524b842e625e2", "门店三", "x" * 127, "y" * 128, "z" * 20_000])
)


@given(TEXTS)
def test_texts_are_what_they_were_packed_from(values: list[str]) -> None:
    packed = StringColumn.of(values)
    assert list(packed) == values
    assert len(packed) == len(values)


@given(TEXTS)
def test_words_are_what_they_were_numbered_from(values: list[str]) -> None:
    words = LowCardinalityColumn.of(values)
    assert list(words) == values
    assert len(set(words.values)) == len(words.values) == len(set(values))


@given(TEXTS, st.integers(0, 10), st.integers(0, 10))
def test_a_part_of_a_column_is_that_part_of_its_values(values: list[str], start: int, end: int) -> None:
    assert list(StringColumn.of(values)[start:end]) == values[start:end]
    assert list(LowCardinalityColumn.of(values)[start:end]) == values[start:end]


@given(st.lists(TEXTS, min_size=1, max_size=4))
def test_pieces_put_together_are_their_values_one_after_the_other(pieces: list[list[str]]) -> None:
    values = [value for piece in pieces for value in piece]
    assert list(concatenate_columns([StringColumn.of(piece) for piece in pieces])) == values
    assert list(concatenate_columns([LowCardinalityColumn.of(piece) for piece in pieces])) == values
    numbers = [array("q", map(len, piece)) for piece in pieces]
    before = [piece[:] for piece in numbers]
    assert list(concatenate_columns(numbers)) == [len(value) for value in values]
    assert numbers == before


def test_more_different_words_than_a_byte_can_number_stay_apart() -> None:
    pieces = [[f"pack-{number}" for number in range(start, start + 300)] for start in (0, 200, 66_000)]
    many = [f"pack-{number}" for number in range(70_000)]
    for split in (pieces, [piece[:100] for piece in pieces], [many, many]):
        whole = concatenate_columns([LowCardinalityColumn.of(piece) for piece in split])
        assert list(whole) == [value for piece in split for value in piece]
