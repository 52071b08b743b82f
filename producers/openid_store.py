"""The openids of calls, encrypted in a file of the back end, for 35 days: a dispute needs them.

They are apart from the log: no event, no topic and no line of a log has them. Each is encrypted by itself
(Fernet: AES and HMAC) with a key that is not in the file. Threads and processes may write to it together.
"""

import os
import re
import sqlite3
import threading
from collections.abc import Callable, Generator, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Final, NamedTuple, Self

from cryptography.fernet import Fernet, InvalidToken, MultiFernet

from metering.times import DAY_MS, HOUR_MS
from producers.clock import wall_clock_ms
from producers.errors import ProducerError

KEPT_MS: Final = 35 * DAY_MS
FORGET_EVERY_MS: Final = HOUR_MS
BUSY_S: Final = 5.0
"""The longest wait of a writer for another one."""

OPENID_CHARS_MAX: Final = 128
FORMAT: Final = 1
PRIVATE: Final = 0o600
OTHERS: Final = 0o077
_OPENID: Final = re.compile(rf"[A-Za-z0-9_-]{{1,{OPENID_CHARS_MAX}}}")
_KNOWN: Final = b"phonemeter openids"

_TABLES: Final = (
    "CREATE TABLE IF NOT EXISTS key_check (token BLOB NOT NULL)",
    """CREATE TABLE IF NOT EXISTS taps (
        appid TEXT NOT NULL, time_ms INTEGER NOT NULL, event_id TEXT NOT NULL, openid BLOB NOT NULL,
        PRIMARY KEY (appid, time_ms, event_id)
    ) WITHOUT ROWID""",
    "CREATE INDEX IF NOT EXISTS by_time ON taps (time_ms)",
)


class OpenidStoreError(ProducerError):
    """The file of openids can't be used, in a sentence without any openid."""


class KeptTap(NamedTuple):
    """The openid of one call."""

    time_ms: int
    openid: str


