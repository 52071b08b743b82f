"""The desk that explains differences to the platform's count, which the program gives to the console."""

from collections.abc import Sequence
from typing import NamedTuple, Protocol

from metering.agreement_causes import Cause


class CauseCount(NamedTuple):
    """The calls of a cause, or of one of several.

    Attributes:
        causes: the cause; several if the evidence does not tell which.
        calls: how many they are.
        effect: calls by which the platform's count is larger; 0 for what has healed.
        events: number of the events that may be evidence.
    """

    causes: tuple[Cause, ...]
    calls: int
    effect: int
    events: int


class CauseDesk(Protocol):
    """Explains differences. Blocking."""

    def causes_of(self, appid: str) -> Sequence[CauseCount] | None:
        """The causes of the last month, of both capabilities; None if there is no answer."""
