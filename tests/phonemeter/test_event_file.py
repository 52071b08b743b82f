"""Files of events, plain and compressed, whole and broken."""

import gzip
from pathlib import Path

import pytest

from phonemeter.errors import UserError
from phonemeter.event_file import UnreadableError, open_event_file
from tests.phonemeter.cli.calling import called

TEXT = b"".join(b"line %d\n" % number for number in range(5_000))
PACKED = gzip.compress(TEXT)


def read(path: Path) -> list[bytes | None]:
    with open_event_file(str(path)) as file:
        return [line.value for line in file.lines()]


@pytest.mark.parametrize("content", [TEXT, PACKED], ids=["plain", "gzip"])
def test_its_first_bytes_tell_whether_a_file_is_compressed_and_its_name_does_not(
    tmp_path: Path, content: bytes
) -> None:
    for name in ("events.jsonl", "events.jsonl.gz"):
        (tmp_path / name).write_bytes(content)
        assert read(tmp_path / name) == TEXT.split(b"\n")[:-1]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (PACKED[:-20], "Compressed file ended before the end-of-stream marker was reached"),
        (PACKED[:5], "Compressed file ended before the end-of-stream marker was reached"),
        (PACKED[:2_000] + b"\xff" * 100 + PACKED[2_100:], "Error -3 while decompressing data: "),
        (PACKED[:-8] + bytes(8), "CRC check failed "),
        (PACKED + b"more", "Not a gzipped file "),
    ],
    ids=["breaks off", "breaks off at once", "damaged", "wrong sum", "more behind it"],
)
def test_a_broken_gzip_file_is_one_sentence(tmp_path: Path, content: bytes, reason: str) -> None:
    broken = tmp_path / "broken.gz"
    broken.write_bytes(content)
    with pytest.raises(UnreadableError) as told:
        read(broken)
    sentence = str(told.value)
    assert sentence.startswith(f"{broken} can't be read any further: {reason}")
    assert sentence.endswith("; its gzip data is broken, make or fetch it again.")


def test_a_directory_is_no_file_of_events(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="can't be read: Is a directory"):
        read(tmp_path)


def test_replay_and_the_demo_read_compressed_files_and_say_when_one_is_broken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without a broker: both read the file first."""
    (tmp_path / "empty.gz").write_bytes(gzip.compress(b"\n"))
    (tmp_path / "no event.gz").write_bytes(gzip.compress(b"\n{}"))
    (tmp_path / "broken.gz").write_bytes(gzip.compress(b"\n" * 1_000)[:-9])
    for arguments, told in [
        (("replay", "--dry-run", "--with", "no event.gz"), "Line 2 is no event: "),
        (("replay", "--dry-run", "--with", "broken.gz"), "broken.gz can't be read any further: "),
        (("demo", "--file", "empty.gz"), "The file empty.gz holds no event"),
        (("demo", "--file", "broken.gz"), "broken.gz can't be read any further: "),
    ]:
        refused = called(monkeypatch, capsys, tmp_path, "127.0.0.1:9", *arguments)
        assert (refused.returncode, refused.stdout, refused.stderr.count("\n")) == (2, "", 1), refused
        assert refused.stderr.startswith(told)
