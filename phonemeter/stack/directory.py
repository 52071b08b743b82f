"""The directory of one stack: its lock, its layout, and its deletion."""

import fcntl
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from stat import S_IMODE, S_ISLNK
from typing import Any, Final, TextIO

from phonemeter.errors import UserError

FOLDERS: Final = ("kafka", "engine", "worker", "sink", "settler", "notifier", "gateway", "console", "logs")
KEPT: Final = ("business",)
"""Folders that stay when the data is deleted: what people decided, such as API keys."""

FILES: Final = ("stack.lock", "state.json", "state.json.partial", "traffic.jsonl")
DEMO: Final = "demo"
"""The data directory of the demo, within that of the settings."""

OTHERS: Final = 0o077
"""Permissions of the group and of others on a file."""


class StackDirectory:
    """`data_dir` of the settings. One stack at a time owns it, through a lock that dies with its process."""

    def __init__(self, path: Path) -> None:
        self.path = path.absolute()

    def of(self, service: str) -> Path:
        """Data and working directory of a service."""
        return self.path / service

    def log(self, service: str) -> Path:
        """Log of a service; when it grew too large its older part is in the same name plus `.1`."""
        return self.path / "logs" / f"{service}.log"

    @contextmanager
    def owned(self) -> Iterator[None]:
        """Create the directory if it is missing, and own it for the block.

        Only the user can read what this process writes there, or what was there before.

        Raises:
            UserError: another stack owns it, or it cannot be written.
        """
        lock = self.path / "stack.lock"
        with private_files():
            try:
                self.path.mkdir(parents=True, exist_ok=True)
                file = lock.open("a+")
            except OSError as error:
                raise self._unwritable(error) from None
            with file, self._locked(file):
                try:
                    self._make_private()
                except OSError as error:
                    raise self._unwritable(error) from None
                # It describes a stack that has ended.
                self._state.unlink(missing_ok=True)
                yield

    def _make_private(self) -> None:
        """Remove other users' permissions on the stack's files; other files are left alone."""
        there = {one.name for one in self.path.iterdir()}
        if there <= {*FOLDERS, *KEPT, *FILES, DEMO}:
            _take_from_others(self.path)
        for name in there & {*FOLDERS, *KEPT, *FILES}:
            for folder, _, files in os.walk(self.path / name):
                for one in (folder, *(f"{folder}/{file}" for file in files)):
                    _take_from_others(Path(one))
            _take_from_others(self.path / name)

    def _unwritable(self, error: OSError) -> UserError:
        return UserError(
            f"The data directory {self.path} cannot be written ({error.strerror}); "
            f"set PHONEMETER_DATA_DIR (data_dir in phonemeter.toml) to one that can."
        )

    @contextmanager
    def _locked(self, file: TextIO) -> Iterator[None]:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            owner = file.read().strip() or "unknown"
            raise UserError(
                f"Another stack (process {owner}) runs on {self.path}; stop it, or "
                f"set PHONEMETER_DATA_DIR (data_dir in phonemeter.toml) to another directory."
            ) from None
        file.truncate(0)
        file.write(f"{os.getpid()}\n")
        file.flush()
        yield

    def wipe(self) -> None:
        """Delete all events, ledgers and logs of this stack. Downloads are kept elsewhere.

        Raises:
            UserError: a stack runs on the directory.
        """
        if not self.path.exists():
            return
        with self.owned():
            for name in FOLDERS:
                shutil.rmtree(self.path / name, ignore_errors=True)

    def write_state(self, state: dict[str, Any]) -> None:
        """Leave the stack's state for `phonemeter status`, which runs in another process."""
        partial = self.path / "state.json.partial"
        # The endpoints may hold a password.
        partial.touch(mode=0o600)
        partial.write_text(json.dumps(state))
        partial.replace(self._state)

    def is_owned(self) -> bool:
        """Return whether a stack runs on this directory, in any process."""
        try:
            with (self.path / "stack.lock").open() as file:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        except OSError:
            pass
        return False

    def read_state(self) -> dict[str, Any] | None:
        """State of the stack that runs on this directory; None if there is none, or it is just starting."""
        if not self.is_owned():
            return None
        try:
            state = json.loads(self._state.read_text())
        except (OSError, ValueError):
            return None
        return state if isinstance(state, dict) else None

    @property
    def _state(self) -> Path:
        return self.path / "state.json"


@contextmanager
def private_files() -> Iterator[None]:
    """Make files that this process creates in the block private to its user."""
    before = os.umask(OTHERS)
    try:
        yield
    finally:
        os.umask(before)


def _take_from_others(path: Path) -> None:
    """Remove other users' permissions on a file or directory; a link is left alone."""
    with suppress(FileNotFoundError):
        mode = path.lstat().st_mode
        if not S_ISLNK(mode) and S_IMODE(mode) & OTHERS:
            path.chmod(S_IMODE(mode) & ~OTHERS)
