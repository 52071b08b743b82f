"""The body of an HTTP request: all of it or an error, in every encoding."""

import gzip
from collections.abc import Callable
from email.message import Message
from io import BytesIO

import lz4.frame  # type: ignore[import-untyped] # ships no types
import pytest
from hypothesis import given
from hypothesis import strategies as st

from phonemeter.engine import frames
from phonemeter.engine.errors import EngineError
from phonemeter.engine.http_body import body_parts

DATA = b"1\ta line\n" * 5_000


def unpacked(body: bytes, encoding: str = "", *, framed: bool = False, length: int | None = None) -> bytes:
    headers = Message()
    headers["Content-Length"] = str(len(body) if length is None else length)
    headers["Content-Encoding"] = encoding
    return b"".join(body_parts(BytesIO(body), headers, {"decompress": "1"} if framed else {}))


@pytest.mark.parametrize(
    ("pack", "encoding"), [(bytes, ""), (gzip.compress, "gzip"), (lz4.frame.compress, "lz4")]
)
def test_a_whole_body_is_unpacked(pack: Callable[[bytes], bytes], encoding: str) -> None:
    assert unpacked(pack(DATA), encoding) == DATA


@pytest.mark.parametrize(("pack", "encoding"), [(gzip.compress, "gzip"), (lz4.frame.compress, "lz4")])
@given(cut=st.integers(1))
def test_a_packed_body_that_was_cut_is_an_error_though_its_length_is_right(
    pack: Callable[[bytes], bytes], encoding: str, cut: int
) -> None:
    packed = pack(DATA)
    with pytest.raises(EngineError, match=r"ended too early|cannot be unpacked"):
        unpacked(packed[: -(1 + cut % (len(packed) - 1))], encoding)


@given(cut=st.integers(1, 200))
def test_frames_that_were_cut_are_an_error_though_their_length_is_right(cut: int) -> None:
    with pytest.raises(EngineError, match="ended too early"):
        unpacked(frames.pack(DATA)[:-cut], framed=True)


def test_a_body_that_is_shorter_than_it_says_is_an_error() -> None:
    with pytest.raises(EngineError, match="ended too early"):
        unpacked(DATA, length=len(DATA) + 1)