class OpenidStore:
    """A file of encrypted openids. As a context manager it is closed at the end.

    Args:
        path: the file; it is created, for its owner alone.
        keys: the key, or several separated by commas: the first encrypts, all of them decrypt.
        bytes_max: the largest size of the file; beyond it nothing is added.
        now_ms: the clock by which openids expire.
    """

    def __init__(
        self, path: Path, keys: str, *, bytes_max: int, now_ms: Callable[[], int] = wall_clock_ms
    ) -> None:
        self._path = path
        self._now_ms = now_ms
        self._bytes_max = bytes_max
        self._forgotten_ms = 0
        self._lock = threading.Lock()
        self._cipher = _cipher(keys)
        _create_private(path)
        with self._failures():
            self._file = sqlite3.connect(path, timeout=BUSY_S, isolation_level=None, check_same_thread=False)
            try:
                self._prepare()
            except BaseException:
                self._file.close()
                raise

    def add(self, appid: str, event_id: str, time_ms: int, openid: str) -> None:
        """Keep the openid of a call; once, however often it is added.

        Raises:
            OpenidStoreError: the file is full or can't be written, or this is no openid.
        """
        if not _OPENID.fullmatch(openid):
            raise OpenidStoreError(
                f"An openid is 1 to {OPENID_CHARS_MAX} letters, digits, hyphens, underscores; another text "
                f"is not kept."
            )
        token = self._cipher.encrypt(openid.encode())
        with self._lock, self._failures():
            self._forget()
            if self._size_bytes() >= self._bytes_max:
                raise OpenidStoreError(
                    f"{self._path} has reached its {self._bytes_max:,} bytes, so no openid is kept: set "
                    f"PHONEMETER_OPENID_STORE_BYTES_MAX higher, or wait until older ones expire."
                )
            self._file.execute(
                "INSERT OR IGNORE INTO taps VALUES (?, ?, ?, ?)", (appid, time_ms, event_id, token)
            )

    def kept(self, appid: str, from_ms: int, until_ms: int) -> Generator[KeptTap]:
        """The openids of an app's calls from `from_ms` to before `until_ms` that have not expired, by time.

        Raises:
            OpenidStoreError: the file can't be read.
        """
        from_ms = max(from_ms, self._now_ms() - KEPT_MS)
        with self._failures(), closing(self._file.cursor()) as cursor:
            cursor.execute(
                "SELECT time_ms, openid FROM taps WHERE appid = ? AND time_ms >= ? AND time_ms < ? "
                "ORDER BY time_ms, event_id",
                (appid, from_ms, until_ms),
            )
            for time_ms, token in cursor:
                yield KeptTap(time_ms, self._decrypted(token).decode())

    def close(self) -> None:
        """Close the file."""
        with self._lock, self._failures():
            self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _prepare(self) -> None:
        # What is deleted is overwritten, and the file gives the room back to later openids.
        for pragma in ("journal_mode = WAL", "synchronous = NORMAL", "secure_delete = ON"):
            self._file.execute(f"PRAGMA {pragma}")
        (version,) = self._file.execute("PRAGMA user_version").fetchone()
        if version not in {0, FORMAT}:
            raise OpenidStoreError(
                f"{self._path} was written by another version of phonemeter (format {version}): use that "
                f"one, or name another file."
            )
        self._file.execute("BEGIN IMMEDIATE")
        for table in _TABLES:
            self._file.execute(table)
        self._file.execute(f"PRAGMA user_version = {FORMAT}")
        known = self._file.execute("SELECT token FROM key_check").fetchone()
        if known is not None:
            self._decrypted(known[0])
        # Encrypted anew, so that an older key can be left out once its openids have expired.
        self._file.execute("DELETE FROM key_check")
        self._file.execute("INSERT INTO key_check VALUES (?)", (self._cipher.encrypt(_KNOWN),))
        self._file.execute("COMMIT")
        with self._lock:
            self._forget()

    def _forget(self) -> None:
        """Delete what has expired, at most once an hour."""
        now_ms = self._now_ms()
        if now_ms - self._forgotten_ms >= FORGET_EVERY_MS:
            self._file.execute("DELETE FROM taps WHERE time_ms < ?", (now_ms - KEPT_MS,))
            self._forgotten_ms = now_ms

    def _size_bytes(self) -> int:
        (pages,) = self._file.execute("PRAGMA page_count").fetchone()
        (free,) = self._file.execute("PRAGMA freelist_count").fetchone()
        (page_bytes,) = self._file.execute("PRAGMA page_size").fetchone()
        return int((pages - free) * page_bytes)

    def _decrypted(self, token: bytes) -> bytes:
        try:
            return self._cipher.decrypt(token)
        except InvalidToken:
            raise OpenidStoreError(
                f"{self._path} was encrypted with another key: set PHONEMETER_OPENID_KEYS to that one; if it "
                f"is lost, so are these openids, and deleting the file begins anew."
            ) from None

    @contextmanager
    def _failures(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise OpenidStoreError(
                f"The file of openids {self._path} can't be used ({error}): check its disk and its owner."
            ) from None


def _cipher(keys: str) -> MultiFernet:
    try:
        return MultiFernet([Fernet(key.strip()) for key in keys.split(",")])
    except ValueError:
        raise OpenidStoreError(
            "PHONEMETER_OPENID_KEYS is not a key, nor several separated by commas: a key is 32 random bytes "
            "in URL-safe base64, as `phonemeter dispute --new-key` makes one."
        ) from None


def _create_private(path: Path) -> None:
    """Create the file for its owner alone, or refuse one that others may read."""
    try:
        os.close(os.open(path, os.O_CREAT | os.O_RDWR, PRIVATE))
        mode = path.stat().st_mode
    except OSError as error:
        raise OpenidStoreError(
            f"The file of openids {path} can't be opened ({error.strerror}): set PHONEMETER_OPENID_STORE to "
            f"a file in a directory that exists and that you may write to."
        ) from None
    if mode & OTHERS:
        raise OpenidStoreError(
            f"Others may read the file of openids {path}: allow it to its owner alone with chmod 600 {path}."
        )
