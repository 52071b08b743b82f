"""Money: integers of micro-yuan, so that a fully used pack costs exactly its price (DESIGN rule 11)."""

from typing import Final

MICRO_YUAN: Final = 1_000_000
"""Micro-yuan in one yuan."""


def cost_of_first(calls: int, *, price_micro_yuan: int, size: int) -> int:
    """What the first `calls` calls of a pack of `size` calls cost together."""
    return price_micro_yuan * calls // size


def cost_of_call(ordinal: int, *, price_micro_yuan: int, size: int) -> int:
    """What the call with the given `ordinal` (1 is the pack's first) costs.

    The costs of all calls of a pack add up to its price, whatever the remainder of the division is.
    """
    return price_micro_yuan * ordinal // size - price_micro_yuan * (ordinal - 1) // size
