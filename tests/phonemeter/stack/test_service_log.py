import asyncio
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from phonemeter.stack import service_log
from phonemeter.stack.service_log import OLDER_LOGS, ServiceLog
from tests.waiting import until

BYTES_MAX = 1_000


async def logged(path: Path, chunks: list[bytes]) -> None:
    """Write the chunks as a service does, and end."""
    async with ServiceLog(path, BYTES_MAX) as log:
        output = os.dup(log.writer)
        log.handed_over()
        for chunk in chunks:
            await asyncio.to_thread(os.write, output, chunk)
        os.close(output)


def files(path: Path) -> list[Path]:
    """The files of a log, oldest first."""
    found = [path.with_name(f"{path.name}.{number}") for number in range(OLDER_LOGS, 0, -1)]
    return [one for one in (*found, path) if one.exists()]


@given(st.lists(st.binary(max_size=60), max_size=40))
def test_all_that_fits_is_kept_byte_by_byte(
    tmp_path_factory: pytest.TempPathFactory, chunks: list[bytes]
) -> None:
    path = tmp_path_factory.mktemp("log") / "log"
    asyncio.run(logged(path, chunks))
    written = b"".join(chunks)
    kept = b"".join(one.read_bytes() for one in files(path))
    assert kept == written + (b"\n" if written and not written.endswith(b"\n") else b"")


async def test_no_line_is_lost_or_cut_when_it_rotates_and_the_files_stay_within_the_limit(
    tmp_path: Path,
) -> None:
    path = tmp_path / "log"
    lines = [f"line {number} {'x' * (number % 70)}\n".encode() for number in range(500)]
    await logged(path, lines)
    found = files(path)
    assert len(found) == 1 + OLDER_LOGS
    assert all(0 < one.stat().st_size <= BYTES_MAX for one in found)
    kept = b"".join(one.read_bytes() for one in found)
    assert b"".join(lines).endswith(kept)
    assert kept.startswith(b"line ")


async def test_a_line_without_end_is_written_before_it_fills_the_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service_log, "LINE_BYTES_MAX", 100)
    path = tmp_path / "log"
    async with ServiceLog(path) as log:
        os.write(log.writer, b"x" * 101)
        await until(lambda: log.size == 102)


async def test_a_log_that_cannot_be_written_does_not_stop_the_service(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "log"
    path.symlink_to("/dev/full")
    await logged(path, [b"lost\n" * 1_000] * 100)
    path.unlink()
    await logged(path, [b"kept\n"])
    assert path.read_text() == "kept\n"
    assert capfd.readouterr().err == ""
