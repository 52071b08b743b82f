"""The directory of one stack: who owns it, where things are in it, how it is emptied."""

import fcntl
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from phonemeter.errors import UserError


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
        """Own the directory, made if it is missing, for the time of the context.

        Raises:
            UserError: another stack owns it, or it cannot be written.
        """
        lock = self.path / "stack.lock"
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            file = lock.open("a+")
        except OSError as error:
            raise UserError(
                f"The data directory {self.path} cannot be written ({error.strerror}); "
                f"set PHONEMETER_DATA_DIR (data_dir in phonemeter.toml) to one that can."
            ) from None
        with file:
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
        """Forget all events, ledgers and logs of this stack. Downloads are kept: they are elsewhere.

        Raises:
            UserError: a stack runs on the directory.
        """
        if not self.path.exists():
            return
        with self.owned():
            for name in ("kafka", "engine", "worker", "sink", "notifier", "logs"):
                shutil.rmtree(self.path / name, ignore_errors=True)
            (self.path / "state.json").unlink(missing_ok=True)

    def write_state(self, state: dict[str, Any]) -> None:
        """Leave the stack's state for `phonemeter status`, which runs in another process."""
        partial = self.path / "state.json.partial"
        # The endpoints may hold a password.
        partial.touch(mode=0o600)
        partial.write_text(json.dumps(state))
        partial.replace(self.path / "state.json")

    def read_state(self) -> dict[str, Any] | None:
        """State of the stack that runs on this directory; None if none does."""
        try:
            with (self.path / "stack.lock").open() as file:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            pass
        except OSError:
            return None
        else:
            return None
        try:
            state = json.loads((self.path / "state.json").read_text())
        except (OSError, ValueError):
            return None
        return state if isinstance(state, dict) else None
