"""Numbers and texts of the native protocol, written and read."""

from collections.abc import Callable
from typing import Final

from phonemeter.engine.config import MAX_TEXT_BYTES
from phonemeter.engine.errors import INCORRECT_DATA, EngineError

Write = Callable[[bytes], object]
MAX_VARINT_BYTES: Final = 10
MORE: Final = 0x80
"""The bit of a LEB128 byte that is set if another byte follows."""


class EndOfInputError(EOFError):
    """The bytes ended inside a value."""


def varint(value: int) -> bytes:
    """LEB128, as ClickHouse writes lengths."""
    out = bytearray()
    while value >= MORE:
        out.append(value & 0x7F | MORE)
        value >>= 7
    out.append(value)
    return bytes(out)


def text(value: str | bytes) -> bytes:
    """A string after its length."""
    raw = value.encode() if isinstance(value, str) else value
    return varint(len(raw)) + raw


class Cursor:
    """A reader of values from chunks of bytes; an empty chunk is the end of the input."""

    def __init__(self, more: Callable[[], bytes]) -> None:
        self._more = more
        self.buffer = b""
        self.position = 0

    def ahead(self) -> bool:
        """Make at least one byte available; False at the end of the input."""
        if self.position < len(self.buffer):
            return True
        self.buffer, self.position = self._more(), 0
        return bool(self.buffer)

    @property
    def unread(self) -> bytes:
        """The first byte that was fetched and not read, if there is one."""
        return self.buffer[self.position : self.position + 1]

    def byte(self) -> int:
        """The next byte."""
        if not self.ahead():
            raise EndOfInputError
        self.position += 1
        return self.buffer[self.position - 1]

    def varint(self) -> int:
        """The next LEB128 number."""
        value = 0
        for shift in range(0, 7 * MAX_VARINT_BYTES, 7):
            octet = self.byte()
            value |= (octet & 0x7F) << shift
            if octet < MORE:
                return value
        raise EngineError(INCORRECT_DATA, "A number on the wire is longer than 10 bytes.")

    def take(self, size: int) -> bytes:
        """The next `size` bytes; callers limit `size`."""
        end = self.position + size
        if end <= len(self.buffer):
            taken = self.buffer[self.position : end]
            self.position = end
            return taken
        parts: list[bytes] = []
        self.copy(size, parts.append)
        return b"".join(parts)

    def text(self, limit_bytes: int = MAX_TEXT_BYTES) -> str:
        """The next string, which must be UTF-8 and within its limit."""
        size = self.varint()
        if size > limit_bytes:
            raise EngineError(
                INCORRECT_DATA,
                f"A text of {size} bytes on the wire is over its limit of {limit_bytes} bytes.",
            )
        try:
            return self.take(size).decode()
        except UnicodeDecodeError as error:
            raise EngineError(INCORRECT_DATA, "A text on the wire is not valid UTF-8.") from error

    def number(self, write: Write) -> int:
        """The next 64-bit number, which is copied to `write` as well."""
        raw = self.take(8)
        write(raw)
        return int.from_bytes(raw, "little")

    def copy(self, size: int, write: Write) -> None:
        """Copy the next `size` bytes to `write` as they arrive."""
        while size > 0:
            if not self.ahead():
                raise EndOfInputError
            part = self.buffer[self.position : self.position + size]
            self.position += len(part)
            size -= len(part)
            write(part)


def cursor_over(data: bytes) -> Cursor:
    """A cursor over bytes in memory."""
    pending = [data]
    return Cursor(lambda: pending.pop() if pending else b"")
