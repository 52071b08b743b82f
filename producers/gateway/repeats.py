"""Repeated requests: one with the same Idempotency-Key gets the answer of the first again.

That only spares work. An event that is sent again is one event, by its id, so what is forgotten here (after a
time, a number of answers, or the end of the process) is sent to Kafka again and counted once all the same.
"""

import hashlib
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

from producers.gateway.problems import RequestProblem

KEPT_S: Final = 3_600.0
KEPT_MAX: Final = 10_000
KEPT_BYTES_MAX: Final = 16_777_216
NAME_CHARACTERS_MAX: Final = 255

Identity = tuple[str, str]
"""The id of the API key, and the Idempotency-Key."""


@dataclass(frozen=True, slots=True)
class KeptAnswer:
    """An answer, as it was given."""

    status: int
    body: bytes
    media_type: str


@dataclass(slots=True)
class _First:
    """The first request with an identity; `answer` is None while it is under way."""

    fingerprint: bytes
    at_s: float
    answer: KeptAnswer | None = None


class Repeats:
    """The answers to the newest requests with an Idempotency-Key. Bounded in number, bytes and time."""

    def __init__(self, monotonic_s: Callable[[], float] = time.monotonic) -> None:
        self._monotonic_s = monotonic_s
        self._kept: OrderedDict[Identity, _First] = OrderedDict()
        self._bytes = 0

    def answer_to(self, identity: Identity, fingerprint: bytes) -> KeptAnswer | None:
        """The answer of the first request; None if this is the first.

        Raises:
            RequestProblem: the first one had another content, or is under way.
        """
        self._forget_old()
        first = self._kept.get(identity)
        if first is None:
            return None
        if first.fingerprint != fingerprint:
            raise RequestProblem("repeat_differs", "Send a new Idempotency-Key with a new request.")
        if first.answer is None:
            raise RequestProblem("repeat_under_way", "Send the same again in a moment.", {"retry-after": "1"})
        return first.answer

    @contextmanager
    def first(self, identity: Identity, fingerprint: bytes) -> Iterator[Callable[[KeptAnswer], None]]:
        """Work on a first request in the block; what it answers is kept if it is given to the function."""
        first = self._kept[identity] = _First(fingerprint, self._monotonic_s())
        try:
            yield lambda answer: self._keep(first, answer)
        finally:
            if first.answer is None and self._kept.get(identity) is first:
                del self._kept[identity]
            self._forget_old()

    def _keep(self, first: _First, answer: KeptAnswer) -> None:
        first.answer = answer
        self._bytes += len(answer.body)

    def _forget_old(self) -> None:
        oldest_s = self._monotonic_s() - KEPT_S
        while self._kept:
            identity, first = next(iter(self._kept.items()))
            is_over = len(self._kept) > KEPT_MAX or self._bytes > KEPT_BYTES_MAX or first.at_s < oldest_s
            if first.answer is None or not is_over:
                return
            self._bytes -= len(first.answer.body)
            del self._kept[identity]


def checked_name(text: str) -> str:
    """The value of the header Idempotency-Key.

    Raises:
        RequestProblem: it is empty, too long or not printable ASCII.
    """
    if 0 < len(text) <= NAME_CHARACTERS_MAX and text.isascii() and text.isprintable():
        return text
    raise RequestProblem(
        "malformed", f"An Idempotency-Key has 1 to {NAME_CHARACTERS_MAX} printable characters of ASCII."
    )


def fingerprint_of(headers: Sequence[tuple[str, str]], body: bytes) -> bytes:
    """A digest that two requests have in common if they have the same events."""
    digest = hashlib.sha256(body)
    for name, value in sorted(headers):
        if name == "content-type" or name.startswith("ce-"):
            digest.update(f"\n{name}:{value}".encode())
    return digest.digest()
