"""The walker that finds where a block ends, against blocks that the engine itself wrote."""

# ruff: noqa: S311, S608 - table names are the tests' own; seeded on purpose

import random
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from phonemeter.engine import frames
from phonemeter.engine.blocks import (
    BLOCK_INFO,
    PLAIN,
    WIRE,
    Cursor,
    EndOfInputError,
    Layout,
    column,
    copy_block,
    head_of,
    relaid,
    text,
    varint,
)
from phonemeter.engine.errors import EngineError
from tests.phonemeter.engine.harness import EngineProcess
from tests.phonemeter.engine.raw import HELLO, query, talk

SEED = 7
EMPTY = BLOCK_INFO + varint(0) + varint(0)
LEAVES = (
    "Int8", "UInt16", "Int32", "UInt64", "Int128", "UInt256", "Float32", "Float64", "Bool", "String",
    "FixedString(3)", "Date", "Date32", "DateTime", "DateTime64(6, 'UTC')", "UUID", "IPv4", "IPv6",
    "Enum8('a, (b' = 1, 'c''d' = 2)",
    "Decimal(9, 2)", "Decimal(18, 3)", "Decimal(38, 4)", "Decimal(76, 5)", "LowCardinality(String)",
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
        f"Nullable({chosen.choice(LEAVES[:-1])})",
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


@given(sizes=st.lists(st.integers(1, 60), min_size=1))
def test_a_block_is_copied_alike_however_its_bytes_arrive(sizes: list[int]) -> None:
    turns = iter(sizes * len(BLOCK))
    parts = list[bytes]()
    copy_block(in_pieces(BLOCK, lambda: next(turns)), parts.append, PLAIN, PLAIN)
    assert b"".join(parts) == BLOCK


@given(cut=st.integers(0, len(BLOCK) - 1))
def test_a_block_that_ends_too_early_is_never_taken_for_a_whole_one(cut: int) -> None:
    with pytest.raises(EndOfInputError):
        head_of(BLOCK[:cut])


def test_info_and_flags_are_added_where_they_belong() -> None:
    assert relaid(BLOCK, WIRE) == BLOCK_INFO + BLOCK
    flagged = relaid(BLOCK + BLOCK, Layout(info=False, flags=True))
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
        column(type_name)
