"""Finding the end of a block, with blocks that the engine itself wrote."""

# ruff: noqa: S311, S608 - table names are the tests' own; seeded on purpose

import random
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from phonemeter.engine import frames
from phonemeter.engine.blocks import BLOCK_INFO, PLAIN, WIRE, Layout, change_layout, copy_block, read_head
from phonemeter.engine.column_types import column_of_type
from phonemeter.engine.errors import EngineError
from phonemeter.engine.wire_values import Cursor, EndOfInputError, text, varint
from tests.phonemeter.engine.harness import EngineProcess
from tests.phonemeter.engine.raw import HELLO, query, talk

SEED = 7
EMPTY = BLOCK_INFO + varint(0) + varint(0)
LEAVES = (
    "Int8", "UInt16", "Int32", "UInt64", "Int128", "UInt256", "Float32", "Float64", "Bool", "String",
    "FixedString(3)", "Date", "Date32", "DateTime", "DateTime64(6, 'UTC')", "UUID", "IPv4", "IPv6",
    "Enum8('a, (b' = 1, 'c''d' = 2)",
    "Decimal(9, 2)", "Decimal(18, 3)", "Decimal(38, 4)", "Decimal(76, 5)", "Point", "Ring", "MultiPoint",
    "MultiLineString", "MultiPolygon", "LowCardinality(String)",
)  # fmt: skip


def random_type(chosen: random.Random, depth: int = 0) -> str:
    simple = chosen.choice(LEAVES)
    if depth == 3:
        return simple
    inner, other = random_type(chosen, depth + 1), random_type(chosen, depth + 1)
    nested = (
        f"Array({inner})",
        f"Map(LowCardinality(String), {inner})",
        f"Tuple(`a b` {inner}, c {other})",
        f"Tuple({inner}, {other})",
        "LowCardinality(Nullable(String))",
        f"Nullable({chosen.choice(LEAVES[:-6])})",
    )
    return chosen.choice([simple, *nested])


def in_pieces(data: bytes, sizes: Callable[[], int]) -> Cursor:
    rest = data

    def more() -> bytes:
        nonlocal rest
        size = sizes()
        part, rest = rest[:size], rest[size:]
        return part

    return Cursor(more)


@pytest.mark.parametrize("seed", range(12))
def test_blocks_of_random_types_are_walked_to_their_end_and_inserted_back(
    engine: EngineProcess, table: str, seed: int
) -> None:
    chosen = random.Random(SEED + seed)
    structure = ", ".join(f"c{i} {random_type(chosen)}" for i in range(8))
    rows = chosen.choice([1, 7, 300])
    quoted = structure.replace("\\", "\\\\").replace("'", "\\'")
    select = f"SELECT * FROM generateRandom('{quoted}', {seed}, 8, 3) LIMIT {rows}"
    block = engine.curl(f"{select} FORMAT Native")
    cursor = in_pieces(block + b"what follows", lambda: chosen.choice([1, 2, 3, 100, 5_000]))
    parts = list[bytes]()
    head = copy_block(cursor, parts.append, PLAIN, PLAIN)
    assert (b"".join(parts), head.rows) == (block, rows)
    assert cursor.take(12) == b"what follows"
    engine.curl(f"CREATE TABLE {table} ({structure}) ENGINE = Memory")
    packed = bool(seed % 2)
    begin = HELLO + query(f"INSERT INTO {table} VALUES", compressed=packed)
    pack = frames.pack if packed else bytes
    packets = [varint(2) + text("") + pack(part) for part in (EMPTY, BLOCK_INFO + block, EMPTY)]
    talk(engine, begin + b"".join(packets))
    total = "count(), sum(cityHash64(*)) FROM"
    assert engine.curl(f"SELECT {total} {table}") == engine.curl(f"SELECT {total} ({select})")


