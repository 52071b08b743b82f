"""Secrets by reference, `env:NAME` or `file:PATH`: they are never in the file of apps itself."""

import os
from pathlib import Path
from typing import Final

from producers.wechat.errors import WechatFileError

SECRET_CHARS_MAX: Final = 4_096


class Secret:
    """A secret, read each time that it is needed, so that a file that was renewed is noticed.

    `where` is its file and key; paths are relative to `directory`.
    """

    __slots__ = ("_directory", "_reference", "where")

    def __init__(self, where: str, reference: str, directory: Path) -> None:
        self.where = where
        self._reference = reference
        self._directory = directory

    def read(self) -> str:
        """The secret itself.

        Raises:
            WechatFileError: there is none, or it is not one line of text.
        """
        kind, _, name = self._reference.partition(":")
        found = self._of_file(self._directory / name) if kind == "file" else self._of_environment(name)
        if not 0 < len(found) <= SECRET_CHARS_MAX or any(ord(letter) < ord(" ") for letter in found):
            raise WechatFileError(
                f"{self.where}: what {self._reference} stands for is empty, longer than {SECRET_CHARS_MAX:,} "
                f"characters or more than one line; put the value alone there."
            )
        return found

    def __repr__(self) -> str:
        return f"Secret({self._reference!r})"

    def _of_environment(self, name: str) -> str:
        found = os.environ.get(name, "")
        if not found:
            raise WechatFileError(
                f"{self.where}: the environment has no {name}; set it where `phonemeter wechat` is started."
            )
        return found

    def _of_file(self, path: Path) -> str:
        try:
            with path.open(encoding="utf-8") as file:
                return file.read(SECRET_CHARS_MAX + 2).strip()
        except (OSError, UnicodeDecodeError) as error:
            why = error.strerror if isinstance(error, OSError) else "it is not text"
            raise WechatFileError(f"{self.where}: {path} can't be read ({why}); correct the path.") from None
