"""The directory of a backup: its lock, its manifest, and the removal of what does not belong to it."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from typing import Final

from phonemeter.backup.block_file import sync_folder
from phonemeter.backup.manifest import Manifest, decode, encode
from phonemeter.errors import UserError
from phonemeter.stack.directory import private_files

MANIFEST: Final = "manifest.json"
UNFINISHED: Final = "unfinished.json"
"""The manifest of a backup that is being taken: what it has copied already. A later one goes on from it."""

LOCK: Final = "lock"
SUFFIX: Final = ".zst"


class BackupDirectory:
    """A directory with one backup, which each later backup extends."""

    def __init__(self, path: Path) -> None:
        self.path = path.absolute()

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Create the directory if it is missing, and keep other backups out of it for the block.

        Raises:
            UserError: another backup is being taken into it, it has other files, or it cannot be written.
        """
        with private_files():
            try:
                self.path.mkdir(parents=True, exist_ok=True)
                self._refuse_others_files()
                lock = (self.path / LOCK).open("a")
            except OSError as error:
                raise UserError(
                    f"The directory {self.path} cannot be written ({error.strerror}); name another one."
                ) from None
            with lock:
                try:
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    raise UserError(
                        f"Another backup is being taken into {self.path}; wait for its end, or name another "
                        f"directory."
                    ) from None
                yield

    def manifest(self) -> Manifest:
        """Read the manifest of the newest whole backup.

        Raises:
            UserError: there is none, or it is of a newer version.
        """
        found = self._read(MANIFEST)
        if found is None:
            raise UserError(
                f"The directory {self.path} has no whole backup, as {MANIFEST} is missing; "
                f"`phonemeter backup` takes one."
            )
        return found

    def identity(self) -> str:
        """The SHA-256 of the manifest, which names all files by theirs."""
        return sha256((self.path / MANIFEST).read_bytes()).hexdigest()

    def latest(self) -> Manifest | None:
        """The manifest to continue from: that of an unfinished backup, or of the newest whole one."""
        return self._read(UNFINISHED) or self._read(MANIFEST)

    def store(self, manifest: Manifest, *, whole: bool) -> None:
        """Store a manifest in one step. A whole one also removes the files that it does not name."""
        name = MANIFEST if whole else UNFINISHED
        partial = self.path / f"{name}.partial"
        with partial.open("wb") as file:
            file.write(encode(manifest))
            file.flush()
            os.fsync(file.fileno())
        partial.replace(self.path / name)
        sync_folder(self.path)
        if whole:
            (self.path / UNFINISHED).unlink(missing_ok=True)
            self.remove_unnamed(manifest)

    def remove_unnamed(self, manifest: Manifest | None) -> None:
        """Remove files of records that no manifest names: those of backups that were broken off."""
        named = {file.name for file in manifest.files} if manifest is not None else set()
        whole = self._read(MANIFEST)
        named |= {file.name for file in whole.files} if whole is not None else set()
        for found in self.path.rglob(f"*{SUFFIX}"):
            if str(found.relative_to(self.path)) not in named:
                found.unlink()

    def _read(self, name: str) -> Manifest | None:
        path = self.path / name
        try:
            return decode(path.read_bytes(), str(path))
        except FileNotFoundError:
            return None
        except OSError as error:
            raise UserError(f"The file {path} cannot be read: {error.strerror}.") from None

    def _refuse_others_files(self) -> None:
        """Refuse a directory with files of others, which a backup would be mixed with."""
        there = {one.name for one in self.path.iterdir()}
        if there and not there & {MANIFEST, UNFINISHED, LOCK}:
            raise UserError(
                f"The directory {self.path} is not empty and has no backup: name an empty one, or one with a "
                f"backup of this Kafka."
            )