BLOCK = b"".join(
    [
        varint(4) + varint(3),
        text("s") + text("String") + text("") + text("x" * 200) + text("é"),
        text("n") + text("Nullable(UInt16)") + b"\0\1\0" + b"\1\0\2\0\3\0",
        text("a") + text("Array(String)") + bytes(8) + (b"\2" + bytes(7)) * 2 + text("p") + text("q"),
        text("l") + text("LowCardinality(String)") + b"\x01" + bytes(7) + b"\0\x02" + bytes(6)
        + b"\x02" + bytes(7) + text("") + text("k") + b"\x03" + bytes(7) + b"\0\1\0",
    ]
)  # fmt: skip


@given(sizes=st.lists(st.integers(1, 60), min_size=1, max_size=30))
def test_a_block_is_copied_alike_however_its_bytes_arrive(sizes: list[int]) -> None:
    turns = iter(sizes * len(BLOCK))
    parts = list[bytes]()
    copy_block(in_pieces(BLOCK, lambda: next(turns)), parts.append, PLAIN, PLAIN)
    assert b"".join(parts) == BLOCK


@given(cut=st.integers(0, len(BLOCK) - 1))
def test_a_block_that_ends_too_early_is_never_taken_for_a_whole_one(cut: int) -> None:
    with pytest.raises(EndOfInputError):
        read_head(BLOCK[:cut])


def test_info_and_flags_are_added_where_they_belong() -> None:
    assert change_layout(BLOCK, WIRE) == BLOCK_INFO + BLOCK
    flagged = change_layout(BLOCK + BLOCK, Layout(info=False, flags=True))
    assert len(flagged) == 2 * (len(BLOCK) + 4)
    assert text("s") + text("String") + b"\0" + text("") in flagged


@pytest.mark.parametrize(
    "type_name",
    [
        "", "Nope", "Variant(Int8, String)", "Dynamic", "JSON", "AggregateFunction(sum, Int8)", "Tuple()",
        "Array()",
        "Decimal(x, 1)", "FixedString(0)", "Array(Int8", "Int8)", "Map(Int8)",
    ],
)  # fmt: skip
def test_types_without_a_known_end_are_refused(type_name: str) -> None:
    with pytest.raises(EngineError, match="cannot be sent this way"):
        column_of_type(type_name)


@pytest.mark.parametrize(
    ("digits", "size"),
    [(1, 4), (9, 4), (10, 8), (18, 8), (19, 16), (38, 16), (39, 32), (76, 32)],
)
def test_a_decimal_is_as_wide_as_its_digits_need(digits: int, size: int) -> None:
    block = varint(1) + varint(1) + text("d") + text(f"Decimal({digits}, 2)") + bytes(size)
    assert read_head(block).rows == 1
    with pytest.raises(EndOfInputError):
        read_head(block[:-1])
    cursor = in_pieces(block + b"next", lambda: 7)
    copy_block(cursor, len, PLAIN, PLAIN)
    assert cursor.take(4) == b"next"


def number(value: int) -> bytes:
    return value.to_bytes(8, "little")


def words(flags: int = 0x200, indexes: int = 3, version: int = 1) -> bytes:
    """A block of three rows with one column that claims a number of indexes of 1 << (flags & 0xFF) bytes."""
    head = varint(1) + varint(3) + text("l") + text("LowCardinality(String)") + number(version)
    keys = number(2) + text("") + text("k") if flags & 0x200 else b""
    return head + number(flags) + keys + number(indexes) + bytes(indexes << min(flags & 0xFF, 3))


@pytest.mark.parametrize("width", range(4))
def test_the_indexes_of_a_dictionary_have_any_of_four_widths(width: int) -> None:
    assert read_head(words(0x200 | width)).rows == 3


@pytest.mark.parametrize(
    ("block", "sentence"),
    [
        (words(indexes=4), "more indexes than rows, or none"),
        (words(indexes=0), "more indexes than rows, or none"),
        (words(0x200 | 4), "unknown flags"),
        (words(0x100), "unknown flags"),
        (words(version=2), "unknown version"),
    ],
)
def test_a_dictionary_that_cannot_be_is_refused(block: bytes, sentence: str) -> None:
    with pytest.raises(EngineError, match=sentence):
        read_head(block + bytes(64))
