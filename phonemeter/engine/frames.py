"""ClickHouse's compressed frames: a checksum, a method, two sizes and the packed bytes."""

import struct
from collections.abc import Callable
from typing import Final

import lz4.block  # type: ignore[import-untyped] # ships no types
from clickhouse_cityhash.cityhash import CityHash128  # type: ignore[import-untyped] # ships no types

from phonemeter.engine.config import MAX_FRAME_BYTES
from phonemeter.engine.errors import CANNOT_DECOMPRESS, EngineError

METHOD_NONE: Final = 0x02
METHOD_LZ4: Final = 0x82
METHOD_ZSTD: Final = 0x90
HEADER: Final = struct.Struct("<BII")
CHECKSUM: Final = struct.Struct("<QQ")
MAX_PACKED_BYTES: Final = 1 << 20
LZ4_MAX_RATIO: Final = 255


def pack(data: bytes) -> bytes:
    """`data` as LZ4 frames of at most 1 MiB unpacked."""
    frames = []
    for start in range(0, len(data), MAX_PACKED_BYTES):
        part = data[start : start + MAX_PACKED_BYTES]
        packed = lz4.block.compress(part, store_size=False)
        body = HEADER.pack(METHOD_LZ4, len(packed) + HEADER.size, len(part)) + packed
        frames.append(_checksum(body) + body)
    return b"".join(frames)


def unpack(take: Callable[[int], bytes]) -> bytes:
    """The contents of the next frame, which is read by `take(size)`."""
    checksum = take(CHECKSUM.size)
    header = take(HEADER.size)
    method, packed_size, size = HEADER.unpack(header)
    packed_size -= HEADER.size
    if not 0 < packed_size <= MAX_FRAME_BYTES or not 0 < size <= min(
        MAX_FRAME_BYTES, packed_size * LZ4_MAX_RATIO
    ):
        raise EngineError(CANNOT_DECOMPRESS, "A compressed frame has impossible sizes.")
    if method not in {METHOD_LZ4, METHOD_NONE}:
        name = "ZSTD" if method == METHOD_ZSTD else f"method {method:#x}"
        raise EngineError(CANNOT_DECOMPRESS, f"Compression by {name} is not served: use lz4 or none.")
    packed = take(packed_size)
    if _checksum(header + packed) != checksum:
        raise EngineError(CANNOT_DECOMPRESS, "A compressed frame does not match its checksum.")
    if method == METHOD_NONE:
        return packed
    try:
        data: bytes = lz4.block.decompress(packed, uncompressed_size=size)
    except lz4.block.LZ4BlockError as error:
        raise EngineError(CANNOT_DECOMPRESS, "A compressed frame cannot be unpacked.") from error
    if len(data) != size:
        raise EngineError(CANNOT_DECOMPRESS, "A compressed frame has another size than it says.")
    return data


def _checksum(body: bytes) -> bytes:
    """CityHash128 as it lies on the wire: the upper half first, each half little-endian."""
    upper, lower = divmod(CityHash128(body), 1 << 64)
    return CHECKSUM.pack(upper, lower)
