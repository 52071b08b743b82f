"""The explanation of an event by `phonemeter explain`, in a process of its own.

It meters a partition again, which takes seconds of a processor: in the gateway's process it would keep events
waiting.
"""

import asyncio
import os
import resource
import sys
from contextlib import suppress
from pathlib import Path
from typing import Final

from dashboards.http.errors import (
    ExplainingBusyError,
    ExplainingTooLongError,
    LedgerAwayError,
    NothingFoundError,
    TooMuchError,
)
from dashboards.http.events import event_not_found
from phonemeter.errors import OperationError
from phonemeter.settings import TOLD_ALL, Settings

ANSWER_BYTES_MAX: Final = 8 << 20
COMPLAINT_BYTES_MAX: Final = 4_096
NICENESS: Final = 10
FIRST_TO_GO: Final = "1000"
"""Score by which the kernel, out of memory, ends this process and not the gateway."""

FAILED: Final = OperationError.exit_status
NOT_THERE: Final = "No event "


class ProcessExplainer:
    """Explains one event at a time."""

    def __init__(self, settings: Settings) -> None:
        self._environ = {**os.environ, **settings.to_environ(), **TOLD_ALL}
        self._within_s = settings.reads_explain_s
        self._bytes_max = settings.reads_explain_mb << 20
        self._busy = False

    async def explain(self, appid: str, event_id: str) -> bytes:
        """The explanation, as `phonemeter explain --json` prints it.

        Raises:
            ExplainingBusyError: it explains another one.
            ExplainingTooLongError: its time was not enough.
            TooMuchError: the explanation is too large.
            NothingFoundError: the log has no such event.
            LedgerAwayError: it failed.
        """
        if self._busy:
            raise ExplainingBusyError
        self._busy = True
        try:
            async with asyncio.timeout(self._within_s):
                return await self._explained(appid, event_id)
        except TimeoutError:
            raise ExplainingTooLongError from None
        finally:
            self._busy = False

    async def _explained(self, appid: str, event_id: str) -> bytes:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "phonemeter", "explain", "--json", f"--app={appid}", "--", event_id),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env=self._environ,
        )
        try:
            self._restrain(process.pid)
            told, complaint = await asyncio.gather(
                _read(process.stdout, ANSWER_BYTES_MAX), _read(process.stderr, COMPLAINT_BYTES_MAX)
            )
            status = await process.wait()
        finally:
            with suppress(ProcessLookupError):
                process.kill()
            await process.wait()
        if status == 0:
            return told
        sentence = complaint.decode(errors="replace").strip()
        if status == FAILED and sentence.startswith(NOT_THERE):
            raise NothingFoundError(event_not_found(event_id))
        raise LedgerAwayError(f"An event could not be explained: {sentence or f'status {status}'}")

    def _restrain(self, pid: int) -> None:
        # Not every system has all of it, and the process may have ended.
        with suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, pid, NICENESS)
        with suppress(OSError):
            Path(f"/proc/{pid}/oom_score_adj").write_text(FIRST_TO_GO, encoding="ascii")
        if hasattr(resource, "prlimit"):
            seconds = int(self._within_s) + 1
            with suppress(OSError):
                resource.prlimit(pid, resource.RLIMIT_DATA, (self._bytes_max, self._bytes_max))
                # Its time is limited even if the gateway is killed meanwhile.
                resource.prlimit(pid, resource.RLIMIT_CPU, (seconds, seconds))


async def _read(stream: asyncio.StreamReader | None, most: int) -> bytes:
    """All that a stream gives.

    Raises:
        TooMuchError: it is too much.
    """
    found = bytearray()
    while stream is not None and (piece := await stream.read(65_536)):
        found += piece
        if len(found) > most:
            raise TooMuchError
    return bytes(found)
