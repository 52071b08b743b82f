import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from phonemeter.stack import supervisor
from phonemeter.stack.supervisor import (
    RestartPolicy,
    ServiceFailedError,
    ServiceSpec,
    ServiceState,
    Supervised,
)
from tests.waiting import blocking_until, until

QUICK = RestartPolicy(attempts=3, delay_s=0.01, delay_max_s=0.05, stable_s=30)
SERVE = "import pathlib, signal; pathlib.Path('ready').touch(); signal.pause()"

Start = Callable[..., Supervised]


@pytest.fixture
async def supervised(tmp_path: Path) -> AsyncIterator[Start]:
    """A function that supervises a Python program; it is ready when the file `ready` is there."""
    made: list[Supervised] = []

    def make(program: str, *, stop_grace_s: float = 5) -> Supervised:
        async def ready() -> bool:
            return (tmp_path / "ready").exists()

        service = ServiceSpec(
            "stand-in",
            (sys.executable, "-c", program),
            ready,
            tmp_path / "log",
            directory=tmp_path,
            stop_grace_s=stop_grace_s,
            restarts=QUICK,
        )
        made.append(Supervised(service))
        return made[-1]

    yield make
    for one in made:
        await one.stop()


def running(pid: int | None) -> bool:
    """True if the process exists and has not ended; one that only waits to be reaped has."""
    try:
        status = Path(f"/proc/{pid}/stat").read_text()
    except FileNotFoundError:
        return False
    return status.rpartition(")")[2].split()[0] != "Z"


async def test_start_returns_when_the_service_is_ready(supervised: Start) -> None:
    service = supervised(SERVE)
    await service.start()
    assert service.state is ServiceState.READY
    assert running(service.pid)


async def test_a_killed_service_is_started_again(supervised: Start) -> None:
    service = supervised(SERVE)
    await service.start()
    killed = service.pid
    assert killed is not None
    os.kill(killed, signal.SIGKILL)
    await until(lambda: service.pid not in {None, killed} and service.state is ServiceState.READY)
    assert service.restart_count == 1
    service.check()


async def test_a_service_that_keeps_ending_is_given_up_with_its_last_words(supervised: Start) -> None:
    service = supervised("import sys; print('cannot go on'); sys.exit(7)")
    with pytest.raises(
        ServiceFailedError, match=r"after 3 starts \(exit status 7\): cannot go on\. Its log is /"
    ):
        await service.start()
    assert service.state is ServiceState.FAILED
    with pytest.raises(ServiceFailedError):
        service.check()


async def test_a_service_that_refuses_what_it_was_told_is_not_tried_again(supervised: Start) -> None:
    service = supervised("import sys; sys.exit('no such option' and 2)")
    with pytest.raises(ServiceFailedError, match="after 1 start "):
        await service.start()


async def test_a_service_that_worked_and_is_refused_for_a_while_is_tried_again(
    supervised: Start, tmp_path: Path
) -> None:
    service = supervised(
        "import pathlib, signal, sys\n"
        "runs = pathlib.Path('runs'); runs.open('a').write('.')\n"
        "if len(runs.read_text()) == 2: sys.exit(2)\n"
        "pathlib.Path('ready').touch(); signal.pause()"
    )
    await service.start()
    pid = service.pid
    assert pid is not None
    (tmp_path / "ready").unlink()
    os.kill(pid, signal.SIGKILL)
    await until(lambda: service.restart_count == 2 and service.state is ServiceState.READY)
    service.check()


async def test_restarts_wait_longer_each_time(
    supervised: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervisor, "EXIT_REFUSED", None)
    service = supervised("import time; print(time.time()); raise SystemExit(1)")
    began = time.monotonic()
    with pytest.raises(ServiceFailedError):
        await service.start()
    assert time.monotonic() - began >= QUICK.delay_s * (1 + 2)
    assert len((tmp_path / "log").read_text().splitlines()) == QUICK.attempts


async def test_stop_lets_the_service_end_by_itself(supervised: Start, tmp_path: Path) -> None:
    service = supervised(
        "import pathlib, signal\n"
        "signal.signal(signal.SIGTERM, lambda *_: pathlib.Path('cleaned').touch())\n"
        "pathlib.Path('ready').touch(); signal.pause()"
    )
    await service.start()
    await service.stop()
    assert (tmp_path / "cleaned").exists()
    assert service.pid is None
    assert service.state is ServiceState.STOPPED


async def test_stop_kills_a_service_that_does_not_listen_and_what_it_started(
    supervised: Start, tmp_path: Path
) -> None:
    service = supervised(
        "import pathlib, signal, subprocess\n"
        "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "child = subprocess.Popen(['sleep', '600'])\n"
        "pathlib.Path('child').write_text(str(child.pid)); pathlib.Path('ready').touch()\n"
        "while True: signal.pause()",
        stop_grace_s=0.1,
    )
    await service.start()
    pid, child = service.pid, int((tmp_path / "child").read_text())
    assert running(child)
    await service.stop()
    await until(lambda: not running(pid) and not running(child))


async def test_the_last_words_of_a_killed_service_are_in_its_log(supervised: Start, tmp_path: Path) -> None:
    """They are written when it is over, whatever else still holds its output."""
    service = supervised(
        "import os, pathlib, signal, subprocess\n"
        "subprocess.Popen(['sleep', '5'], start_new_session=True)\n"
        "def end(*_): os.write(1, b'the end'); os.kill(os.getpid(), signal.SIGKILL)\n"
        "signal.signal(signal.SIGTERM, end); pathlib.Path('ready').touch(); signal.pause()"
    )
    await service.start()
    await service.stop()
    assert (tmp_path / "log").read_text() == "the end\n"


async def test_a_service_that_never_becomes_ready_can_be_stopped(supervised: Start) -> None:
    service = supervised("import signal; signal.pause()")
    starting = asyncio.create_task(service.start())
    await until(lambda: service.pid is not None)
    pid = service.pid
    await service.stop()
    assert not running(pid)
    with pytest.raises(asyncio.CancelledError):
        await starting


def test_a_service_dies_with_a_supervisor_that_is_killed(tmp_path: Path) -> None:
    program = tmp_path / "supervise.py"
    program.write_text(
        "import asyncio, pathlib, sys\n"
        "from phonemeter.stack.supervisor import ServiceSpec, Supervised\n"
        "directory = pathlib.Path(sys.argv[1])\n"
        "async def ready(): return (directory / 'ready').exists()\n"
        "async def main():\n"
        f"    command = (sys.executable, '-c', {SERVE!r})\n"
        "    service = Supervised(ServiceSpec('s', command, ready, directory / 'log', directory=directory))\n"
        "    await service.start()\n"
        "    print(service.pid, flush=True)\n"
        "    await asyncio.Event().wait()\n"
        "asyncio.run(main())\n"
    )
    with subprocess.Popen([sys.executable, program, tmp_path], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        pid = int(process.stdout.readline())
        assert running(pid)
        process.kill()
    blocking_until(lambda: not running(pid))
