"""References to secrets, `env:NAME` or `file:PATH`, in files that hold no secrets themselves."""

import os
from pathlib import Path

from secret_files.secret_file import SECRET_BYTES_MAX, SecretError, is_secret, read_secret


def is_reference(text: str) -> bool:
    """Return whether a value refers to a secret."""
    return text.startswith(("env:", "file:"))


def referred_file(reference: str, directory: Path) -> Path | None:
    """The file that a reference is to; None if it is to a variable."""
    kind, _, name = reference.partition(":")
    return directory / name if kind == "file" else None


def referred_secret(reference: str, directory: Path) -> str:
    """The secret that a reference stands for; paths are relative to `directory`.

    Raises:
        SecretError: there is none.
    """
    file = referred_file(reference, directory)
    if file is not None:
        return read_secret(file)
    name = reference.removeprefix("env:")
    found = os.environ.get(name, "")
    if not found:
        raise SecretError(f"the environment has no {name}; set it where this program is started")
    if not is_secret(found):
        raise SecretError(
            f"the environment's {name} has no secret that can be used; it must be one line of at most "
            f"{SECRET_BYTES_MAX:,} bytes"
        )
    return found
