"""Seats of those who look on: so many for a member, and so many in all."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

SEATS_A_MEMBER: Final = 6
"""As many connections as a browser opens to a server that speaks HTTP/1.1."""

SEATS_IN_ALL: Final = 300


class NoSeatError(Exception):
    """All seats are taken."""


class LiveSeats:
    """The seats; one is taken as long as a stream is open."""

    def __init__(self, of_member: int = SEATS_A_MEMBER, in_all: int = SEATS_IN_ALL) -> None:
        self._of_member = of_member
        self._in_all = in_all
        self._taken: Counter[str] = Counter()

    @property
    def taken(self) -> int:
        """The number of seats that are taken."""
        return self._taken.total()

    @contextmanager
    def seat(self, member_id: str) -> Iterator[None]:
        """Have a seat in the block.

        Raises:
            NoSeatError: there is none.
        """
        if self.taken >= self._in_all or self._taken[member_id] >= self._of_member:
            raise NoSeatError
        self._taken[member_id] += 1
        try:
            yield
        finally:
            self._taken[member_id] -= 1
            if not self._taken[member_id]:
                del self._taken[member_id]
