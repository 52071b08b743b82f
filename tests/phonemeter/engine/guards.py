"""A file and a server that an engine must not reach, statements that try, and chDB with one guard or none."""

# ruff: noqa: S608 - the statements are the tests' own

import json
import os
import socketserver
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests.phonemeter.engine.harness import HOST

SECRET = "not-for-statements"  # noqa: S105 - what the statements look for


@dataclass
class Outside:
    """A folder with a file, and a server that records connections; an engine must not reach them."""

    folder: Path
    port: int = 0
    asked: list[object] = field(default_factory=list)

    @property
    def secret(self) -> Path:
        return self.folder / "secret.txt"

    @property
    def url(self) -> str:
        return f"http://{HOST}:{self.port}/bucket"

    def statements(self) -> list[str]:
        """One statement for each way out of chDB."""
        disk = f"disk(type = local, path = '{self.folder}/disk/')"
        file = f"SOURCE(FILE(path '{self.secret}' format 'LineAsString'))"
        return [
            "SET http_max_tries = 1, s3_retry_attempts = 0, connections_with_failover_max_tries = 1",
            f"SELECT * FROM file('{self.secret}', 'LineAsString')",
            f"SELECT file('{self.secret}')",
            f"SELECT * FROM `{self.secret}`",
            f"SELECT * FROM file('/proc/{os.getpid()}/environ', 'LineAsString')",
            "SELECT * FROM file('/proc/self/environ', 'LineAsString')",
            "SELECT * FROM file('/etc/passwd', 'LineAsString')",
            f"CREATE TABLE f (l String) ENGINE = File(LineAsString, '{self.secret}')",
            "SELECT * FROM f",
            f"INSERT INTO FUNCTION file('{self.folder}/new.csv', 'CSV', 'a Int8') VALUES (1)",
            f"SELECT 1 INTO OUTFILE '{self.folder}/out.csv'",
            f"CREATE TABLE r (k Int8) ENGINE = EmbeddedRocksDB(0, '{self.folder}/rocks') PRIMARY KEY k",
            f"CREATE TABLE m (a Int8) ENGINE = MergeTree ORDER BY a SETTINGS disk = {disk}",
            f"CREATE DICTIONARY d (l String) PRIMARY KEY l {file} LAYOUT(COMPLEX_KEY_HASHED()) LIFETIME(0)",
            "SELECT * FROM d",
            f"SELECT * FROM sqlite('{self.folder}/x.db', 't')",
            f"SELECT * FROM url('{self.url}', 'LineAsString')",
            f"SELECT * FROM s3('{self.url}/x.csv', NOSIGN, 'LineAsString')",
            f"SELECT * FROM remote('{HOST}:{self.port}', 'system', 'one')",
            f"SELECT * FROM mysql('{HOST}:{self.port}', 'a', 'b', 'c', 'd')",
        ]


class Noting(socketserver.BaseRequestHandler):
    """A server that answers every connection at once, so that no client tries again."""

    def handle(self) -> None:
        self.server.outside.asked.append(self.client_address)  # type: ignore[attr-defined] # ours
        self.request.sendall(f"HTTP/1.0 200 OK\r\n\r\n{SECRET}".encode())


@contextmanager
def outside_of(folder: Path) -> Iterator[Outside]:
    """A folder with a secret and a server beside it."""
    found = Outside(folder)
    found.folder.mkdir()
    found.secret.write_text(SECRET)
    with socketserver.ThreadingTCPServer((HOST, 0), Noting) as server:
        server.outside = found  # type: ignore[attr-defined] # ours
        found.port = server.server_address[1]
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield found
        server.shutdown()


def unguarded(data: Path, statements: list[str], *options: str) -> list[str]:
    """The answers of chDB in a process of its own, without the engine's access control."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.phonemeter.engine.unguarded", str(data), *options],
        input=json.dumps(statements),
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "SECRET": SECRET},
    )
    answers: list[str] = json.loads(done.stdout)
    return answers
