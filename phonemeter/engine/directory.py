"""The data directory before the engine opens it: its folders and its owner."""

import fcntl
import tempfile
from pathlib import Path


class StartError(Exception):
    """The directory cannot be opened; the text is the sentence for the operator."""


def make_folders(data: Path) -> Path:
    """Make the data directory if it is missing; returns its folder for INSERT data.

    Raises:
        StartError: the directory cannot be written.
    """
    spool_folder = data / "spool"
    try:
        spool_folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=spool_folder):
            pass
    except OSError as error:
        raise StartError(f"The data directory {data} cannot be written: {error.strerror}.") from error
    return spool_folder


def refuse_second_owner(data: Path) -> None:
    """Raise StartError if another process serves the directory."""
    status = data / "status"
    if not status.exists():
        return
    try:
        with status.open("r+b") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise StartError(
            f"Another process is serving the data directory {data}: stop it, or use another directory."
        ) from error
    except OSError as error:
        raise StartError(f"The data directory {data} cannot be opened: {error.strerror}.") from error
