"""References to secrets, `env:NAME` or `file:PATH`, which are never in the routes file itself."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from sinks.notifier.errors import RoutesError

SECRET_CHARS_MAX: Final = 4_096


def file_of(reference: str, directory: Path) -> Path | None:
    """The file that a reference is to; None if it is to a variable."""
    kind, _, name = reference.partition(":")
    return directory / name if kind == "file" else None


def resolve(where: str, reference: str, directory: Path, environ: Mapping[str, str] = os.environ) -> str:
    """Read the secret that a reference stands for; paths are relative to `directory`.

    Raises:
        RoutesError: there is none, or it is not one line of text; `where` is its file and key.
    """
    path = file_of(reference, directory)
    if path is None:
        name = reference.removeprefix("env:")
        found = environ.get(name, "")
        if not found:
            raise RoutesError(
                f"{where}: the environment has no {name}; set it where the notifier is started."
            )
    else:
        try:
            with path.open(encoding="utf-8") as file:
                found = file.read(SECRET_CHARS_MAX + 2).strip()
        except (OSError, UnicodeDecodeError) as error:
            why = error.strerror if isinstance(error, OSError) else "it is not text"
            raise RoutesError(f"{where}: {path} can't be read ({why}); correct the path.") from None
    if not 0 < len(found) <= SECRET_CHARS_MAX or any(ord(letter) < ord(" ") for letter in found):
        raise RoutesError(
            f"{where}: what {reference} stands for is empty, longer than {SECRET_CHARS_MAX:,} characters or "
            f"more than one line; put the value alone there."
        )
    return found
