"""Ledger records decoded into columns, or refused by name."""

import json
from typing import Any

import pytest

from metering.ledger import COLUMNS, Entry, encode_records
from sinks.entry_columns import concatenate, decode, shorten_ids
from sinks.errors import PoisonError
from sinks.position import BEFORE_ALL, Position
from tests.sinks.parts import lines


def record(**changes: Any) -> bytes:  # noqa: ANN401 - any JSON, that is the test
    (value,) = encode_records(3, lines(3, seed=1))
    return json.dumps(json.loads(value) | changes).encode()


def row(**changes: Any) -> list[Any]:  # noqa: ANN401 - any JSON, that is the test
    entry = dict(zip(COLUMNS, json.loads(record())["rows"][0], strict=True)) | changes
    return [entry[name] for name in COLUMNS]


def test_the_columns_of_a_record_are_those_of_its_entries() -> None:
    entries = lines(100, seed=4)
    (value,) = encode_records(3, entries)
    read = decode(value, 3)
    assert len(read) == 100
    for name, column in zip(COLUMNS, read.columns, strict=True):
        assert list(column) == [getattr(entry, name) for entry in entries]
    assert read.first == Position(entries[0].offset, entries[0].line)
    assert read.last == Position(entries[-1].offset, entries[-1].line)


def test_only_the_lines_after_a_position_are_left() -> None:
    entries = lines(50, seed=4)
    (value,) = encode_records(3, entries)
    read = decode(value, 3)
    for at in (0, 20, 49):
        rest = read.after(Position(entries[at].offset, entries[at].line))
        assert list(rest.columns[COLUMNS.index("event_id")]) == [
            entry.event_id for entry in entries[at + 1 :]
        ]
    assert read.after(BEFORE_ALL) is read


def test_pieces_are_put_together_in_their_order() -> None:
    entries = lines(50, seed=4)
    pieces = [decode(value, 0) for part in (entries[:20], entries[20:]) for value in encode_records(0, part)]
    for name, column in zip(COLUMNS, concatenate(pieces), strict=True):
        assert list(column) == [getattr(entry, name) for entry in entries]


def test_a_kind_that_only_a_newer_stream_knows_is_stored_like_any_other() -> None:
    read = decode(record(rows=[row(offset=1, kind="gift"), row(offset=2, capability="slow")]), 3)
    assert next(iter(read.columns[COLUMNS.index("kind")])) == "gift"
    assert list(read.columns[COLUMNS.index("capability")])[1] == "slow"


def test_a_record_without_lines_is_no_lines() -> None:
    assert len(decode(record(rows=[]), 3)) == 0


@pytest.mark.parametrize(
    ("value", "sentence"),
    [
        (None, "not a ledger record"),
        (b"", "not a ledger record"),
        (b"\xff\xfe", "not a ledger record"),
        (b'{"format":1}', "not a ledger record"),
        (record(format=2), "it has format 2, which a newer"),
        (record(columns=["offset"]), "it has columns"),
        (record(partition=4), "entries of source partition 4"),
        (record(rows=[[1, 2]]), "not a ledger record: Expected `array` of length 20"),
        (record(rows=[row(), row()[:-1]]), "not a ledger record: Expected `array` of length 20"),
        (record(rows=[row(offset=1), row(offset=1)]), "not in ascending order"),
        (record(rows=[row(offset=2), row(offset=1)]), "not in ascending order"),
        (record(rows=[row(appid=None)]), r"Expected `str`, got `null` - at `\$.rows\[0\]\[5\]`"),
        (record(rows=[row(calls=1.0)]), "Expected `int`"),
        (record(rows=[row(calls=True)]), "Expected `int`"),
        (record(rows=[row(offset=-1)]), "Expected `int` >= 0"),
        (record(rows=[row(line=2**32)]), "Expected `int` <= 4294967295"),
        (record(rows=[row(amount_micro_yuan=2**63)]), "Expected `int` <= 9223372036854775807"),
        (record(rows=[row(recorded_at_ms=2**62)]), "Expected `int` <= 4611686018427387903"),
    ],
)
def test_what_cannot_be_stored_is_refused_by_name(value: bytes | None, sentence: str) -> None:
    with pytest.raises(PoisonError, match=sentence):
        decode(value, 3)


def test_the_smallest_and_largest_numbers_can_be_stored() -> None:
    entry = Entry(2**63 - 1, 2**32 - 1, "charge", 0, 0, "wx1", calls=-(2**63), remaining=2**63 - 1)
    (value,) = encode_records(0, [entry])
    assert decode(value, 0).last == (2**63 - 1, 2**32 - 1)


def test_lines_up_to_a_position_and_those_after_it_are_all() -> None:
    entries = lines(50, seed=4)
    (value,) = encode_records(3, entries)
    read = decode(value, 3)
    for at in (BEFORE_ALL, *(Position(entry.offset, entry.line) for entry in entries), Position(10**9, 0)):
        assert len(read.through(at)) + len(read.after(at)) == 50
        assert not len(read.through(at)) or read.through(at).last <= at


HASH = "0123456789abcdef" * 4


def test_of_ids_that_are_a_sha256_the_first_digits_are_kept_and_other_ids_whole() -> None:
    others = ["", "order-1", HASH.upper(), HASH[:-1], HASH + "0", HASH[:-1] + "é", "x" * 64]
    assert shorten_ids([HASH, *others], 16) == [HASH[:16], *others]
    assert shorten_ids([HASH, HASH, ""], 32) == [HASH[:32], HASH[:32], ""]
    assert shorten_ids([HASH, "x"], 64) == [HASH, "x"]


def test_the_ids_of_a_record_are_kept_as_long_as_asked_for() -> None:
    value = record(rows=[row(offset=1, event_id=HASH), row(offset=2, event_id="taken")])
    for digits in (16, 64):
        assert list(decode(value, 3, digits).columns[COLUMNS.index("event_id")]) == [HASH[:digits], "taken"]
