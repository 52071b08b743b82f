"""An engine process for tests, on free ports, and third-party clients for it."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO
from urllib.parse import urlencode

from clickhouse_driver import Client

from tests.waiting import WITHIN_S

HOST = "127.0.0.1"


@dataclass
class EngineProcess:
    """A running `python -m phonemeter.engine`."""

    process: subprocess.Popen[str]
    native_port: int
    http_port: int

    @property
    def url(self) -> str:
        return f"http://{HOST}:{self.http_port}/"

    @contextmanager
    def client(self, **options: object) -> Iterator[Client]:
        client = Client(HOST, self.native_port, **options)
        try:
            yield client
        finally:
            client.disconnect()

    def curl(self, query: str, *options: str, data: bytes = b"", **params: str) -> bytes:
        """POST `query` in the URL and `data` in the body; returns the body of the answer."""
        asked = urlencode({"query": query, **params})
        return self.fetch(f"?{asked}", "--data-binary", "@-", *options, data=data)

    def fetch(self, path: str, *options: str, data: bytes = b"") -> bytes:
        """The output of curl for a path."""
        arguments = ["curl", "-sS", "-m", f"{WITHIN_S:g}", *options, self.url + path]
        return subprocess.run(arguments, input=data, capture_output=True, check=False).stdout

    def rss_bytes(self) -> int:
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return 1024 * int(next(line.split()[1] for line in status.splitlines() if line.startswith("VmRSS")))

    def stop(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(WITHIN_S)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait(WITHIN_S)


def command(data: Path, *options: str) -> list[str]:
    ports = ["--native-port", "0", "--http-port", "0"]
    return [sys.executable, "-m", "phonemeter.engine", "--data", str(data), *ports, *options]


def start(
    data: Path, environ: Mapping[str, str] | None = None, stderr: IO[str] | None = None
) -> EngineProcess:
    """Start an engine and wait until it is ready."""
    process = subprocess.Popen(
        command(data),
        stdout=subprocess.PIPE,
        stderr=stderr,
        text=True,
        env={**os.environ, **(environ or {})},
    )
    assert process.stdout is not None
    ready = json.loads(process.stdout.readline())
    assert ready["ready"] is True
    return EngineProcess(process, ready["native_port"], ready["http_port"])


@contextmanager
def running(
    data: Path, environ: Mapping[str, str] | None = None, stderr: IO[str] | None = None
) -> Iterator[EngineProcess]:
    engine = start(data, environ, stderr)
    try:
        yield engine
    finally:
        engine.kill()
        if engine.process.stdout is not None:
            engine.process.stdout.close()


def refused(data: Path, *options: str) -> tuple[int, str]:
    """Exit status and stderr of an engine that cannot start."""
    done = subprocess.run(
        command(data, *options), capture_output=True, text=True, timeout=WITHIN_S, check=False
    )
    return done.returncode, done.stderr
