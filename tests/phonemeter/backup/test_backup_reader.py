"""Records of a backup read like those of topics, with the gaps of the log."""

from pathlib import Path

import pytest

from metering.log_identity import Mark
from metering.records import Record
from phonemeter.backup.backup_reader import BackupReader
from phonemeter.backup.block_file import BlockWriter, FilePart
from phonemeter.backup.manifest import Manifest, PartitionPart, TopicPart
from phonemeter.topic_reader import OffsetSpan


def file(root: Path, begin: int, end: int, *offsets: int) -> FilePart:
    writer = BlockWriter(root, f"log/0/{begin}.zst", begin)
    for offset in offsets:
        writer.add_records([Record(offset, offset, b"", b"")])
    return writer.finish(end)


@pytest.fixture
def reader(tmp_path: Path) -> BackupReader:
    """A log with a gap at its beginning, one within a file, one over a border, and one at the end."""
    files = (
        file(tmp_path, 0, 5, 1, 2, 4),
        file(tmp_path, 5, 9, 5),
        file(tmp_path, 9, 12),
        file(tmp_path, 12, 14, 12),
    )
    part = PartitionPart(0, 0, 14, Mark(), files)
    return BackupReader(tmp_path, Manifest(1, "", 1, 0, "", 1, topics={"log": TopicPart("", (part,))}))


def test_ranges_follow_each_other_over_every_gap(reader: BackupReader) -> None:
    assert reader.spans("log") == {0: OffsetSpan(0, 14)}
    assert reader.spans("other") == {}
    for begin in range(14):
        for end in range(begin + 1, 15):
            ranges = list(reader.batches("log", 0, OffsetSpan(begin, end)))
            assert [one.offset for batch in ranges for one in batch] == [
                offset for offset in (1, 2, 4, 5, 12) if begin <= offset < end
            ]
            assert [batch.begin for batch in ranges] == [begin, *(batch.end for batch in ranges[:-1])]
            assert ranges[-1].end == end


def test_the_last_record_before_an_offset_may_be_some_files_back(reader: BackupReader) -> None:
    expected = {0: None, 1: None, 2: 1, 4: 2, 5: 4, 6: 5, 12: 5, 13: 12, 99: 12}
    for offset, wanted in expected.items():
        found = reader.last_before("log", 0, offset)
        assert (found.offset if found else None) == wanted
