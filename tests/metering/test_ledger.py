"""Ledger records: every entry in order, and none larger than the broker accepts."""

import msgspec
import pytest

from metering import ledger
from metering.ledger import COLUMNS, RECORD_BYTES_MAX, Entry, decode_rows, encode_records
from tests.metering.building import APP


def entry(offset: int, line: int = 0, **fields: object) -> Entry:
    return Entry(offset, line, "charge", 1_700_000_000_000, 1_700_000_000_000, APP, "quick", **fields)  # type: ignore[arg-type]  # each call names fields of Entry with their types


def largest(offset: int) -> Entry:
    """The entries of an event with every text at its limit, in Chinese."""
    return entry(
        offset,
        event_id="次" * 128,
        pack_id="次" * 128,
        scene="次" * 64,
        store="次" * 64,
        env="次" * 64,
        client="次" * 128,
        source="次" * 256,
    )


def test_what_a_line_does_not_say_is_nothing() -> None:
    said = msgspec.structs.asdict(entry(7))
    assert {name for name, value in said.items() if value not in {0, ""}} == {
        "offset",
        "kind",
        "time_ms",
        "recorded_at_ms",
        "appid",
        "capability",
    }


def test_no_entries_make_no_record() -> None:
    assert encode_records(0, []) == []


def test_a_record_carries_its_place_and_its_columns() -> None:
    (value,) = encode_records(3, [entry(7), entry(7, 1), entry(9)])
    rows = decode_rows(value)
    assert (rows.format, rows.partition, rows.first_offset, rows.last_offset) == (1, 3, 7, 9)
    assert rows.columns == COLUMNS
    assert rows.rows == msgspec.to_builtins([entry(7), entry(7, 1), entry(9)])


def test_a_record_has_a_limited_number_of_lines() -> None:
    entries = [entry(offset) for offset in range(ledger.RECORD_ENTRIES_MAX + 1)]
    assert [len(decode_rows(value).rows) for value in encode_records(0, entries)] == [2_000, 1]


def test_a_record_of_the_longest_lines_still_fits_the_broker() -> None:
    entries = [largest(offset) for offset in range(1_500)]
    values = encode_records(0, entries)
    assert max(map(len, values)) <= RECORD_BYTES_MAX
    assert [row for value in values for row in decode_rows(value).rows] == msgspec.to_builtins(entries)


def test_lines_of_one_event_may_be_cut_into_several_records() -> None:
    values = encode_records(0, [entry(7, line) for line in range(2_500)])
    assert [(rows.first_offset, rows.last_offset) for rows in map(decode_rows, values)] == [(7, 7), (7, 7)]


@pytest.mark.parametrize("value", [b"", b"[]", b"{}", b'{"format":1}', b"\xff"])
def test_what_is_no_ledger_record_is_an_error(value: bytes) -> None:
    with pytest.raises(ValueError, match="not a ledger record"):
        decode_rows(value)


def test_a_record_of_other_columns_is_an_error_that_names_them() -> None:
    (value,) = encode_records(0, [entry(7)])
    with pytest.raises(ValueError, match="has columns"):
        decode_rows(value.replace(b'"errno"', b'"error"'))
