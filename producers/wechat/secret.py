"""Secrets by reference, `env:NAME` or `file:PATH`: they are never in the file of apps itself."""

from pathlib import Path

from producers.wechat.errors import WechatFileError
from secret_files.secret_file import SecretError
from secret_files.secret_reference import referred_secret


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
        try:
            return referred_secret(self._reference, self._directory)
        except SecretError as error:
            raise WechatFileError(f"{self.where}: {error}.") from None

    def __repr__(self) -> str:
        return f"Secret({self._reference!r})"
