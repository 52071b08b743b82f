"""Position of an entry in the ledger of a source partition."""

from typing import Final, NamedTuple


class Position(NamedTuple):
    """Identity of a ledger entry within its source partition; compares in the order of the ledger."""

    offset: int
    line: int

    def __str__(self) -> str:
        return f"offset {self.offset} line {self.line}"


BEFORE_ALL: Final = Position(-1, -1)
"""Position of a source partition of which nothing is stored."""
