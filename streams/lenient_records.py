"""Records in which the name of a header is not UTF-8, read all the same.

The protocol requires UTF-8, but no broker checks it, and many clients send any bytes. aiokafka's parser in C
fails on such a record, on every attempt. Here its slower parser in Python reads it, and its headers become
`metering.content_modes.UNREADABLE_HEADERS`. Written against aiokafka 0.14, which is pinned for that reason.
"""

from typing import Any

from aiokafka.record.default_records import DefaultRecordBatch, _DefaultRecordBatchPy
from aiokafka.record.memory_records import MemoryRecords, _MemoryRecordsPy

from metering.content_modes import UNREADABLE_HEADERS, UNREADABLE_NAME, Headers


class RawRecords(MemoryRecords):  # type: ignore[misc]  # aiokafka's parser in C
    """The records of a response, with the bytes that they are read from."""

    def __init__(self, raw: bytes) -> None:
        super().__init__(raw)
        self.raw = raw


class LenientRecords(_MemoryRecordsPy):  # type: ignore[misc]  # final only to type checkers
    """The records of a response; the name of a header that is not UTF-8 is read as `UNREADABLE_NAME`."""

    def next_batch(self) -> Any:  # noqa: ANN401 - any of aiokafka's kinds of batch
        """Read another batch."""
        raw = self._next_slice
        batch = super().next_batch()
        return _Batch(raw) if isinstance(batch, DefaultRecordBatch) else batch


def lenient_headers(record: Any) -> Headers:  # noqa: ANN401 - any of aiokafka's kinds of record
    """The headers of a record that was read leniently."""
    headers: Headers = record.headers or ()
    return UNREADABLE_HEADERS if any(name == UNREADABLE_NAME for name, _ in headers) else headers


class _Batch(_DefaultRecordBatchPy):  # type: ignore[misc]  # as above
    _buffer: bytearray

    def _maybe_uncompress(self) -> None:
        super()._maybe_uncompress()
        self._buffer = _Buffer(self._buffer)


class _Buffer(bytearray):
    """The bytes of a batch; the parser decodes only those slices that are names of headers."""

    def __getitem__(self, at: Any) -> Any:  # noqa: ANN401 - an index or a slice
        part = super().__getitem__(at)
        return _Name(part) if isinstance(at, slice) else part


class _Name(bytearray):
    def decode(self, encoding: str = "utf-8", errors: str = "strict") -> str:
        try:
            return super().decode(encoding, errors)
        except UnicodeDecodeError:
            return UNREADABLE_NAME
