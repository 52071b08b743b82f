"""Files of blocks: what was written is read again, and damage is named."""

from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from metering.records import Record
from phonemeter.backup.block_file import (
    BLOCK_BYTES,
    BlockWriter,
    FilePart,
    read_blocks,
    read_records,
    verify_file,
)
from phonemeter.errors import OperationError

NAME = "phone-events/0/00000000000000000000.zst"

octets = st.none() | st.binary(max_size=40)
records = st.builds(
    Record,
    st.integers(0, 2**62),
    st.integers(0, 2**42),
    octets,
    octets,
    st.lists(st.tuples(st.text(max_size=9), octets), max_size=3).map(tuple),
)


def written(root: Path, *batches: list[Record]) -> FilePart:
    writer = BlockWriter(root, NAME)
    for batch in batches:
        writer.add_records(batch)
    return writer.finish(sum(map(len, batches)))


@given(st.lists(st.lists(records, max_size=5), max_size=5))
def test_records_are_read_as_they_were_written(batches: list[list[Record]]) -> None:
    with TemporaryDirectory() as directory:
        part = written(Path(directory), *batches)
        verify_file(Path(directory), part)
        found = [one for block in read_records(Path(directory), part) for one in block]
    assert found == [one for batch in batches for one in batch]
    assert part.records == len(found)


def test_a_block_is_bounded_in_bytes(tmp_path: Path) -> None:
    part = written(tmp_path, [Record(at, 1, b"", bytes(BLOCK_BYTES // 2)) for at in range(9)])
    assert [len(block) for block in read_records(tmp_path, part)] == [2, 2, 2, 2, 1]


@given(st.integers(0, 2**30), st.integers(1, 255))
def test_each_changed_byte_is_noticed(place: int, change: int) -> None:
    with TemporaryDirectory() as directory:
        root = Path(directory)
        part = written(root, [Record(at, 1, b"key", b"value") for at in range(50)])
        content = bytearray((root / NAME).read_bytes())
        content[place % len(content)] ^= change
        (root / NAME).write_bytes(content)
        with pytest.raises(OperationError, match=f"{NAME} of the backup is damaged: its SHA-256"):
            verify_file(root, part)


def test_a_cut_file_and_a_missing_one_are_named(tmp_path: Path) -> None:
    part = written(tmp_path, [Record(at, 1, b"key", b"value") for at in range(50)])
    whole = (tmp_path / NAME).read_bytes()
    (tmp_path / NAME).write_bytes(whole[:-3])
    with pytest.raises(OperationError, match=r"is damaged: it has \d+ bytes and had \d+\. Take it from"):
        verify_file(tmp_path, part)
    (tmp_path / NAME).unlink()
    with pytest.raises(OperationError, match="is damaged: No such file"):
        verify_file(tmp_path, part)
    with pytest.raises(OperationError, match=f"{NAME} of the backup is damaged"):
        next(read_blocks(tmp_path, part))


@pytest.mark.parametrize("content", [b"no zstd at all", b""])
def test_a_file_that_is_none_of_ours_is_refused_or_empty(tmp_path: Path, content: bytes) -> None:
    part = replace(written(tmp_path), records=0)
    (tmp_path / NAME).write_bytes(content)
    if content:
        with pytest.raises(OperationError, match="is damaged"):
            list(read_records(tmp_path, part))
    else:
        assert list(read_records(tmp_path, part)) == []


def test_blocks_that_are_no_records_and_that_claim_too_much_are_refused(tmp_path: Path) -> None:
    writer = BlockWriter(tmp_path, NAME)
    writer.add({"not": "records"}, 1)
    part = writer.finish()
    with pytest.raises(OperationError, match="is damaged"):
        list(read_records(tmp_path, part))
    writer = BlockWriter(tmp_path, NAME)
    writer._write(writer._compressor.compress(b"\xff\xff\xff\xff"))
    with pytest.raises(OperationError, match=r"a block claims 4,294,967,295 bytes"):
        list(read_blocks(tmp_path, writer.finish()))
