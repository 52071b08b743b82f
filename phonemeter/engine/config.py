"""Settings and limits of the embedded engine, with their units in the names."""

import ipaddress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

PASSWORD_VARIABLE: Final = "PHONEMETER_ENGINE_PASSWORD"  # noqa: S105 - the variable's name, not a password

MAX_CONNECTIONS: Final = 256
MAX_QUERIES: Final = 32
QUERY_SLOT_WAIT_S: Final = 30.0
MAX_HTTP_SESSIONS: Final = 64
MAX_HTTP_SESSION_S: Final = 3_600.0
DEFAULT_HTTP_SESSION_S: Final = 60.0

HANDSHAKE_TIMEOUT_S: Final = 10.0
HTTP_KEEP_ALIVE_S: Final = 30
"""Time that an HTTP connection waits for the next request; sent to clients."""
HTTP_HEADERS_S: Final = 10.0
"""Time limit of a request line and its headers, from their first byte on."""
HTTP_LINGER_S: Final = 10.0
HTTP_LINGER_BYTES: Final = 1 << 30
"""Bytes of a refused body that are read so that its client receives the refusal."""
IDLE_TIMEOUT_S: Final = 3_600.0
TRANSFER_TIMEOUT_S: Final = 300.0
SHUTDOWN_GRACE_S: Final = 1.5

MAX_TEXT_BYTES: Final = 1 << 20
"""The longest name, type or setting on the wire."""
MAX_QUERY_BYTES: Final = 16 << 20
MAX_COLUMNS: Final = 10_000
MAX_BLOCK_ROWS: Final = 1 << 26
MAX_FRAME_BYTES: Final = 512 << 20
"""The largest frame, compressed or not; clickhouse-driver puts a whole block into one."""
MAX_INSERT_BYTES: Final = 8 << 30
"""The largest INSERT; it is spooled to disk before the engine reads it."""
MAX_BUFFERED_RESULT_BYTES: Final = 1 << 30
"""The largest result of a statement other than SELECT, which is held in memory."""
MAX_SPOOLED_RESULT_BYTES: Final = 8 << 30
"""The largest HTTP result with wait_end_of_query=1, which is spooled to disk."""
HTTP_BUFFER_BYTES: Final = 1 << 20
HTTP_BUFFER_S: Final = 0.25
"""An HTTP result within both limits is sent when it is complete, so that a failure has its own status."""
PARQUET_ROW_GROUP_BYTES: Final = 32 << 20
"""Small, because the engine holds several row groups of a Parquet result at once."""
MAX_HELD_RESULT_BYTES: Final = 1 << 30
"""The memory of a query in a format that cannot be sent before its end (JSONColumns, ...)."""
MAX_QUERY_MEMORY_BYTES: Final = 4 << 30


@dataclass(frozen=True, slots=True)
class EngineConfig:
    """One engine process: its directory, its two ports (0: any free one) and its password."""

    data: Path
    host: str = "127.0.0.1"
    native_port: int = 9000
    http_port: int = 8123
    password: str = field(default="", repr=False)

    def problem(self) -> str | None:
        """The reason why these settings cannot be served, as a sentence, or None."""
        for name, port in (("native", self.native_port), ("HTTP", self.http_port)):
            if not 0 <= port <= 65_535:  # noqa: PLR2004 - the range of TCP ports
                return f"The {name} port {port} is not between 0 and 65535."
        if self.password or is_loopback(self.host):
            return None
        return f"Listening on {self.host} needs a password: set {PASSWORD_VARIABLE}, or listen on 127.0.0.1."


def is_loopback(host: str) -> bool:
    """True if only this machine can reach `host`."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
