"""Small curves as paths of SVG, drawn by the server."""

from collections.abc import Sequence
from typing import Final, NamedTuple

WIDTH: Final = 100
HEIGHT: Final = 24


class Sparkline(NamedTuple):
    """A curve: its line, and the area under it, as data of paths."""

    line: str
    area: str


def sparkline(values: Sequence[int]) -> Sparkline | None:
    """The curve of some values from zero on; None if there is nothing to see."""
    highest = max(values, default=0)
    if highest <= 0 or len(values) == 1:
        return None
    step = WIDTH / (len(values) - 1)
    points = " ".join(
        f"{at * step:.4g},{HEIGHT - max(0, value) / highest * HEIGHT:.4g}" for at, value in enumerate(values)
    )
    return Sparkline(f"M{points}", f"M0,{HEIGHT} {points} {WIDTH},{HEIGHT}z")
