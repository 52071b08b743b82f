"""Files of blocks: each block is a MessagePack value, and the file is compressed with zstd.

A block is bounded in bytes, so a file of any length is written and read in bounded memory.
"""

import os
from collections.abc import Iterable, Iterator
from hashlib import sha256
from itertools import starmap
from pathlib import Path
from typing import Any, Final, Self

import msgspec
import zstandard
from msgspec import Struct

from metering.content_modes import Header
from metering.records import Record
from phonemeter.errors import OperationError

LEVEL: Final = 3
BLOCK_BYTES: Final = 2 * 2**20
"""Bytes of keys and values after which a block ends."""

BLOCK_BYTES_MAX: Final = 256 * 2**20
"""Limit of a block that is read: one record has at most as many bytes as a broker takes."""

READ_BYTES: Final = 2**20
_LENGTH_BYTES: Final = 4

_Fields = tuple[int, int | None, bytes | None, bytes | None, tuple[Header, ...]]
"""A record in a block, in the order of the fields of `Record`."""

_encode: Final = msgspec.msgpack.Encoder().encode
_records: Final = msgspec.msgpack.Decoder(list[_Fields])


class FilePart(Struct, frozen=True):
    """A file of a backup.

    Attributes:
        name: path within the backup.
        begin: first offset that it covers; offsets without a record are gaps of the log.
        end: the offset after the last one.
        records: number of records, or of rows.
        bytes: size of the file.
        sha256: of the file.
    """

    name: str
    begin: int
    end: int
    records: int
    bytes: int
    sha256: str


class BlockWriter:
    """Writes a file. It is on disk once `finish` returns; the end of the block closes it.

    Attributes:
        records: number of records so far.
        raw_bytes: size so far, before compression.
    """

    def __init__(self, root: Path, name: str, begin: int = 0) -> None:
        self._path = root / name
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._file = self._path.open("wb")
        self._name = name
        self._begin = begin
        self._compressor = zstandard.ZstdCompressor(level=LEVEL).compressobj()
        self._digest = sha256()
        self._bytes = 0
        self.records = 0
        self.raw_bytes = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def add_records(self, records: Iterable[Record]) -> None:
        """Write records, as blocks of a bounded size."""
        block: list[_Fields] = []
        size = 0
        for one in records:
            block.append((one.offset, one.recorded_at_ms, one.key, one.value, tuple(one.headers)))
            size += len(one.key or b"") + len(one.value or b"")
            if size >= BLOCK_BYTES:
                self.add(block, len(block))
                block, size = [], 0
        if block:
            self.add(block, len(block))

    def add(self, block: object, records: int) -> None:
        """Write a block, which has a number of records."""
        encoded = _encode(block)
        self.records += records
        self.raw_bytes += len(encoded)
        self._write(self._compressor.compress(len(encoded).to_bytes(_LENGTH_BYTES, "big") + encoded))

    def finish(self, end: int = 0) -> FilePart:
        """End the file behind an offset, and wait until it is on disk."""
        self._write(self._compressor.flush())
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()
        sync_folder(self._path.parent)
        return FilePart(self._name, self._begin, end, self.records, self._bytes, self._digest.hexdigest())

    def _write(self, piece: bytes) -> None:
        self._digest.update(piece)
        self._bytes += len(piece)
        self._file.write(piece)


def read_records(root: Path, part: FilePart) -> Iterator[list[Record]]:
    """The records of a file, block by block.

    Raises:
        OperationError: the file is damaged or missing.
    """
    for block in read_blocks(root, part):
        try:
            yield list(starmap(Record, _records.decode(block)))
        except msgspec.MsgspecError as error:
            raise damaged(root, part, f"{error}") from None


def read_blocks(root: Path, part: FilePart) -> Iterator[bytes]:
    """The encoded blocks of a file.

    Raises:
        OperationError: the file is damaged or missing.
    """
    try:
        with (root / part.name).open("rb") as file:
            yield from _blocks(zstandard.ZstdDecompressor().stream_reader(file, read_across_frames=True))
    except (zstandard.ZstdError, OSError, ValueError) as error:
        raise damaged(root, part, f"{error}") from None


def verify_file(root: Path, part: FilePart) -> None:
    """Compare a file's size and SHA-256 with those that were noted.

    Raises:
        OperationError: they differ, or the file is missing.
    """
    digest, size = sha256(), 0
    try:
        with (root / part.name).open("rb") as file:
            while piece := file.read(READ_BYTES):
                digest.update(piece)
                size += len(piece)
    except OSError as error:
        raise damaged(root, part, error.strerror or "it cannot be read") from None
    if size != part.bytes:
        raise damaged(root, part, f"it has {size:,} bytes and had {part.bytes:,}")
    if digest.hexdigest() != part.sha256:
        raise damaged(root, part, "its SHA-256 is not the one that was noted")


def damaged(root: Path, part: FilePart, why: str) -> OperationError:
    """The sentence about a file that cannot be used."""
    return OperationError(
        f"The file {root / part.name} of the backup is damaged: {why}. Take it from a copy of the backup, or "
        f"use another backup."
    )


def sync_folder(folder: Path) -> None:
    """Wait until the names in a folder are on disk."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _blocks(stream: Any) -> Iterator[bytes]:  # noqa: ANN401 - zstandard's readers share no type
    while head := _exactly(stream, _LENGTH_BYTES):
        size = int.from_bytes(head, "big")
        if size > BLOCK_BYTES_MAX:
            raise ValueError(f"a block claims {size:,} bytes")
        yield _exactly(stream, size)


def _exactly(stream: Any, size: int) -> bytes:  # noqa: ANN401 - see above
    """Read so many bytes; none at the end of the stream."""
    pieces: list[bytes] = []
    missing = size
    while missing and (piece := stream.read(missing)):
        pieces.append(piece)
        missing -= len(piece)
    if missing and pieces:
        raise ValueError("it ends within a block")
    if missing and size != _LENGTH_BYTES:
        raise ValueError("it ends after the length of a block")
    return b"".join(pieces)
