"""The cut of a partition's end between two batches, which keeps some batches if it can."""

import struct
from pathlib import Path

import pytest

from tests.torture.cutting import cut


def batch(offset: int, size: int) -> bytes:
    return struct.pack(">qi", offset, size) + b"x" * size


@pytest.mark.parametrize(("share", "end"), [(0.01, 9), (0.3, 7), (0.999, 1)])
def test_the_last_batches_are_cut_off_together_with_indexes_and_snapshots(
    tmp_path: Path, share: float, end: int
) -> None:
    folder = tmp_path / "phone-events-2"
    folder.mkdir()
    segment = folder / "00000000000000000000.log"
    whole = b"".join(batch(offset, 50 + offset) for offset in range(10))
    segment.write_bytes(whole + bytes(4_096))
    (folder / "00000000000000000000.index").write_bytes(b"index")
    (tmp_path / ".kafka_cleanshutdown").touch()
    assert cut(tmp_path, "phone-events", 2, share) == end
    assert segment.read_bytes() == b"".join(batch(offset, 50 + offset) for offset in range(end))
    assert [path.name for path in folder.iterdir()] == [segment.name]
    assert not (tmp_path / ".kafka_cleanshutdown").exists()
