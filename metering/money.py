"""Money: integers of micro-yuan, so that a fully used pack costs exactly its price (rule 11)."""

from typing import Final

MICRO_YUAN: Final = 1_000_000
"""Micro-yuan in one yuan."""


def cost_of_first(calls: int, *, price_micro_yuan: int, size: int) -> int:
    """The cost of the first `calls` calls of a pack of `size` calls."""
    return price_micro_yuan * calls // size


def cost_of_call(ordinal: int, *, price_micro_yuan: int, size: int) -> int:
    """The cost of the call with the given `ordinal` (1 is the pack's first).

    The costs of all calls of a pack add up to its price exactly.
    """
    return price_micro_yuan * ordinal // size - price_micro_yuan * (ordinal - 1) // size


def yuan_text(micro_yuan: int) -> str:
    """An amount in yuan, exact and without zeros at its end, such as `0.026`, `0.03` or `30`."""
    whole, rest = divmod(micro_yuan, MICRO_YUAN)
    return f"{whole:,}.{rest:06d}".rstrip("0").rstrip(".")
