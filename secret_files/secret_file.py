"""A file that holds a secret alone, in one line.

Its mode is not looked at: Kubernetes and Docker mount secrets readable for everybody inside a container.
"""

from pathlib import Path
from typing import Final

SECRET_BYTES_MAX: Final = 16_384
"""Enough for a service account's key as the password of a cloud's Kafka."""


class SecretError(ValueError):
    """No secret where one should be; the message is a sentence, without a full stop."""


def read_secret(file: Path) -> str:
    """The secret in a file, without the line breaks at its end.

    Raises:
        SecretError: the file can't be read, or holds no secret.
    """
    try:
        with file.open("rb") as opened:
            stored = opened.read(SECRET_BYTES_MAX + 1)
    except OSError as error:
        reason = error.strerror or "no reason given"
    else:
        reason = _flaw(stored)
    if reason:
        raise SecretError(
            f"{file} has no secret that can be used ({reason}); it must be a file that this user of the "
            f"machine may read, with the secret alone in one line"
        )
    return _line(stored).decode()


def is_secret(text: str) -> bool:
    """Return whether a text could be a secret in a file."""
    return not _flaw(text.encode())


def _line(stored: bytes) -> bytes:
    return stored.rstrip(b"\r\n")


def _flaw(stored: bytes) -> str:
    if len(stored) > SECRET_BYTES_MAX:
        return f"it is longer than {SECRET_BYTES_MAX:,} bytes"
    line = _line(stored)
    if not line:
        return "it is empty"
    try:
        text = line.decode()
    except UnicodeDecodeError:
        return "it is not UTF-8"
    if any(ord(letter) < ord(" ") for letter in text):
        return "it is more than one line of text"
    return ""
